"""The compiled engine for mini-batches: Adam over the whole NCF family, on CPU threads, reproducible.

A batch is dealt to threads by user, each thread gathers gradients in tables of its own, and one pass over the
embedding tables sums, penalises and applies them. The first tower layer is computed once a batch in its two halves,
for the batch's users and for all items, then gathered and added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.kernels.adam import adam_rows
from neucf.kernels.compile import torch_threads
from neucf.kernels.ncf import BCE, BPR, SOFTMAX, gather, losses, scatter
from neucf.training.batch_state import Batch, Buffers, Floats, Ints, Sums, TableAdam, Values
from neucf.training.engines import State, diverged, penalty_shares, valid_loss
from neucf.training.losses import LossName, make_loss
from neucf.training.nets import Net, Table
from neucf.training.optimizers import load_portable, portable
from neucf.training.sampling import NegativeSampler

LOSS_KINDS: dict[LossName, int] = {"bpr": BPR, "bce": BCE, "softmax": SOFTMAX}


# Floats of the first hidden layer a thread holds at once: about what its cache does.
CHUNK_FLOATS = 1 << 17


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
        self.work = Buffers(parts, train, self.width, threads)
        self.adams = [TableAdam(table) for table in net.tables()]
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
        # Torch's own threads would spin while the pool's work, and the pool's do all that is large. The count that
        # matrix products go by is each thread's own, so the pool's are told as well.
        with torch_threads(1), ThreadPoolExecutor(self.threads, "neucf", torch.set_num_threads, (1,)) as pool:
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
        num_negatives = self.sampler.count
        # (B, 1+N) the positive first
        items = np.empty((len(users), 1 + num_negatives), np.int64)
        items[:, 0] = positives
        # Dealt by user, so that no two threads write one user's row; in user order, for the cache
        by_user = np.argsort(users, kind="stable")
        deals = [by_user[users[by_user] % self.threads == thread] for thread in range(self.threads)]

        def draw(rows: Ints) -> None:
            drawn = np.empty((len(rows), num_negatives), np.int64)
            self.sampler.fill(users[rows], rows + first, epoch, drawn)
            items[rows, 1:] = drawn

        _map(pool, draw, deals)
        batch = self._batch(users, items)
        values = self._values(batch, pool)
        sums = _map(pool, lambda thread: self._gather(thread, deals[thread], batch, values), range(self.threads))
        self._step_weights(lr, batch, sums, pool)
        self._step_tables(lr, pool)
        return float(sum(each.loss for each in sums)) * float(batch.scale) * len(users)

    def _batch(self, users: Ints, items: Ints) -> Batch:
        num_positives, num_negatives = len(users), items.shape[1] - 1
        terms = {"bce": 1 + num_negatives, "bpr": num_negatives, "softmax": 1}[self.loss_name]
        seen_users, user_slots = users, users
        seen_items: Ints | slice = slice(None)
        item_slots = items
        if self.width:
            seen_users, user_slots = np.unique(users, return_inverse=True)
        if self.width and items.size < self.work.num_items:
            seen_items, item_slots = np.unique(items, return_inverse=True)
        return Batch(
            users, user_slots, seen_users, items, item_slots, seen_items,
            scale=np.float32(1 / (num_positives * terms)),
            shares=tuple(np.float32(share) for share in penalty_shares(self.loss_name, num_positives, num_negatives)),
        )  # fmt: skip

    def _gather(self, thread: int, rows: Ints, batch: Batch, values: Values) -> Sums:
        """Adds what positives `rows` of the batch bring to the thread's buffers, a cacheful at a time."""
        sums = Sums()
        step = max(1, CHUNK_FLOATS // (batch.items.shape[1] * max(self.width, 1)))
        for at in range(0, len(rows), step):
            self._gradients(thread, rows[at : at + step], batch, values, sums)
        return sums

    def _gradients(self, thread: int, rows: Ints, batch: Batch, values: Values, sums: Sums) -> None:
        """Runs forward, loss and backward of positives `rows`."""
        shape = (len(rows), batch.items.shape[1])
        logits, slopes = np.empty(shape, np.float32), np.empty(shape, np.float32)
        # (B, 1+N, D1)
        first = np.empty((*shape, self.width), np.float32)
        places = (rows, batch.users, batch.user_slots, batch.items, batch.item_slots)
        tables, halves = (values.p, values.q, values.h), (values.a, values.c)
        use_bias = self.parts.item_bias is not None
        gather(*places, *tables, values.item_bias, use_bias, *halves, values.bias, logits, first)
        above, hidden = None, torch.from_numpy(first.reshape(logits.size, self.width)).requires_grad_(self.width > 0)
        if self.parts.rest is not None:
            with torch.enable_grad():
                above = self.parts.rest(hidden) @ values.top
            logits += above.detach().numpy().reshape(shape)
        kind, temperature = LOSS_KINDS[self.loss_name], np.float32(self.temperature)
        sums.loss += losses(rows, batch.items, self.log_q, kind, temperature, batch.scale, logits, slopes)
        sums.bias += float(slopes.sum())
        first_slopes = first
        if above is not None:
            inputs = (hidden, values.top, *self.parts.rest_weights)
            gradients = torch.autograd.grad(above, inputs, torch.from_numpy(slopes.reshape(-1)))
            first_slopes = gradients[0].numpy().reshape(first.shape)
            more = list(gradients[1:])
            sums.weights = [x + y for x, y in zip(sums.weights, more, strict=True)] if sums.weights else more
        written: tuple[Any, ...] = (*batch.shares, *tables, use_bias, *self.work.of(thread))
        scatter(*places, slopes, first, first_slopes, *written)

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

    def _values(self, batch: Batch, pool: ThreadPoolExecutor | None) -> Values:
        """Returns what a batch reads: tables, the first tower layer's halves, output weights."""
        parts, work = self.parts, self.work
        p, q = (_array(table) for table in parts.product) if parts.product else (work.p_slopes, work.q_slopes[0])
        a, c = work.a_slopes, work.c_slopes[0]
        if parts.tower is not None and parts.first is not None:
            weight, bias = (parameter.detach() for parameter in parts.first)
            users, items = (table.embedding.weight.detach() for table in parts.tower)
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
            top=torch.empty(0) if top is None else top.detach()[0 if top is not parts.h else dim :].requires_grad_(),
            bias=np.float32(0.0 if parts.bias is None else parts.bias.item()),
        )

    @torch.no_grad()
    def _step_weights(self, lr: float, batch: Batch, sums: list[Sums], pool: ThreadPoolExecutor | None) -> None:
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
            users, items = users[batch.seen_users], items[batch.seen_items]
            a = torch.from_numpy(work.a_slopes[: len(users)])
            c = torch.from_numpy(work.c_slopes[:, : len(items)].sum(0))
            user_slopes, item_slopes = torch.empty_like(users), torch.empty_like(items)
            # The tables' own gradients are needed before the first layer moves
            sides = [(a, users, first[:, :width], user_slopes), (c, items, first[:, width:], item_slopes)]
            gradients[id(parts.first[0])] = torch.cat(_map(pool, _through_first_layer, sides), dim=1)
            gradients[id(parts.first[1])] = a.sum(0)
            work.tower_user_slopes[0, batch.seen_users] = user_slopes.numpy()
            work.tower_item_slopes[0, batch.seen_items] = item_slopes.numpy()
            work.a_slopes[: len(users)] = 0
            work.c_slopes[:, : len(items)] = 0
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
