"""The engine of the multinomial variational autoencoder: a batch is some users' whole histories, kept sparse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from neucf.data.interactions import Interactions
from neucf.training.engines import State, diverged
from neucf.training.nets import filled
from neucf.training.optimizers import load_state, set_rate, state_of

# Logits that stand in memory at once while validation is judged.
_TILE_LOGITS = 1 << 24


class VAENet(nn.Module):
    """Histories (B, I) to logits (B, I) by way of a Gaussian in D dimensions (Liang et al. 2018, section 2).

    Args:
        num_items: I.
        hidden: Width H of the one hidden layer of encoder and decoder.
        dim: D.
        generator: Draws the initial weights.
    """

    def __init__(self, num_items: int, hidden: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()

        def weights(rows: int, columns: int) -> nn.Parameter:
            weight = torch.empty(rows, columns)
            return nn.Parameter(filled(weight, partial(nn.init.xavier_normal_, generator=generator)))

        # The outer two as tables (I, H), a row an item
        self.into, self.into_bias = weights(num_items, hidden), nn.Parameter(torch.zeros(hidden))
        self.code, self.code_bias = weights(2 * dim, hidden), nn.Parameter(torch.zeros(2 * dim))
        self.back, self.back_bias = weights(hidden, dim), nn.Parameter(torch.zeros(hidden))
        self.out, self.out_bias = weights(num_items, hidden), nn.Parameter(torch.zeros(num_items))

    def encode(self, starts: Tensor, items: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and log variances (B, D) of histories: items (P,), row b's from starts[b] on, and values."""
        summed = functional.embedding_bag(items, self.into, starts, mode="sum", per_sample_weights=values)
        code = functional.linear(torch.tanh(summed + self.into_bias), self.code, self.code_bias)
        mean, log_variance = code.chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, code: Tensor) -> Tensor:
        """Returns the last hidden layer (B, H) of codes (B, D); times `out`, plus `out_bias`, it is the logits."""
        return torch.tanh(functional.linear(code, self.back, self.back_bias))


def histories(matrix: csr_array) -> tuple[Tensor, Tensor, Tensor]:
    """Returns where each row of (B, I) starts (B,), its items (P,), and its values, all equal and of length 1."""
    counts = np.diff(matrix.indptr)
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    arrays = (matrix.indptr[:-1].astype(np.int64), matrix.indices.astype(np.int64), values)
    starts, items, lengths = map(torch.from_numpy, arrays)
    return starts, items, lengths


def multinomial(logits: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """Returns the sum of -ln softmax(logits)[rows, items] over positives (P,), logits (B, I) (equation 2)."""
    total: Tensor = logits.logsumexp(-1)[rows].sum() - logits[rows, items].sum()
    return total


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Returns the sum over (B, D) of KL(N(mean, variance) || N(0, 1)) (Kingma and Welling 2014, appendix B)."""
    return -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()


class VAEEngine:
    """Minimises, a user, the multinomial loss of the history and beta times the divergence of its code (equation 3).

    beta rises from 0 in proportion to the steps done, up to its cap (section 2.2.2). Dropout falls on the input.

    Args:
        net: What is trained, on its device.
        train: The training interactions; each counts as 1.
        batch_users: Users a step.
        dropout: Share of a history's items that the encoder does not see.
        beta: The cap.
        anneal_epochs: Epochs until beta gets there.
        reg_weights: L2 strength on all weights.
        seed: Keys order, dropout and codes, with the epoch.
        device: Where the net lies.
    """

    name = "torch"

    def __init__(
        self, net: VAENet, train: Interactions, *, batch_users: int, dropout: float, beta: float, anneal_epochs: float,
        reg_weights: float, seed: int, device: torch.device,
    ) -> None:  # fmt: skip
        self.net, self.batch_users, self.dropout, self.beta = net, batch_users, dropout, beta
        self.anneal_epochs, self.seed, self.device = anneal_epochs, seed, device
        self.matrix = train.csr()
        self.num_items, self.num_positives = train.num_items, len(train)
        self.active = np.flatnonzero(np.diff(self.matrix.indptr))
        self.adam = torch.optim.Adam(net.parameters(), weight_decay=reg_weights, fused=True)

    @property
    def samples_per_epoch(self) -> int:
        """Positives."""
        return self.num_positives

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every user once, in an order keyed by (seed, epoch); returns the loss a positive, KL included."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.active)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        total = 0.0
        for number, first in enumerate(range(0, len(order), self.batch_users)):
            users, done = order[first : first + self.batch_users], first / len(order)
            beta = self.beta * min((epoch - 1 + done) / max(self.anneal_epochs, 1e-9), 1.0)
            total += self.step(users, beta, lr(done), generator)
            if not np.isfinite(total):
                raise diverged(epoch, number)
        return total / max(self.num_positives, 1)

    def step(self, users: npt.NDArray[np.int64], beta: float, lr: float, generator: torch.Generator) -> float:
        """Takes one step on users (B,); returns the sum of their losses before it."""
        starts, items, values = (each.to(self.device) for each in histories(self.matrix[users]))
        rows = _rows(starts, len(items))
        kept = torch.rand(len(items), generator=generator, device=self.device) >= self.dropout
        mean, log_variance = self.net.encode(starts, items, values * kept / max(1 - self.dropout, 1e-9))
        noise = torch.randn(mean.shape, generator=generator, device=self.device)
        hidden = self.net.decode(mean + noise * (0.5 * log_variance).exp())
        logits = functional.linear(hidden, self.net.out, self.net.out_bias)
        loss = multinomial(logits, rows, items) + beta * divergence(mean, log_variance)
        self.adam.zero_grad(set_to_none=True)
        (loss / len(users)).backward()
        set_rate([self.adam], lr)
        self.adam.step()
        return float(loss.detach())

    @torch.no_grad()
    def valid_loss(self, valid: Interactions) -> float:
        """Returns the multinomial loss a positive of `valid`, each user's code being the mean by the train part."""
        wanted = valid.csr()
        users = np.flatnonzero(np.diff(wanted.indptr))
        size, total = max(1, _TILE_LOGITS // max(self.num_items, 1)), 0.0
        for first in range(0, len(users), size):
            tile = users[first : first + size]
            known = (each.to(self.device) for each in histories(self.matrix[tile]))
            hidden = self.net.decode(self.net.encode(*known)[0])
            starts, items, _ = (each.to(self.device) for each in histories(wanted[tile]))
            logits = functional.linear(hidden, self.net.out, self.net.out_bias)
            total += float(multinomial(logits, _rows(starts, len(items)), items))
        return total / max(len(valid), 1)

    def state(self) -> State:
        """Returns copies of the weights and of Adam's moments."""
        return state_of(self.net, [self.adam])

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes weights and moments back."""
        load_state(self.net, [self.adam], state)


def _rows(starts: Tensor, count: int) -> Tensor:
    """Returns the row of each of `count` positives (P,), row b's beginning at starts[b]."""
    return torch.searchsorted(starts, torch.arange(count, device=starts.device), right=True) - 1
