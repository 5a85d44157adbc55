"""The compiled engine: inner-product nets by stochastic gradient descent, one positive a step, on CPU threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from neucf.data.interactions import Interactions
from neucf.kernels.compile import spread, torch_threads
from neucf.kernels.factors import BCE, BPR, sweep
from neucf.training.engines import State, diverged
from neucf.training.losses import LossName, make_loss
from neucf.training.net_loss import valid_loss
from neucf.training.nets import Net
from neucf.training.sampling import NegativeSampler

# Users a block: enough pairs to shuffle, few enough rows to stay in cache.
BLOCK_USERS = 64


class SgdEngine:
    """Trains user and item tables and an item bias in place by `kernels.factors`.

    With one thread the result is bit-reproducible. More threads share the tables without locks, so runs differ a
    little.

    Args:
        net: An inner-product net on the CPU: user_embedding, item_embedding and perhaps item_bias.
        loss: `bpr` or `bce`.
        sampler: Names N, the positives and the eligible users; the kernel draws its own uniform negatives.
        train: The training interactions.
        hardness: Each negative is the best scored of this many draws.
        seed: Keys order and negatives, with the epoch.
        threads: Threads that share the tables.
    """

    name = "compiled-sgd"

    def __init__(
        self,
        net: Net,
        loss: LossName,
        sampler: NegativeSampler,
        train: Interactions,
        *,
        hardness: int,
        seed: int,
        threads: int,
    ) -> None:
        self.net, self.sampler, self.hardness = net, sampler, hardness
        self.seed, self.threads = seed, threads
        self.loss_kind, self.loss = (BPR if loss == "bpr" else BCE), make_loss(loss)
        self.active = np.flatnonzero(np.diff(sampler.known.indptr)).astype(np.int64)
        self.reg = net.tables()[0].reg
        # Views (U, D), (I, D), (I,) of the net's own memory
        tables = [table.embedding.weight.detach().numpy() for table in net.tables()]
        self.user_factors, self.item_factors = tables[:2]
        self.use_bias = len(tables) > 2
        self.item_bias = tables[2].reshape(-1) if self.use_bias else np.zeros(train.num_items, np.float32)

    @property
    def samples_per_epoch(self) -> int:
        """Positives times (1 + negatives)."""
        return len(self.sampler.eligible) * (1 + self.sampler.count)

    def run_epoch(self, epoch: int, lr: Callable[[float], float]) -> float:
        """Visits every positive once, in blocks of shuffled users keyed by (seed, epoch)."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.active)
        num_blocks = -(-len(order) // BLOCK_USERS)
        bounds = np.linspace(0, num_blocks, self.threads + 1).astype(np.int64)
        rates = (lr(0.0), lr(1.0 - 1e-6))

        def run(span: tuple[int, int]) -> tuple[float, int]:
            summed, visited = sweep(
                order, BLOCK_USERS, *span, self.sampler.known, self.user_factors, self.item_factors, self.item_bias,
                self.use_bias, self.sampler.count, self.hardness, self.loss_kind, *rates, self.reg,
                self.seed, epoch,
            )  # fmt: skip
            return float(summed), int(visited)

        spans = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        sums = spread(run, spans, self.threads)
        mean = sum(loss for loss, _ in sums) / max(sum(pairs for _, pairs in sums), 1)
        if not np.isfinite(mean):
            raise diverged(epoch, num_blocks - 1)
        return mean

    def valid_loss(self, valid: Interactions) -> float:
        """Returns the loss on `valid`, negatives drawn from a stream of their own; hardness plays no part."""
        # One thread, for the reason that `state` has
        with torch_threads(1):
            return valid_loss(self.net, self.loss, self.sampler, valid)

    def state(self) -> State:
        """Returns copies of the parameters; plain SGD keeps nothing else."""
        # Torch would copy by threads of its own, which then spin for milliseconds where the next epoch's should run
        return {"net": {name: torch.from_numpy(value.numpy().copy()) for name, value in self.net.state_dict().items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes the parameters back, in place."""
        self.net.load_state_dict(state["net"])
