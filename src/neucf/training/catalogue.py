"""The engine of the softmax by users: a batch is users, each with all positives, against the catalogue or a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from neucf.data.interactions import Interactions
from neucf.training.catalogue_loss import (
    Precision,
    catalogue_dtype,
    grid_softmax,
    item_log_weights,
    product_softmax,
)
from neucf.training.engines import State, diverged
from neucf.training.nets import Net
from neucf.training.optimizers import OptimizerName, load_state, make_optimizers, set_rate, state_of
from neucf.training.pages import kept_pages
from neucf.training.penalties import add_weight_penalty
from neucf.training.pool_loss import count_guide, part_guide, pool_softmax, product_terms

# Logits (B, I) held at once, by a net in general, with all that autograd keeps for them, and by one whose logits are
# products.
_LOGITS, _PRODUCTS = 1 << 20, 1 << 26
# Steps an epoch and users a step, at least and at most, where neither logits nor the batch size ask for more.
_STEPS, _USERS = 32, 768
# Users whose loss on validation stands for that of all.
VALID_USERS = 4096


class CatalogueEngine:
    """Trains by the softmax over all items (Liang et al. 2018, equation 2), or over a pool that stands for them.

    A user's other positives count half among a positive's competitors (`catalogue_loss.OTHERS`).

    All positives of a user share the user's logits (B, I), so that an epoch costs U x I, where sampled negatives cost
    positives x N: on dense data the exact loss is the cheaper one. A pool of N items, new each step, costs U x N.

    Args:
        net: What is trained, already on `device`.
        train: The training interactions.
        optimizer: As for the torch engine.
        batch_size: Positives a step, about; 0 takes 32 steps an epoch, or more where logits would not fit in memory.
        temperature: Divides the logits.
        reg_weights: L2 strength on everything that is no embedding table.
        clip: Largest gradient norm; 0 leaves gradients alone.
        precision: Of products over the catalogue.
        item_power: Exponent of its train positives by which an item weighs in the softmax.
        pool: Items N drawn each step; 0 for the whole catalogue.
        by_part: Whether the whole catalogue is met by the part of the logits that is a product, if any, and only the
            rest by the pool.
        seed: Keys order, pools and dropout, with the epoch.
        device: Where the net lies.
    """

    name = "torch-catalogue"

    def __init__(
        self, net: Net, train: Interactions, *, optimizer: OptimizerName, batch_size: int, temperature: float,
        reg_weights: float, clip: float, seed: int, device: torch.device, precision: Precision = "float32",
        item_power: float = 0.0, pool: int = 0, by_part: bool = False,
    ) -> None:  # fmt: skip
        self.net, self.temperature, self.reg_weights, self.clip = net, temperature, reg_weights, clip
        self.seed, self.device = seed, device
        self.matrix = train.csr()
        self.num_positives, self.num_items = len(train), train.num_items
        self.active = np.flatnonzero(np.diff(self.matrix.indptr) > 0)
        default = min(len(self.active) / _STEPS, _USERS)
        wanted = batch_size * len(self.active) / max(self.num_positives, 1) if batch_size else default
        some = torch.from_numpy(self.active[:1]).to(device)
        self.pool = pool if pool < self.num_items else 0
        self.by_part = by_part and net.product_part(some) is not None
        limit = (_LOGITS if net.product(some) is None else _PRODUCTS) // (self.pool or self.num_items)
        if self.by_part:
            limit = min(limit, _PRODUCTS // self.num_items)
        self.users_a_batch = int(np.clip(np.ceil(wanted), 1, max(1, limit)))
        self.dtype = catalogue_dtype(precision, device)
        self.log_weights = item_log_weights(train, item_power, device)
        self.all_items = torch.arange(self.num_items, device=device)
        self.tables = net.tables()
        self.weights = net.weights()
        self.optimizers = make_optimizers(optimizer, [table.embedding.weight for table in self.tables], self.weights)

    @property
    def samples_per_epoch(self) -> int:
        """Logits: active users times I, or times N with the positives."""
        return len(self.active) * self.pool + self.num_positives if self.pool else len(self.active) * self.num_items

    @kept_pages()
    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every user once, in an order keyed by (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.active)
        self.net.seed_dropout(int(rng.integers(2**62)))
        self.net.train()
        total, num_batches = 0.0, -(-len(order) // self.users_a_batch)
        try:
            for batch in range(num_batches):
                users = order[batch * self.users_a_batch : (batch + 1) * self.users_a_batch]
                loss, count = self.step(users, lr(batch / num_batches), rng)
                total += loss * count
                if not np.isfinite(total):
                    raise diverged(epoch, batch)
        finally:
            self.net.eval()
        return total / max(self.num_positives, 1)

    def step(self, users: np.ndarray[Any, Any], lr: float, rng: np.random.Generator) -> tuple[float, int]:
        """Takes one step on users (B,); returns the loss before it, penalties excluded, and the number of positives."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        rows, items, counts = self._positives(self.matrix[users])
        loss = self._pool_loss(users, rows, items, rng) if self.pool else self._loss(users, rows, items)
        loss.backward()
        self._add_penalties(torch.from_numpy(users).to(self.device), items, counts)
        if self.clip > 0:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        set_rate(self.optimizers, lr)
        for optimizer in self.optimizers:
            optimizer.step()
        self.net.after_step()
        return float(loss.detach()), len(items)

    @torch.no_grad()
    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid` of some users, over the whole catalogue, or pools that are the same each time."""
        matrix, rng = valid.csr(), np.random.default_rng([self.seed, 0])
        users, total, count = sample_users(np.flatnonzero(np.diff(matrix.indptr) > 0), self.seed), 0.0, 0
        for start in range(0, len(users), self.users_a_batch):
            some = users[start : start + self.users_a_batch]
            rows, items, _ = self._positives(matrix[some])
            loss = self._pool_loss(some, rows, items, rng) if self.pool else self._loss(some, rows, items)
            total, count = total + float(loss) * len(items), count + len(items)
        return total / max(count, 1)

    def state(self) -> State:
        """Returns copies of the parameters and the optimisers' moments."""
        return state_of(self.net, self.optimizers)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes parameters and moments back."""
        load_state(self.net, self.optimizers, state)

    def _loss(self, users: np.ndarray[Any, Any], rows: Tensor, items: Tensor) -> Tensor:
        """Returns the mean loss of a batch's positives (P,)."""
        chosen = torch.from_numpy(users).to(self.device)
        sides = self.net.product(chosen)
        if sides is not None:
            return product_softmax(
                *sides, rows, items, temperature=self.temperature, dtype=self.dtype, log_weights=self.log_weights
            )
        # (B, I)
        logits = self.net.grid(self.net.user_vectors(chosen), self.all_items).float() / self.temperature
        return grid_softmax(self._weighted(logits, self.all_items), rows, items)

    def _pool_loss(self, users: np.ndarray[Any, Any], rows: Tensor, items: Tensor, rng: np.random.Generator) -> Tensor:
        """Returns an estimate of the mean loss of a batch's positives (P,) from a pool drawn anew."""
        chosen = torch.from_numpy(users).to(self.device)
        pool = torch.from_numpy(rng.choice(self.num_items, self.pool, replace=False, shuffle=False)).to(self.device)
        # (I,) where each item stands in the pool
        places = torch.full_like(self.all_items, -1)
        places[pool] = torch.arange(len(pool), device=self.device)
        known = torch.zeros(len(users), len(pool), dtype=torch.bool, device=self.device)
        inside = places[items] >= 0
        known[rows[inside], places[items[inside]]] = True
        part = self.net.product_part(chosen) if self.by_part else None
        if part is None:
            vectors = self.net.user_vectors(chosen)
            logits = self.net.grid(vectors, pool).float() / self.temperature
            own = self.net.logits(tuple(vector[rows] for vector in vectors), items).float() / self.temperature
            logits, own = self._weighted(logits, pool), self._weighted(own, items)
            return pool_softmax(logits, own, rows, known, count_guide(rows, known, self.num_items))
        sums, own, pooled = product_terms(
            *part, rows, items, pool,
            temperature=self.temperature, dtype=self.dtype, log_weights=self.log_weights,
        )  # fmt: skip
        logits = pooled + self.net.rest_grid(chosen, pool) / self.temperature
        own = own + self.net.rest(chosen[rows], items) / self.temperature
        return pool_softmax(logits, own, rows, known, part_guide(sums, pooled, known))

    def _weighted(self, logits: Tensor, items: Tensor) -> Tensor:
        """Returns logits (..., C) of items (C,), with the items' weights."""
        return logits if self.log_weights is None else logits + self.log_weights[items]

    def _positives(self, histories: csr_array) -> tuple[Tensor, Tensor, Tensor]:
        """Returns each positive's row of the batch (P,), its item (P,), and how many each row has (B,)."""
        counts = np.diff(histories.indptr)
        rows = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        items, sizes = torch.from_numpy(histories.indices.astype(np.int64)), torch.from_numpy(counts)
        return rows.to(self.device), items.to(self.device), sizes.to(self.device)

    @torch.no_grad()
    def _add_penalties(self, users: Tensor, items: Tensor, counts: Tensor) -> None:
        """Adds the gradient of reg/2 |row|^2: a row once a positive, an item's 1/I more as negative."""
        user = counts.float() / len(items)
        item = torch.bincount(items, minlength=self.num_items).float() / len(items) + 1 / self.num_items
        for table in self.tables:
            weight = table.embedding.weight
            if table.reg > 0 and weight.grad is not None:
                if table.side == "user":
                    weight.grad.index_add_(0, users, weight[users] * (table.reg * user).unsqueeze(1))
                else:
                    weight.grad.addcmul_(weight, (table.reg * item).unsqueeze(1))
        add_weight_penalty(self.weights, self.reg_weights)


def sample_users(users: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    """Returns at most `VALID_USERS` of users, in order: the loss of all would cost a third of an epoch each time."""
    if len(users) <= VALID_USERS:
        return users
    return np.sort(np.random.default_rng([seed, 1]).choice(users, VALID_USERS, replace=False))
