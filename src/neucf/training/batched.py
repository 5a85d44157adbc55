"""The compiled engine for mini-batches: Adam over the whole NCF family, on CPU threads, reproducible.

A batch is dealt to threads by user, each thread adds gradients up in arrays of its own, and one pass over the
embedding tables sums, penalises and applies them. The first tower layer is linear in its user and item halves, so
each is computed once a batch, for the users and items that the batch holds; the kernel gathers and adds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from neucf.data.interactions import Interactions
from neucf.kernels.adam import adam_rows
from neucf.kernels.compile import torch_threads
from neucf.kernels.ncf import visit
from neucf.kernels.ncf_loss import BCE, BPR, SOFTMAX, Terms
from neucf.kernels.sampling import by_batch
from neucf.training.batch_parts import Batch, make_batch, read_values, run_all, weight_gradients
from neucf.training.batch_state import Buffers, Ints, Moments
from neucf.training.engines import State, diverged
from neucf.training.losses import LossName, make_loss
from neucf.training.net_loss import valid_loss
from neucf.training.nets import Net
from neucf.training.penalties import penalty_shares
from neucf.training.sampling import NegativeSampler

LOSS_KINDS: dict[LossName, int] = {"bpr": BPR, "bce": BCE, "softmax": SOFTMAX}
# Positives a thread holds the hidden layers of at once, unless these floats, about its cache, hold fewer
CHUNK, CHUNK_FLOATS = 64, 1 << 16


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
        self.users = train.users[sampler.eligible].astype(np.int64)
        self.items = train.items[sampler.eligible].astype(np.int64)
        self.by_user = np.argsort(self.users, kind="stable")
        self.log_q = sampler.log_q(sampler.count).numpy()
        self.work = Buffers(parts, train, threads)
        tables = [table.embedding.weight for table in net.tables()]
        self.weights = net.weights()
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
        run_all(pool, lambda span: self.sampler.fill(users[span], places[span], epoch, items[span, 1:]), spans)
        batch = make_batch(self.parts, users, items, self.num_users, self.num_items)
        values, terms = read_values(self.parts, self.work, batch, pool), self._terms(len(users))
        chunk = int(np.clip(CHUNK_FLOATS // (items.shape[1] * max(int(self.work.widths.sum()), 1)), 1, CHUNK))

        def gradients(thread: int) -> float:
            span = spans[thread]
            return float(visit(span.start, span.stop, chunk, batch.places, values, self.work.of(thread), terms))

        losses: list[float] = run_all(pool, gradients, range(self.threads))
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

    def _terms(self, num_positives: int) -> Terms:
        num_negatives = self.sampler.count
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
    def _step_weights(self, lr: float, batch: Batch, pool: ThreadPoolExecutor | None) -> None:
        """Gives every parameter that is no table its gradient, penalty included, and moves it."""
        if not self.weights:
            return
        gradients = weight_gradients(self.parts, self.work, batch, pool)
        # One long row each
        once = np.ones((1, 1), np.float32)
        for weight, moments in zip(self.weights, self.moments[-len(self.weights) :], strict=True):
            row, mean, square = (each.view(1, -1).numpy() for each in (weight.detach(), moments.mean, moments.square))
            gradient = gradients[id(weight)].reshape(1, 1, -1).numpy()
            adam_rows(0, 1, row, mean, square, gradient, once, np.float32(self.reg_weights), lr, self.steps, False)
        self.net.after_step()
        self.work.clear_weights()

    def _step_tables(self, lr: float, pool: ThreadPoolExecutor | None) -> None:
        """Moves the embedding tables, rows dealt to threads, and clears what the batch added up."""
        spans: list[list[tuple[Any, ...]]] = []
        for table, moments in zip(self.net.tables(), self.moments, strict=False):
            weight = table.embedding.weight.detach().numpy()
            counts = self.work.user_counts if table.side == "user" else self.work.item_counts
            gradients = self.work.of_table(self.parts, table)
            arrays = (weight, moments.mean.numpy(), moments.square.numpy(), gradients, counts)
            bounds = [len(weight) * thread // self.threads for thread in range(self.threads + 1)]
            rule = (np.float32(table.reg), lr, self.steps, self.lazy)
            spans.append([(*span, *arrays, *rule) for span in pairwise(bounds)])
        run_all(pool, lambda own: [adam_rows(*span) for span in own], list(zip(*spans, strict=True)))
        self.work.user_counts.fill(0)
        self.work.item_counts.fill(0)
