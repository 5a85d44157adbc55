"""Engines: what runs one epoch. The trainer drives them and knows none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.errors import TrainingError
from neucf.training.catalogue_loss import Precision
from neucf.training.losses import LossName, make_loss
from neucf.training.net_loss import batch_loss, valid_loss
from neucf.training.nets import Net
from neucf.training.optimizers import OptimizerName, clip_gradients, load_state, make_optimizers, set_rate, state_of
from neucf.training.penalties import add_row_penalty, add_weight_penalty, penalty_shares
from neucf.training.recording import CudaRecorder, RecordedStep, Recorder
from neucf.training.sampling import Negatives, NegativeSampler

State: TypeAlias = dict[str, Any]

# Negatives drawn at once: each draw of a device's waits for it, to see whether any fell on a positive.
_DRAWN = 1 << 22


class Engine(Protocol):
    """Runs epochs over a net's parameters."""

    name: str

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

    On CUDA everything lies on the device, and steps that can be are replayed from a CUDA graph.

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
        self.num_positives = len(sampler.eligible)
        # (E,) everything training touches lies on the device
        self.users = torch.from_numpy(train.users[sampler.eligible].astype(np.int64)).to(self.device)
        self.items = torch.from_numpy(train.items[sampler.eligible].astype(np.int64)).to(self.device)
        self.tables = net.tables()
        self.sparse = optimizer == "lazy-adam"
        self.weights = net.weights()
        for table in self.tables:
            table.embedding.sparse = self.sparse
        self.optimizers = make_optimizers(optimizer, [table.embedding.weight for table in self.tables], self.weights)
        self.recorded: RecordedStep | None = None
        draws = any(getattr(module, "dropout", 0) > 0 for module in net.modules())
        if self.device.type == "cuda" and optimizer in ("adam", "adamw") and not draws:
            self.record(CudaRecorder(self.device))

    def record(self, recorder: Recorder) -> None:
        """Has all but the first steps replayed by `recorder`."""
        self.recorded = RecordedStep(self.optimizers, recorder)

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""
        per_positive = self.batch_size if self.sampler.kind == "in-batch" else 1 + self.sampler.count
        return self.num_positives * per_positive

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every positive once, in an order keyed by (seed, epoch)."""
        rng = np.random.default_rng([self.seed, epoch])
        order = self._order(rng)
        self.net.seed_dropout(int(rng.integers(2**62)))
        self.net.train()
        done, total = 0, torch.zeros((), device=self.device)
        try:
            for batch, (users, positives, negatives) in enumerate(self._batches(order, epoch)):
                total += self.step_on(users, positives, negatives, lr(done / self.num_positives)) * len(users)
                done += len(users)
                if batch % 64 == 0 and not torch.isfinite(total):
                    raise diverged(epoch, batch)
        finally:
            self.net.eval()
        mean = float(total) / max(self.num_positives, 1)
        if not np.isfinite(mean):
            raise diverged(epoch, -(-self.num_positives // self.batch_size) - 1)
        return mean

    def step_on(self, users: Tensor, positives: Tensor, negatives: Negatives, lr: float) -> Tensor:
        """Takes one step on positives (B,) of users (B,); returns the loss before it, penalties excluded."""
        set_rate(self.optimizers, lr)
        if self.recorded is None:
            return self._move(users, positives, negatives)
        return self.recorded(self._move, users, positives, negatives)

    def _move(self, users: Tensor, positives: Tensor, negatives: Negatives) -> Tensor:
        """Takes a step at the optimisers' rate; where it waited for a CUDA device, it could not be recorded."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        # A cache of weights in bf16 would outlive the recording they are part of
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16, cache_enabled=False):
            loss = batch_loss(self.net, self.loss, users, positives, negatives)
        loss.backward()
        self._add_penalties(users, positives, negatives.items)
        if self.clip > 0:
            clip_gradients(self.net.parameters(), self.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.net.after_step()
        return loss.detach()

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid`, negatives drawn from a stream of their own; hardness plays no part."""
        return valid_loss(self.net, self.loss, self.sampler, valid)

    def state(self) -> State:
        """Returns copies of the parameters and the optimisers' moments."""
        return state_of(self.net, self.optimizers)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes parameters and moments back."""
        load_state(self.net, self.optimizers, state)
        if self.recorded is not None:
            self.recorded.forget()

    def _order(self, rng: np.random.Generator) -> Tensor:
        """Returns all positives (E,) in a random order: on the CPU the batched engine's, elsewhere the device's own."""
        if self.device.type == "cpu":
            return torch.from_numpy(rng.permutation(self.num_positives))
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        return torch.randperm(self.num_positives, generator=generator, device=self.device)

    def _batches(self, order: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor, Negatives]]:
        """Yields users (B,), positives (B,) and negatives, which are drawn for many batches at once if not shared."""
        own, count = self.sampler.kind in ("uniform", "popularity"), self.sampler.count
        count *= self.hardness if own else 1
        span = max(_DRAWN // (count * self.batch_size), 1) * self.batch_size if own else self.batch_size
        for first in range(0, self.num_positives, span):
            rows = order[first : first + span]
            users, positives = self.users[rows], self.items[rows]
            drawn = self.sampler.draw(users, positives, epoch, first, count)
            for start in range(0, len(rows), self.batch_size):
                some = slice(start, start + self.batch_size)
                yield users[some], positives[some], self.hardest(users[some], drawn.of(some))

    @torch.no_grad()
    def hardest(self, users: Tensor, drawn: Negatives) -> Negatives:
        """Returns the best scored of each `hardness` draws of users (B,): (B, N x hardness) become (B, N)."""
        if self.hardness == 1 or self.sampler.kind in ("shared", "in-batch"):
            return drawn
        pools = drawn.items.view(len(users), -1, self.hardness)
        best = self.net(users.view(-1, 1, 1), pools).argmax(-1, keepdim=True)
        return Negatives(pools.gather(-1, best).squeeze(-1), None, None, None)

    @torch.no_grad()
    def _add_penalties(self, users: Tensor, positives: Tensor, negatives: Tensor) -> None:
        """Adds the gradient of reg/2 |row|^2 for every row the batch touched, averaged as the loss averages."""
        user, positive, negative = penalty_shares(self.loss_name, len(users), negatives.shape[1])
        # A negative shared by the batch stands for B
        negative *= len(users) / negatives.shape[0]
        rows = {"user": [(users, user)], "item": [(positives, positive), (negatives.reshape(-1), negative)]}
        for table in self.tables:
            if table.reg > 0:
                add_row_penalty(table.embedding.weight, rows[table.side], table.reg, self.sparse)
        add_weight_penalty(self.weights, self.reg_weights)


def diverged(epoch: int, batch: int) -> TrainingError:
    """Returns the error of a loss that is no longer finite."""
    return TrainingError(
        f"The loss is not finite at epoch {epoch}, batch {batch}; the last good weights are kept. "
        "Lower `lr`, raise `reg`, or set `clip`."
    )
