"""The compiled engine for mini-batches: Adam over the whole NCF family, on CPU threads, reproducible.

A batch is dealt to threads by user, each thread gathers gradients in tables of its own, and one pass over the
embedding tables sums, penalises and applies them. The first tower layer is computed once a batch in its two halves,
for the batch's users and for all items, then gathered and added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.kernels.adam import adam_rows
from neucf.kernels.compile import torch_threads
from neucf.kernels.ncf import BCE, BPR, SOFTMAX, gather, losses, scatter
from neucf.training.engines import State, diverged, penalty_shares, valid_loss
from neucf.training.losses import LossName, make_loss
from neucf.training.nets import Net, Parts, Table
from neucf.training.optimizers import load_portable, portable
from neucf.training.sampling import NegativeSampler

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

LOSS_KINDS: dict[LossName, int] = {"bpr": BPR, "bce": BCE, "softmax": SOFTMAX}


# Floats of the first hidden layer a thread holds at once: about what its cache does.
CHUNK_FLOATS = 1 << 17


@dataclass(frozen=True, slots=True)
class _Values:
    """What a batch reads, shapes as in kernels.ncf; top (D_last,) is a leaf of its own."""

    p: Floats
    q: Floats
    h: Floats
    item_bias: Floats
    a: Floats
    c: Floats
    top: Tensor
    bias: np.float32


@dataclass(slots=True)
class _Sums:
    """What a thread gathers beside tables: its loss, and gradients of the bias, of top and of the later layers."""

    loss: float = 0.0
    bias: float = 0.0
    weights: list[Tensor] | None = None


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
        self.num_skipped_users = sampler.num_skipped_users
        self.users = train.users[sampler.eligible].astype(np.int64)
        self.items = train.items[sampler.eligible].astype(np.int64)
        self.log_q = sampler.log_q(sampler.count).numpy()
        # D1, the first hidden layer's width; 0 where there is no tower
        self.width = 0 if parts.first is None else len(parts.first[1])
        self.work = _Buffers(parts, train, self.width, threads)
        self.adams = [_TableAdam(table) for table in net.tables()]
        tables = {id(table.embedding.weight) for table in net.tables()}
        weights = [weight for weight in net.parameters() if weight.requires_grad and id(weight) not in tables]
        self.weights_adam = torch.optim.Adam(weights, fused=True) if weights else None

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""
        return len(self.users) * (1 + self.sampler.count)

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every positive once, in an order keyed by (seed, epoch)."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.users))
        total = 0.0
        # Torch's own threads would spin while the pool's work, and the pool's do all that is large
        with torch_threads(1), ThreadPoolExecutor(self.threads, thread_name_prefix="neucf") as pool:
            for batch, first in enumerate(range(0, len(order), self.batch_size)):
                rows = order[first : first + self.batch_size]
                total += self.step(self.users[rows], self.items[rows], epoch, first, lr(first / len(order)), pool)
                if not np.isfinite(total):
                    raise diverged(epoch, batch)
        return total / max(len(order), 1)

    def step(
        self, users: Ints, positives: Ints, epoch: int, first: int, lr: float, pool: ThreadPoolExecutor | None = None
    ) -> float:
        """Takes one step; returns the batch's loss before it, summed over positives.

        Args:
            users: (B,).
            positives: (B,).
            epoch: From 1.
            first: The batch's first positive's place in the epoch.
            lr: Learning rate.
            pool: Runs the threads; without it one after the other.
        """
        num_positives, num_negatives = len(users), self.sampler.count
        # (B, 1+N) the positive first
        items = np.empty((num_positives, 1 + num_negatives), np.int64)
        items[:, 0] = positives
        terms = {"bce": 1 + num_negatives, "bpr": num_negatives, "softmax": 1}[self.loss_name]
        scale = np.float32(1 / (num_positives * terms))
        shares = [np.float32(share) for share in penalty_shares(self.loss_name, num_positives, num_negatives)]
        # (S,) the batch's users, and each positive's place among them
        seen, slots = np.unique(users, return_inverse=True)
        values = self._values(seen, pool)

        def run(thread: int) -> _Sums:
            # Dealt by user, so that no two threads write one user's row; in user order, for the cache
            rows = np.flatnonzero(users % self.threads == thread)
            rows = rows[np.argsort(users[rows], kind="stable")]
            drawn = np.empty((len(rows), num_negatives), np.int64)
            self.sampler.fill(users[rows], rows + first, epoch, drawn)
            items[rows, 1:] = drawn
            sums = _Sums()
            step = max(1, CHUNK_FLOATS // ((1 + num_negatives) * max(self.width, 1)))
            for at in range(0, len(rows), step):
                self._gradients(thread, rows[at : at + step], users, slots, items, values, scale, shares, sums)
            return sums

        sums = _map(pool, run, range(self.threads))
        self._step_weights(lr, seen, sums, pool)
        self._step_tables(lr, pool)
        return float(sum(each.loss for each in sums)) / terms

    def _gradients(
        self, thread: int, rows: Ints, users: Ints, slots: Ints, items: Ints, values: _Values, scale: np.float32,
        shares: list[np.float32], sums: _Sums,
    ) -> None:  # fmt: skip
        """Adds what positives `rows` of the batch bring: forward, loss and backward while it is all in cache."""
        shape = (len(rows), items.shape[1])
        logits, slopes = np.empty(shape, np.float32), np.empty(shape, np.float32)
        # (B, 1+N, D1)
        first = np.empty((*shape, self.width), np.float32)
        tables, halves = (values.p, values.q, values.h), (values.a, values.c)
        use_bias = self.parts.item_bias is not None
        gather(rows, users, slots, items, *tables, values.item_bias, use_bias, *halves, values.bias, logits, first)
        above, hidden = None, torch.from_numpy(first.reshape(logits.size, self.width)).requires_grad_(self.width > 0)
        if self.parts.rest is not None:
            with torch.enable_grad():
                above = self.parts.rest(hidden) @ values.top
            logits += above.detach().numpy().reshape(shape)
        sums.loss += losses(
            rows, items, self.log_q, LOSS_KINDS[self.loss_name], np.float32(self.temperature), scale, logits, slopes
        )
        sums.bias += float(slopes.sum())
        first_slopes = first
        if above is not None:
            inputs = (hidden, values.top, *self.parts.rest_weights)
            gradients = torch.autograd.grad(above, inputs, torch.from_numpy(slopes.reshape(-1)))
            first_slopes = gradients[0].numpy().reshape(first.shape)
            more = list(gradients[1:])
            sums.weights = [x + y for x, y in zip(sums.weights, more, strict=True)] if sums.weights else more
        written: tuple[Any, ...] = (*shares, *tables, use_bias, *self.work.of(thread))
        scatter(rows, users, slots, items, slopes, first, first_slopes, *written)

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid`, negatives drawn from a stream of their own."""
        return valid_loss(self.net, self.loss, self.sampler, valid)

    def state(self) -> State:
        """Returns copies of the parameters and of Adam's moments."""
        return {
            "net": {name: value.detach().clone() for name, value in self.net.state_dict().items()},
            "steps": self.steps,
            "moments": [{"mean": adam.mean.clone(), "square": adam.square.clone()} for adam in self.adams],
            "weights": portable(self.weights_adam) if self.weights_adam else {"state": {}},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes parameters and moments back, in place."""
        self.net.load_state_dict(state["net"])
        self.steps = int(state["steps"])
        for adam, moments in zip(self.adams, state["moments"], strict=True):
            adam.mean.copy_(moments["mean"])
            adam.square.copy_(moments["square"])
        if self.weights_adam:
            load_portable(self.weights_adam, state["weights"])

    def _values(self, seen: Ints, pool: ThreadPoolExecutor | None) -> _Values:
        """Returns what a batch reads: tables, the first tower layer's halves, output weights."""
        parts, work = self.parts, self.work
        p, q = (_array(table) for table in parts.product) if parts.product else (work.p_slopes, work.q_slopes[0])
        a, c = work.a_slopes, work.c_slopes[0]
        if parts.tower is not None and parts.first is not None:
            weight, bias = (parameter.detach() for parameter in parts.first)
            users, items = (table.embedding.weight.detach() for table in parts.tower)
            width = users.shape[1]
            sides = [(bias, users[seen], weight[:, :width].T), (torch.zeros_like(bias), items, weight[:, width:].T)]
            a, c = (half.numpy() for half in _map(pool, lambda side: torch.addmm(*side), sides))
        dim, top = p.shape[1], parts.top
        return _Values(
            p=p,
            q=q,
            h=np.ones(dim, np.float32) if parts.h is None else parts.h.detach()[:dim].numpy(),
            item_bias=work.item_bias[0] if parts.item_bias is None else _array(parts.item_bias).reshape(-1),
            a=a,
            c=c,
            top=torch.empty(0) if top is None else top.detach()[0 if top is not parts.h else dim :].requires_grad_(),
            bias=np.float32(0.0 if parts.bias is None else parts.bias.item()),
        )

    @torch.no_grad()
    def _step_weights(self, lr: float, seen: Ints, sums: list[_Sums], pool: ThreadPoolExecutor | None) -> None:
        """Gives every parameter that is no table its gradient, penalty included, and moves it."""
        if self.weights_adam is None:
            return
        parts, work = self.parts, self.work
        gradients: dict[int, Tensor] = {}
        if parts.bias is not None:
            gradients[id(parts.bias)] = torch.tensor([sum(each.bias for each in sums)])
        h = torch.from_numpy(work.h.sum(0))
        if parts.h is not None:
            gradients[id(parts.h)] = h
        if parts.tower is not None and parts.first is not None:
            # A thread may have had no positive
            own = [each.weights for each in sums if each.weights]
            top, *rest = (sum(grads) for grads in zip(*own, strict=True))
            gradients[id(parts.top)] = torch.cat([h, top]) if parts.top is parts.h else top
            gradients |= {id(weight): grad for weight, grad in zip(parts.rest_weights, rest, strict=True)}
            first = parts.first[0].detach()
            users, items = (table.embedding.weight.detach() for table in parts.tower)
            width = users.shape[1]
            a, c = torch.from_numpy(work.a_slopes[: len(seen)]), torch.from_numpy(work.c_slopes.sum(0))
            user_slopes = torch.empty(len(seen), width)
            # The tables' own gradients are needed before the first layer moves
            sides = [
                (a, users[seen], first[:, :width], user_slopes),
                (c, items, first[:, width:], torch.from_numpy(work.tower_item_slopes[0])),
            ]
            gradients[id(parts.first[0])] = torch.cat(_map(pool, _through_first_layer, sides), dim=1)
            gradients[id(parts.first[1])] = a.sum(0)
            work.tower_user_slopes[0, seen] = user_slopes.numpy()
            work.a_slopes[: len(seen)] = 0
            work.c_slopes.fill(0)
        for group in self.weights_adam.param_groups:
            group["lr"] = lr
            for parameter in group["params"]:
                parameter.grad = gradients[id(parameter)] + self.reg_weights * parameter
        self.weights_adam.step()
        self.net.after_step()
        work.h.fill(0)

    def _step_tables(self, lr: float, pool: ThreadPoolExecutor | None) -> None:
        """Moves the embedding tables, rows dealt to threads, and clears what the batch gathered."""
        self.steps += 1
        tables = self.net.tables()
        for table, adam in zip(tables, self.adams, strict=True):
            weight = table.embedding.weight.detach().numpy()
            counts = self.work.user_counts if table.side == "user" else self.work.item_counts
            slopes = self.work.slopes_of(self.parts, table)
            bounds = np.linspace(0, len(weight), self.threads + 1).astype(np.int64)

            arrays = (weight, adam.mean.numpy(), adam.square.numpy(), slopes, counts)
            rule = (np.float32(table.reg), lr, self.steps, self.lazy)
            spans = [(*span, *arrays, *rule) for span in pairwise(bounds.tolist())]
            _map(pool, lambda span: adam_rows(*span), spans)
        self.work.user_counts.fill(0)
        self.work.item_counts.fill(0)


def _array(table: Table) -> Floats:
    array: Floats = table.embedding.weight.detach().numpy()
    return array


def _through_first_layer(side: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Fills a table's gradients (R, D) from those of its half (R, D1); returns the layer's (D1, D)."""
    slopes, table, weight, out = side
    torch.mm(slopes, weight, out=out)
    return slopes.T @ table


def _map(pool: ThreadPoolExecutor | None, function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    return list(pool.map(function, values) if pool else map(function, values))


class _TableAdam:
    """Adam's moments of one table, (R, D) each."""

    def __init__(self, table: Table) -> None:
        self.mean = torch.zeros_like(table.embedding.weight, requires_grad=False)
        self.square = torch.zeros_like(self.mean)


class _Buffers:
    """What a batch gathers: gradients and penalty shares, by thread where threads could meet. Zero between steps.

    Users are dealt to threads, so their tables need no copy a thread. A part the net lacks has no columns.
    """

    def __init__(self, parts: Parts, train: Interactions, width: int, threads: int) -> None:
        def zeros(*shape: int) -> Floats:
            return np.zeros(shape, np.float32)

        num_users, num_items = train.num_users, train.num_items
        dim = parts.product[0].embedding.embedding_dim if parts.product else 0
        # (U, D), (T, I, D) and, for the first tower layer, (S <= U, D1), (T, I, D1)
        self.p_slopes, self.q_slopes = zeros(num_users, dim), zeros(threads, num_items, dim)
        self.a_slopes, self.c_slopes = zeros(num_users, width), zeros(threads, num_items, width)
        self.item_bias = zeros(threads, num_items if parts.item_bias else 0)
        self.user_counts, self.item_counts = zeros(1, num_users), zeros(threads, num_items)
        self.h = zeros(threads, dim)
        half = parts.tower[0].embedding.embedding_dim if parts.tower else 0
        self.tower_user_slopes, self.tower_item_slopes = zeros(1, num_users, half), zeros(1, num_items, half)

    def of(self, thread: int) -> tuple[Floats, ...]:
        """Returns the buffers a thread writes, in the kernel's order."""
        return (
            self.p_slopes, self.a_slopes, self.user_counts[0], self.q_slopes[thread], self.c_slopes[thread],
            self.item_bias[thread], self.item_counts[thread], self.h[thread],
        )  # fmt: skip

    def slopes_of(self, parts: Parts, table: Table) -> Floats:
        """Returns a table's gradients (T, R, D)."""
        if parts.product and table.embedding is parts.product[0].embedding:
            return self.p_slopes[None]
        if parts.product and table.embedding is parts.product[1].embedding:
            return self.q_slopes
        if parts.item_bias and table.embedding is parts.item_bias.embedding:
            return self.item_bias[:, :, None]
        return self.tower_user_slopes if table.side == "user" else self.tower_item_slopes
