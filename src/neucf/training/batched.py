"""The compiled engine for mini-batches: Adam over the whole NCF family, on CPU threads, reproducible.

A batch is dealt to threads by user, each thread adds gradients up in arrays of its own, and one pass over the
embedding tables sums, penalises and applies them. The first tower layer is linear in its user and item halves, so
each is computed once a batch, for the users and items that the batch holds; the kernel gathers and adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.kernels.adam import adam_rows
from neucf.kernels.compile import torch_threads
from neucf.kernels.ncf import BCE, BPR, SOFTMAX, Places, Terms, Values, visit
from neucf.kernels.sampling import by_batch, compact
from neucf.kernels.tower import padded
from neucf.training.batch_state import Buffers, Floats, Ints, Moments
from neucf.training.engines import State, diverged, valid_loss
from neucf.training.losses import LossName, make_loss
from neucf.training.nets import Net, Table
from neucf.training.penalties import penalty_shares
from neucf.training.sampling import NegativeSampler

LOSS_KINDS: dict[LossName, int] = {"bpr": BPR, "bce": BCE, "softmax": SOFTMAX}
# Positives a thread holds the hidden layers of at once, unless these floats, about its cache, hold fewer
CHUNK, CHUNK_FLOATS = 64, 1 << 16


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


class BatchedEngine:
    """Mini-batch Adam by compiled gradients; the same result for the same seed and thread count.

    Args:
        net: On the CPU, with `parts()`.
        loss: The loss's name.
        sampler: Uniform or popularity negatives.
        train: The training interactions.
        batch_size: Positives a step.
        temperature: Of the softmax loss.
        lazy: Whether only the rows a batch touches move.
        reg_weights: L2 strength on everything that is no embedding table.
        seed: Keys the order, with the epoch.
        threads: Threads that share a batch.
    """

    name = "compiled-batch"

    def __init__(
        self,
        net: Net,
        loss: LossName,
        sampler: NegativeSampler,
        train: Interactions,
        *,
        batch_size: int,
        temperature: float = 1.0,
        lazy: bool = False,
        reg_weights: float = 0.0,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        parts = net.parts()
        assert parts is not None
        self.net, self.parts, self.sampler = net, parts, sampler
        self.loss_name, self.loss, self.temperature = loss, make_loss(loss, temperature), temperature
        self.batch_size, self.lazy, self.reg_weights = batch_size, lazy, reg_weights
        self.seed, self.threads, self.steps = seed, threads, 0
        self.num_users, self.num_items = train.num_users, train.num_items
        self.num_skipped_users = sampler.num_skipped_users
        self.users = train.users[sampler.eligible].astype(np.int64)
        self.items = train.items[sampler.eligible].astype(np.int64)
        self.by_user = np.argsort(self.users, kind="stable")
        self.log_q = sampler.log_q(sampler.count).numpy()
        # (L,) the hidden layers' widths, none where there is no tower
        self.widths = np.array([len(bias) for _, bias in parts.layers], np.int64)
        self.work = Buffers(parts, train, self.widths, threads)
        tables = [table.embedding.weight for table in net.tables()]
        held = {id(table) for table in tables}
        self.weights = [weight for weight in net.parameters() if weight.requires_grad and id(weight) not in held]
        self.moments = [Moments(parameter) for parameter in [*tables, *self.weights]]

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""
        return len(self.users) * (1 + self.sampler.count)

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every positive once, in an order keyed by (seed, epoch)."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.users))
        rows, places = by_batch(order, self.by_user, self.batch_size)
        total = 0.0
        # Torch's own threads would spin while the pool's work, and the pool's do all that is large. The count that
        # matrix products go by is each thread's own, so the pool's are told as well.
        with torch_threads(1), self._pool() as pool:
            for batch, first in enumerate(range(0, len(order), self.batch_size)):
                chosen = rows[first : first + self.batch_size]
                own_places = places[first : first + self.batch_size]
                rate = lr(first / len(order))
                total += self.step(self.users[chosen], self.items[chosen], own_places, epoch, rate, pool)
                if not np.isfinite(total):
                    raise diverged(epoch, batch)
        return total / max(len(order), 1)

    def step(
        self, users: Ints, positives: Ints, places: Ints, epoch: int, lr: float, pool: ThreadPoolExecutor | None = None
    ) -> float:
        """Takes one step; returns the batch's loss before it, summed over positives.

        Args:
            users: (B,) ascending.
            positives: (B,).
            places: (B,) where each stands in the epoch.
            epoch: From 1.
            lr: Learning rate.
            pool: Runs the threads; without it one after the other.
        """
        # (B, 1+N) the positive first
        items = np.empty((len(users), 1 + self.sampler.count), np.int64)
        items[:, 0] = positives
        spans = self._deal(users)
        _map(pool, lambda span: self.sampler.fill(users[span], places[span], epoch, items[span, 1:]), spans)
        batch = self._batch(users, items)
        values, terms = self._values(batch, pool), self._terms(batch)
        chunk = int(np.clip(CHUNK_FLOATS // (items.shape[1] * max(int(self.widths.sum()), 1)), 1, CHUNK))

        def gradients(thread: int) -> float:
            span = spans[thread]
            return float(visit(span.start, span.stop, chunk, batch.places, values, self.work.of(thread), terms))

        losses: list[float] = _map(pool, gradients, range(self.threads))
        self.steps += 1
        self._step_weights(lr, batch, pool)
        self._step_tables(lr, pool)
        return sum(losses) * float(terms.scale) * len(users)

    def _pool(self) -> AbstractContextManager[ThreadPoolExecutor | None]:
        if self.threads == 1:
            return nullcontext()
        return ThreadPoolExecutor(self.threads - 1, "neucf", torch.set_num_threads, (1,))

    def _deal(self, users: Ints) -> list[slice]:
        """Returns a span of the batch for each thread, about equal, such that no two threads write one user's row."""
        cuts = np.linspace(0, len(users), self.threads + 1).astype(np.int64)
        cuts[1:-1] = np.searchsorted(users, users[cuts[1:-1]])
        return [slice(first, last) for first, last in pairwise(cuts.tolist())]

    def _batch(self, users: Ints, items: Ints) -> Batch:
        places, seen_users = Places(users, users, items, items), users
        seen_items: Ints | slice = slice(None)
        if len(self.widths):
            seen_users, slots = compact(users, self.num_users)
            places = places._replace(user_slots=slots)
        if len(self.widths) and items.size < self.num_items:
            seen_items, slots = compact(items, self.num_items)
            places = places._replace(item_slots=slots)
        return Batch(places, seen_users, seen_items)

    def _terms(self, batch: Batch) -> Terms:
        num_positives, num_negatives = len(batch.places.users), self.sampler.count
        terms = {"bce": 1 + num_negatives, "bpr": num_negatives, "softmax": 1}[self.loss_name]
        shares = penalty_shares(self.loss_name, num_positives, num_negatives)
        scale = np.float32(1 / (num_positives * terms))
        kind = LOSS_KINDS[self.loss_name]
        return Terms(kind, np.float32(self.temperature), self.log_q, scale, *map(np.float32, shares))

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid`, negatives drawn from a stream of their own."""
        return valid_loss(self.net, self.loss, self.sampler, valid)

    def state(self) -> State:
        """Returns copies of the parameters and of Adam's moments."""
        return {
            "net": {name: value.detach().clone() for name, value in self.net.state_dict().items()},
            "steps": self.steps,
            "moments": [{"mean": each.mean.clone(), "square": each.square.clone()} for each in self.moments],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes parameters and moments back, in place."""
        self.net.load_state_dict(state["net"])
        self.steps = int(state["steps"])
        for own, saved in zip(self.moments, state["moments"], strict=True):
            own.mean.copy_(saved["mean"])
            own.square.copy_(saved["square"])

    @torch.no_grad()
    def _values(self, batch: Batch, pool: ThreadPoolExecutor | None) -> Values:
        """Returns what a batch reads: tables, the first tower layer's halves, the layers after it, output weights."""
        parts, work = self.parts, self.work
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
            a, c = (half.numpy() for half in _map(pool, lambda side: torch.addmm(*side), sides))
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
            widths=self.widths,
            top=work.top[0] if top is None else _wide(top.detach()[0 if top is not parts.h else dim :]).numpy(),
            bias=np.float32(0.0 if parts.bias is None else parts.bias.item()),
        )

    @torch.no_grad()
    def _step_weights(self, lr: float, batch: Batch, pool: ThreadPoolExecutor | None) -> None:
        """Gives every parameter that is no table its gradient, penalty included, and moves it."""
        if not self.weights:
            return
        parts, work = self.parts, self.work
        gradients: dict[int, Tensor] = {}
        h, top, bias, weights, biases = (
            torch.from_numpy(array.sum(0)) for array in (work.h, work.top, work.bias, work.weights, work.biases)
        )
        if parts.bias is not None:
            gradients[id(parts.bias)] = bias
        if parts.h is not None:
            gradients[id(parts.h)] = h
        if parts.top is not None:
            top = top[: self.widths[-1]]
            gradients[id(parts.top)] = torch.cat([h, top]) if parts.top is parts.h else top
        weight_at, bias_at = 0, 0
        for weight, own_bias in parts.layers[1:]:
            rows, size = weight.shape
            wide = padded(size)
            gradients[id(weight)] = weights[weight_at : weight_at + rows * wide].view(rows, wide)[:, :size]
            gradients[id(own_bias)] = biases[bias_at : bias_at + rows]
            weight_at, bias_at = weight_at + rows * wide, bias_at + padded(rows)
        if parts.tower is not None:
            gradients |= self._first_layer(batch, pool)
        # One long row each
        once = np.ones((1, 1), np.float32)
        for weight, moments in zip(self.weights, self.moments[-len(self.weights) :], strict=True):
            row, mean, square = (each.view(1, -1).numpy() for each in (weight.detach(), moments.mean, moments.square))
            slopes = gradients[id(weight)].reshape(1, 1, -1).numpy()
            adam_rows(0, 1, row, mean, square, slopes, once, np.float32(self.reg_weights), lr, self.steps, False)
        self.net.after_step()
        work.clear_weights()

    def _first_layer(self, batch: Batch, pool: ThreadPoolExecutor | None) -> dict[int, Tensor]:
        """Returns the gradients of the first layer, and passes what is left to its tables, before the layer moves."""
        assert self.parts.tower is not None
        work, (first, bias) = self.work, self.parts.layers[0]
        users, items = (table.embedding.weight for table in self.parts.tower)
        width = users.shape[1]
        users, items = users[batch.seen_users], items[batch.seen_items]
        a = torch.from_numpy(work.a[: len(users), : len(bias)])
        c = torch.from_numpy(work.c[:, : len(items), : len(bias)].sum(0))
        user_slopes, item_slopes = torch.empty_like(users), torch.empty_like(items)
        sides = [(a, users, first[:, :width], user_slopes), (c, items, first[:, width:], item_slopes)]
        gradients = {id(first): torch.cat(_map(pool, _through_first_layer, sides), dim=1), id(bias): a.sum(0)}
        work.tower_user[0, batch.seen_users] = user_slopes.numpy()
        work.tower_item[0, batch.seen_items] = item_slopes.numpy()
        work.a[: len(users)] = 0
        work.c[:, : len(items)] = 0
        return gradients

    def _step_tables(self, lr: float, pool: ThreadPoolExecutor | None) -> None:
        """Moves the embedding tables, rows dealt to threads, and clears what the batch added up."""
        spans: list[list[tuple[Any, ...]]] = []
        for table, moments in zip(self.net.tables(), self.moments, strict=False):
            weight = table.embedding.weight.detach().numpy()
            counts = self.work.user_counts if table.side == "user" else self.work.item_counts
            slopes = self.work.of_table(self.parts, table)
            arrays = (weight, moments.mean.numpy(), moments.square.numpy(), slopes, counts)
            bounds = [len(weight) * thread // self.threads for thread in range(self.threads + 1)]
            rule = (np.float32(table.reg), lr, self.steps, self.lazy)
            spans.append([(*span, *arrays, *rule) for span in pairwise(bounds)])
        _map(pool, lambda own: [adam_rows(*span) for span in own], list(zip(*spans, strict=True)))
        self.work.user_counts.fill(0)
        self.work.item_counts.fill(0)


def _array(table: Table) -> Floats:
    array: Floats = table.embedding.weight.detach().numpy()
    return array


def _joined(arrays: list[Floats]) -> Floats:
    return np.concatenate(arrays) if arrays else np.empty(0, np.float32)


def _wide(rows: Tensor) -> Tensor:
    """Returns rows (R, ...) with rows of zeros up to whole vectors; as they are where nothing is missing."""
    missing = padded(len(rows)) - len(rows)
    return torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])]) if missing else rows


@torch.no_grad()
def _through_first_layer(side: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Fills a table's gradients (R, D) from those of its half (R, D1); returns the layer's (D1, D)."""
    slopes, table, weight, out = side
    torch.mm(slopes, weight, out=out)
    return slopes.T @ table


def _map(pool: ThreadPoolExecutor | None, function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """Returns the function of each value; this thread takes the first itself, which saves waking another."""
    if pool is None:
        return [function(value) for value in values]
    others = [pool.submit(function, value) for value in values[1:]]
    return [function(values[0]), *(other.result() for other in others)]
