"""The engine of graph convolution: a step propagates the embeddings, and propagates the loss's gradient back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from neucf.data.interactions import Interactions
from neucf.kernels.compile import COMPILED
from neucf.training.als import row_blocks
from neucf.training.catalogue import sample_users
from neucf.training.catalogue_loss import catalogue_dtype, item_log_weights, product_softmax
from neucf.training.engines import State, diverged
from neucf.training.losses import LossName, make_loss
from neucf.training.optimizers import load_portable, portable, set_rate
from neucf.training.pages import kept_pages
from neucf.training.penalties import penalty_shares
from neucf.training.propagation import Floats, Graph, Ints, scoring_factors
from neucf.training.sampling import NegativeSampler

# Users a block of the validation loss.
_VALID_USERS = 1024
# Logit of what is masked: finite, so that a user whose negatives all are masked has a gradient, of 0.
_MASKED = -1e30


@dataclass(frozen=True, slots=True)
class UserBatch:
    """Some users and some positives of theirs.

    Attributes:
        users: (B,) distinct.
        rows: (P,) the place in `users` of each positive's user.
        items: (P,).
    """

    users: Ints
    rows: Ints
    items: Ints


class GraphEngine:
    """Trains the embeddings of layer 0 by Adam, on batches of users with all of their positives.

    A batch costs one propagation there and one back, whatever its size, so batches are large. By the softmax loss all
    users of a batch share negatives, and all positives of a user share the sum over them. What a step works on lies on
    the device; who is in a batch is looked up by the CPU.

    Args:
        train: The training interactions.
        dim: D.
        layers: K.
        loss: The loss's name.
        temperature: Of the softmax loss.
        cosine: Whether propagated embeddings have length 1 in logits.
        negatives: N: distinct ones for the batch with softmax, the whole catalogue if 0; else each positive's own.
        batch_size: Positives a step, about.
        reg: L2 strength on the embeddings of layer 0, by how often positives and negatives meet them.
        init_std: Deviation of the initial embeddings.
        seed: Draws these, and keys order and negatives.
        threads: Threads that share the graph's rows on the CPU.
        device: Where the tables and the graph lie.
        item_power: Exponent of its train positives by which an item weighs in the softmax.
        length_power: Exponent of an item's length in `factors`, where training goes by cosines.

    Attributes:
        name: What propagates.
        tables: (U, D) and (I, D) of layer 0.
        factors: (U, D) and (I, D) as propagated after the last epoch, which scores are products of.
    """

    def __init__(
        self, train: Interactions, *, dim: int, layers: int, loss: LossName, temperature: float, cosine: bool,
        negatives: int, batch_size: int, reg: float, init_std: float, seed: int, threads: int,
        device: torch.device, item_power: float = 0.0, length_power: float = 0.0,
    ) -> None:  # fmt: skip
        self.name = "torch-graph" if device.type != "cpu" else "compiled-graph" if COMPILED else "scipy-graph"
        # On the CPU, so that a seed starts alike everywhere
        generator = torch.Generator().manual_seed(seed)
        users, items = (
            torch.empty(rows, dim).normal_(0.0, init_std, generator=generator).to(device)
            for rows in (train.num_users, train.num_items)
        )
        self.tables, self.device = (users, items), device
        self.graph = Graph(train, layers, threads, device)
        self.factors = (torch.empty_like(users), torch.empty_like(items))
        self.loss_name, self.loss, self.temperature = loss, make_loss(loss, temperature), temperature
        self.cosine, self.length_power, self.batch_size, self.seed = cosine, length_power, batch_size, seed
        self.whole = loss == "softmax" and negatives == 0
        self.num_negatives = min(negatives or train.num_items, train.num_items) if loss == "softmax" else negatives or 1
        self.log_weights = item_log_weights(train, item_power, device)
        self.dtype = catalogue_dtype("auto", device)
        self.sampler = NegativeSampler(train, "uniform", self.num_negatives, power=0.0, seed=seed, device=device)
        self.num_positives = len(self.sampler.eligible)
        counts = np.diff(self.graph.sides[0][0])
        self.active = np.flatnonzero((counts > 0) & ~self.sampler.is_full)
        self.penalties = [self._tensor(each) for each in self._penalties(train, reg)]
        self.adam = torch.optim.Adam(self.tables, fused=True)
        self.refresh()

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""
        return self.num_positives * (1 + self.num_negatives)

    @kept_pages()
    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every user once, with all positives, in an order keyed by (seed, epoch)."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.active)
        ends = np.cumsum(np.diff(self.graph.sides[0][0])[order])
        num_batches = max(1, round(self.num_positives / self.batch_size))
        batches = row_blocks(np.diff(ends, prepend=0), num_batches)
        total = 0.0
        for number, chosen in enumerate(batches):
            first = int(ends[chosen.start - 1]) if chosen.start else 0
            batch = self._batch(order[chosen])
            total += self.step(batch, epoch, first, lr(first / self.num_positives)) * len(batch.items)
            if not np.isfinite(total):
                raise diverged(epoch, number)
        self.refresh()
        return total / max(self.num_positives, 1)

    def step(self, batch: UserBatch, epoch: int, first: int, lr: float) -> float:
        """Takes one step; returns the batch's loss before it, penalties excluded."""
        users, items = (table.requires_grad_() for table in self.graph.propagate(*self.tables))
        loss = self._loss(users, items, batch, epoch, first)
        of_users, of_items = torch.autograd.grad(loss, (users, items))
        gradients = self.graph.propagate(of_users, of_items)
        for table, penalty, gradient in zip(self.tables, self.penalties, gradients, strict=True):
            table.grad = gradient.addcmul_(table, penalty)
        set_rate([self.adam], lr)
        self.adam.step()
        return float(loss.detach())

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid` of some users, against negatives of epoch 0, the same at every call."""
        kept = ~self.sampler.is_full[valid.users]
        kept &= np.isin(valid.users, sample_users(np.unique(valid.users[kept]), self.seed))
        users, rows = np.unique(valid.users[kept].astype(np.int64), return_inverse=True)
        order = np.argsort(rows, kind="stable")
        rows, items = rows[order], valid.items[kept][order].astype(np.int64)
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(users), _VALID_USERS):
                first, last = np.searchsorted(rows, [start, start + _VALID_USERS])
                batch = UserBatch(users[start : start + _VALID_USERS], rows[first:last] - start, items[first:last])
                total += float(self._loss(*self.factors, batch, 0, int(first))) * len(batch.items)
        return total / max(len(items), 1)

    def refresh(self) -> None:
        """Propagates the embeddings as they are now into `factors`."""
        propagated = self.graph.propagate(*self.tables)
        for table, rows in zip(self.factors, scoring_factors(*propagated, self.cosine, self.length_power), strict=True):
            table.copy_(rows)

    def state(self) -> State:
        """Returns copies of the embeddings and of Adam's moments."""
        net = {"users": self.tables[0].clone(), "items": self.tables[1].clone()}
        return {"net": net, "adam": portable(self.adam)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes embeddings and moments back, in place."""
        self.tables[0].copy_(state["net"]["users"])
        self.tables[1].copy_(state["net"]["items"])
        load_portable(self.adam, state["adam"])
        self.refresh()

    def _batch(self, users: Ints) -> UserBatch:
        rows, items = self._known(users)
        return UserBatch(users, rows, items)

    def _known(self, users: Ints) -> tuple[Ints, Ints]:
        """Returns the places in `users` (P,) and the items (P,) of all their train positives."""
        indptr, indices = self.graph.sides[0]
        counts = indptr[users + 1] - indptr[users]
        rows = np.repeat(np.arange(len(users)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, indices[indptr[users][rows] + within].astype(np.int64)

    def _loss(self, users: Tensor, items: Tensor, batch: UserBatch, epoch: int, first: int) -> Tensor:
        """Returns the mean loss of a batch's positives, by propagated embeddings (U, D) and (I, D)."""
        # (B, D), (P,)
        own = self._rows(users, self._tensor(batch.users))
        rows, positives = self._tensor(batch.rows), self._tensor(batch.items)
        if self.whole:
            table = functional.normalize(items, dim=-1) if self.cosine else items
            return product_softmax(
                own, table, rows, positives,
                temperature=self.temperature, dtype=self.dtype, log_weights=self.log_weights,
            )  # fmt: skip
        # (P, D)
        pairs = functional.embedding(rows, own)
        positive = (pairs * self._rows(items, positives)).sum(-1)
        if self.loss_name == "softmax":
            if self.log_weights is not None:
                positive = positive + self.temperature * self.log_weights[positives]
            rest = self._log_sum(own, items, batch.users, epoch, first)
            # The log of the sum over all negatives, as the logit of a single one
            negative = functional.embedding(rows, rest.unsqueeze(-1)) * self.temperature
        else:
            drawn = self.sampler.draw(self._tensor(batch.users[batch.rows]), positives, epoch, first).items
            negative = (pairs.unsqueeze(1) * self._rows(items, drawn)).sum(-1)
        loss: Tensor = self.loss(positive, negative)
        return loss

    def _log_sum(self, own: Tensor, items: Tensor, users: Ints, epoch: int, first: int) -> Tensor:
        """Returns each user's log of the estimated sum of exp(logit / T) over all negatives (B,).

        Negatives are distinct, so that an item stands among them with chance N / I.
        """
        rng = np.random.default_rng([self.seed, epoch, first])
        drawn = rng.choice(len(items), self.num_negatives, replace=False, shuffle=False)
        chosen = self._tensor(drawn)
        logits = own @ self._rows(items, chosen).T / self.temperature
        if self.log_weights is not None:
            logits = logits + self.log_weights[chosen]
        place = np.full(len(items), -1)
        place[drawn] = np.arange(len(drawn))
        rows, known = self._known(users)
        hit = place[known] >= 0
        mask = torch.zeros(logits.shape, dtype=torch.bool, device=self.device)
        mask[self._tensor(rows[hit]), self._tensor(place[known[hit]])] = True
        sums: Tensor = logits.masked_fill(mask, _MASKED).logsumexp(-1)
        return sums - float(np.log(len(drawn) / len(items)))

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _rows(self, table: Tensor, chosen: Tensor) -> Tensor:
        rows: Tensor = functional.embedding(chosen, table)
        return functional.normalize(rows, dim=-1) if self.cosine else rows

    def _penalties(self, train: Interactions, reg: float) -> Iterator[Floats]:
        """Yields the L2 strength of each row, users (U, 1) and items (I, 1), in expectation over batches."""
        user, positive, negative = penalty_shares(self.loss_name, 1, self.num_negatives)
        size = max(len(train), 1)
        of_user = user * train.user_counts() / size
        of_item = positive * train.item_counts() / size
        of_item += negative * self.num_negatives / max(train.num_items, 1)
        for share in (of_user, of_item):
            yield (reg * share[:, None]).astype(np.float32)
