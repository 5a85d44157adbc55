"""Between a net's parts and the batched engine's kernel: what a batch reads, and the gradients that come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucf.kernels.ncf import Places, Values
from neucf.kernels.sampling import compact
from neucf.kernels.tower import padded
from neucf.training.batch_state import Buffers, Floats, Ints
from neucf.training.nets import EmbeddingTable, Parts


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch's rows, and which rows of the tower's tables they stand for.

    Attributes:
        places: For the kernel.
        seen_users: (S,) the users whose half of the first layer is computed.
        seen_items: (S,) likewise; all items where the batch holds more terms than there are items.
    """

    places: Places
    seen_users: Ints
    seen_items: Ints | slice


def make_batch(parts: Parts, users: Ints, items: Ints, num_users: int, num_items: int) -> Batch:
    """Returns the batch of users (B,), ascending, and items (B, 1+N), of which the first are the positives."""
    places, seen_users = Places(users, users, items, items), users
    seen_items: Ints | slice = slice(None)
    if parts.tower is not None:
        seen_users, slots = compact(users, num_users)
        places = places._replace(user_slots=slots)
    if parts.tower is not None and items.size < num_items:
        seen_items, slots = compact(items, num_items)
        places = places._replace(item_slots=slots)
    return Batch(places, seen_users, seen_items)


@torch.no_grad()
def read_values(parts: Parts, work: Buffers, batch: Batch, pool: ThreadPoolExecutor | None) -> Values:
    """Returns what a batch reads: tables, the first tower layer's halves, the layers after it, output weights."""
    p, q = (_array(table) for table in parts.product) if parts.product else (work.p, work.q[0])
    a, c = work.a, work.c[0]
    later = [array.detach().numpy().ravel() for layer in parts.layers[1:] for array in layer]
    if parts.tower is not None:
        weight, bias = (_wide(each) for each in parts.layers[0])
        users, items = (table.embedding.weight for table in parts.tower)
        width = users.shape[1]
        sides = [
            (bias, users[batch.seen_users], weight[:, :width].T),
            (torch.zeros_like(bias), items[batch.seen_items], weight[:, width:].T),
        ]
        a, c = (half.numpy() for half in run_all(pool, lambda side: torch.addmm(*side), sides))
    dim, top = p.shape[1], parts.top
    return Values(
        p=p,
        q=q,
        h=np.ones(dim, np.float32) if parts.h is None else parts.h.detach()[:dim].numpy(),
        item_bias=work.item_bias[0] if parts.item_bias is None else _array(parts.item_bias).reshape(-1),
        a=a,
        c=c,
        weights=_joined(later[::2]),
        biases=_joined(later[1::2]),
        widths=work.widths,
        top=work.top[0] if top is None else _wide(top.detach()[0 if top is not parts.h else dim :]).numpy(),
        bias=np.float32(0.0 if parts.bias is None else parts.bias.item()),
    )


@torch.no_grad()
def weight_gradients(parts: Parts, work: Buffers, batch: Batch, pool: ThreadPoolExecutor | None) -> dict[int, Tensor]:
    """Returns the gradient of every parameter that is no table, by its id; the tower's tables get theirs in `work`."""
    gradients: dict[int, Tensor] = {}
    h, top, bias, weights, biases = (
        torch.from_numpy(array.sum(0)) for array in (work.h, work.top, work.bias, work.weights, work.biases)
    )
    if parts.bias is not None:
        gradients[id(parts.bias)] = bias
    if parts.h is not None:
        gradients[id(parts.h)] = h
    if parts.top is not None:
        top = top[: work.widths[-1]]
        gradients[id(parts.top)] = torch.cat([h, top]) if parts.top is parts.h else top
    weight_at, bias_at = 0, 0
    for weight, own_bias in parts.layers[1:]:
        rows, size = weight.shape
        wide = padded(size)
        gradients[id(weight)] = weights[weight_at : weight_at + rows * wide].view(rows, wide)[:, :size]
        gradients[id(own_bias)] = biases[bias_at : bias_at + rows]
        weight_at, bias_at = weight_at + rows * wide, bias_at + padded(rows)
    if parts.tower is not None:
        gradients |= _first_layer(parts, work, batch, pool)
    return gradients


def run_all(pool: ThreadPoolExecutor | None, function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """Returns the function of each value; this thread takes the first itself, which saves waking another."""
    if pool is None:
        return [function(value) for value in values]
    others = [pool.submit(function, value) for value in values[1:]]
    return [function(values[0]), *(other.result() for other in others)]


def _first_layer(parts: Parts, work: Buffers, batch: Batch, pool: ThreadPoolExecutor | None) -> dict[int, Tensor]:
    """Returns the gradients of the first layer, and passes what is left to its tables, before the layer moves."""
    assert parts.tower is not None
    first, bias = parts.layers[0]
    users, items = (table.embedding.weight for table in parts.tower)
    width = users.shape[1]
    users, items = users[batch.seen_users], items[batch.seen_items]
    a = torch.from_numpy(work.a[: len(users), : len(bias)])
    c = torch.from_numpy(work.c[:, : len(items), : len(bias)].sum(0))
    user_gradients, item_gradients = torch.empty_like(users), torch.empty_like(items)
    sides = [(a, users, first[:, :width], user_gradients), (c, items, first[:, width:], item_gradients)]
    gradients = {id(first): torch.cat(run_all(pool, _through_first_layer, sides), dim=1), id(bias): a.sum(0)}
    work.tower_user[0, batch.seen_users] = user_gradients.numpy()
    work.tower_item[0, batch.seen_items] = item_gradients.numpy()
    work.a[: len(users)] = 0
    work.c[:, : len(items)] = 0
    return gradients


@torch.no_grad()
def _through_first_layer(side: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Fills a table's gradients (R, D) from those of its half (R, D1); returns the layer's (D1, D)."""
    gradients, table, weight, out = side
    torch.mm(gradients, weight, out=out)
    return gradients.T @ table


def _array(table: EmbeddingTable) -> Floats:
    array: Floats = table.embedding.weight.detach().numpy()
    return array


def _joined(arrays: list[Floats]) -> Floats:
    return np.concatenate(arrays) if arrays else np.empty(0, np.float32)


def _wide(rows: Tensor) -> Tensor:
    """Returns rows (R, ...) with rows of zeros up to whole vectors; as they are where nothing is missing."""
    missing = padded(len(rows)) - len(rows)
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows
