"""Engines: what runs one epoch. The trainer drives them and knows none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from neucf.data.interactions import Interactions
from neucf.errors import TrainingError
from neucf.training.catalogue_loss import Precision
from neucf.training.losses import Loss, LossName, make_loss
from neucf.training.nets import Net
from neucf.training.optimizers import OptimizerName, load_portable, make_optimizers, portable
from neucf.training.sampling import Negatives, NegativeSampler

State: TypeAlias = dict[str, Any]


class Engine(Protocol):
    """Runs epochs over a net's parameters."""

    name: str
    num_skipped_users: int

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Trains one epoch; `lr` maps the fraction of it done to a rate. Returns the mean loss."""

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid` against seeded negatives, the same at every call."""

    def state(self) -> State:
        """Returns copies of everything training changes: parameters and optimiser."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""


class TorchEngine:
    """Mini-batches through autograd, on any device; the oracle of the compiled engines.

    Args:
        net: What is trained, already on `device`.
        loss: The loss's name.
        temperature: Of the softmax loss.
        sampler: Draws the negatives.
        train: The training interactions.
        optimizer: `adam` moves every row at every step; `lazy-adam` only the rows a batch touches.
        batch_size: Positives a step.
        hardness: Each negative is the best scored of this many draws.
        reg_weights: L2 strength on everything that is no embedding table.
        clip: Largest gradient norm; 0 leaves gradients alone.
        precision: `bf16` autocasts the forward pass on CUDA.
        seed: Keys order and dropout, with the epoch.
    """

    name = "torch"

    def __init__(
        self,
        net: Net,
        loss: LossName,
        sampler: NegativeSampler,
        train: Interactions,
        *,
        optimizer: OptimizerName,
        batch_size: int,
        temperature: float = 1.0,
        hardness: int = 1,
        reg_weights: float = 0.0,
        clip: float = 0.0,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> None:
        self.net, self.sampler = net, sampler
        self.loss_name, self.loss = loss, make_loss(loss, temperature)
        self.batch_size, self.hardness, self.reg_weights, self.clip = batch_size, hardness, reg_weights, clip
        self.seed, self.device = seed, sampler.device
        self.bf16 = precision == "bf16" and self.device.type == "cuda"
        self.num_skipped_users = sampler.num_skipped_users
        self.num_positives = len(sampler.eligible)
        # (E,) everything training touches lies on the device
        self.users = torch.from_numpy(train.users[sampler.eligible].astype(np.int64)).to(self.device)
        self.items = torch.from_numpy(train.items[sampler.eligible].astype(np.int64)).to(self.device)
        self.tables = net.tables()
        self.sparse = optimizer == "lazy-adam"
        table_weights = {id(table.embedding.weight) for table in self.tables}
        self.weights = [w for w in net.parameters() if w.requires_grad and id(w) not in table_weights]
        for table in self.tables:
            table.embedding.sparse = self.sparse
        self.optimizers = make_optimizers(optimizer, [table.embedding.weight for table in self.tables], self.weights)

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""
        per_positive = self.batch_size if self.sampler.kind == "in-batch" else 1 + self.sampler.count
        return self.num_positives * per_positive

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every positive once, in an order keyed by (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        order = torch.from_numpy(rng.permutation(self.num_positives)).to(self.device)
        self.net.seed_dropout(int(rng.integers(2**62)))
        self.net.train()
        num_batches = -(-self.num_positives // self.batch_size)
        total = torch.zeros((), device=self.device)
        for batch, rows in enumerate(order.split(self.batch_size)):
            first = batch * self.batch_size
            loss = self.step(self.users[rows], self.items[rows], epoch, first, lr(first / self.num_positives))
            total += loss * len(rows)
            if batch % 64 == 0 and not torch.isfinite(total):
                raise diverged(epoch, batch)
        self.net.eval()
        mean = float(total) / max(self.num_positives, 1)
        if not np.isfinite(mean):
            raise diverged(epoch, num_batches - 1)
        return mean

    def step(self, users: Tensor, positives: Tensor, epoch: int, first: int, lr: float) -> Tensor:
        """Takes one step on positives (B,) of users (B,); returns the loss before it, penalties excluded."""
        negatives = self._negatives(users, positives, epoch, first)
        return self.step_on(users, positives, negatives, lr)

    def step_on(self, users: Tensor, positives: Tensor, negatives: Negatives, lr: float) -> Tensor:
        """Takes one step on a batch whose negatives are given."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16):
            loss = batch_loss(self.net, self.loss, users, positives, negatives)
        loss.backward()
        self._add_penalties(users, positives, negatives.items)
        if self.clip > 0:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        self.net.after_step()
        return loss.detach()

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid`, negatives drawn from a stream of their own; hardness plays no part."""
        return valid_loss(self.net, self.loss, self.sampler, valid)

    def state(self) -> State:
        """Returns copies of the parameters and the optimisers' moments."""
        parameters = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        return {"net": parameters, "optimizers": [portable(optimizer) for optimizer in self.optimizers]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes parameters and moments back."""
        self.net.load_state_dict(state["net"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            load_portable(optimizer, saved)

    def _negatives(self, users: Tensor, positives: Tensor, epoch: int, first: int) -> Negatives:
        if self.hardness == 1 or self.sampler.kind in ("shared", "in-batch"):
            return self.sampler.draw(users, positives, epoch, first)
        drawn = self.sampler.draw(users, positives, epoch, first, self.sampler.count * self.hardness)
        with torch.no_grad():
            # (B, N, n): each negative is the best of its own n draws
            pools = drawn.items.view(len(users), self.sampler.count, self.hardness)
            hardest = self.net(users.view(-1, 1, 1), pools).argmax(-1, keepdim=True)
        return Negatives(pools.gather(-1, hardest).squeeze(-1), None, None, None)

    @torch.no_grad()
    def _add_penalties(self, users: Tensor, positives: Tensor, negatives: Tensor) -> None:
        """Adds the gradient of reg/2 |row|^2 for every row the batch touched, meaned as the loss means its terms."""
        user, positive, negative = penalty_shares(self.loss_name, len(users), negatives.shape[1])
        # A negative shared by the batch stands for B
        negative *= len(users) / negatives.shape[0]
        rows = {"user": [(users, user)], "item": [(positives, positive), (negatives.reshape(-1), negative)]}
        for table in self.tables:
            if table.reg > 0:
                _add_row_penalty(table.embedding.weight, rows[table.side], table.reg, self.sparse)
        for weight in self.weights:
            if weight.grad is not None and self.reg_weights > 0:
                weight.grad.add_(weight, alpha=self.reg_weights)


def penalty_shares(loss: LossName, num_positives: int, num_negatives: int) -> tuple[float, float, float]:
    """Returns what share of reg/2 |row|^2 each user, positive and own negative of a batch brings.

    A user's row counts once a positive. BCE has B(1+N) equal terms; the others weigh a positive as much as all its
    negatives together.
    """
    if loss == "bce":
        share = 1 / (num_positives * (1 + num_negatives))
        return 1 / num_positives, share, share
    return 1 / num_positives, 1 / num_positives, 1 / (num_positives * num_negatives)


def batch_loss(net: Net, loss: Loss, users: Tensor, positives: Tensor, negatives: Negatives) -> Tensor:
    """Returns the loss of a batch, penalties excluded."""
    if negatives.items.shape[0] == 1:
        vectors = net.user_vectors(users)
        positive = net.logits(vectors, positives)
        negative = net.grid(vectors, negatives.items[0])
    else:
        # One pass over (B, 1+N), so that each user's row is gathered once
        logits = net(users.unsqueeze(-1), torch.cat([positives.unsqueeze(-1), negatives.items], dim=-1))
        positive, negative = logits[:, 0], logits[:, 1:]
    return loss(
        positive.float(),
        negative.float(),
        log_q_positive=negatives.log_q_positive,
        log_q_negative=negatives.log_q_negative,
        mask=negatives.mask,
    )


@torch.no_grad()
def valid_loss(net: Net, loss: Loss, sampler: NegativeSampler, valid: Interactions) -> float:
    """Returns the loss on `valid` against negatives of epoch 0, which are the same at every call."""
    users = torch.from_numpy(valid.users.astype(np.int64)).to(sampler.device)
    items = torch.from_numpy(valid.items.astype(np.int64)).to(sampler.device)
    known = ~torch.from_numpy(sampler.is_full[valid.users]).to(sampler.device)
    users, items = users[known], items[known]
    total = 0.0
    net.eval()
    for rows in torch.arange(len(users), device=sampler.device).split(16_384):
        negatives = sampler.draw(users[rows], items[rows], 0, int(rows[0]))
        total += float(batch_loss(net, loss, users[rows], items[rows], negatives)) * len(rows)
    return total / max(len(users), 1)


def _add_row_penalty(weight: Tensor, rows: list[tuple[Tensor, float]], reg: float, sparse: bool) -> None:
    if sparse:
        touched = torch.cat([indices for indices, _ in rows])
        shares = torch.cat([weight.new_full((len(indices), 1), share * reg) for indices, share in rows])
        values = weight[touched] * shares
        added = torch.sparse_coo_tensor(touched.unsqueeze(0), values, weight.shape, check_invariants=False)
        weight.grad = added if weight.grad is None else weight.grad + added
        return
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    counts = weight.new_zeros(len(weight))
    for indices, share in rows:
        counts += torch.bincount(indices, minlength=len(weight)) * share
    weight.grad.addcmul_(weight, counts.unsqueeze(-1), value=reg)


def diverged(epoch: int, batch: int) -> TrainingError:
    """Returns the error of a loss that is no longer finite."""
    return TrainingError(
        f"The loss is not finite at epoch {epoch}, batch {batch}; the last good weights are kept. "
        "Lower `lr`, raise `reg`, or set `clip`."
    )
