"""The Recommender protocol: what every model promises. Callers of a model import this, never a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import Vocabulary

# A model's own array type, on its own device: numpy arrays or torch tensors.
Scores: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch of training reports.

    Attributes:
        epoch: From 1.
        epochs: The schedule's horizon.
        loss: Mean training loss.
        lr: Learning rate used.
        seconds: Training time of this epoch, evaluation excluded.
        samples: Positives times (1 + negatives) visited.
        valid_loss: On seeded negatives drawn once; None when not evaluated, and where validation users are held out.
        valid_metrics: Metric name, such as `ndcg@20`, to mean over users; None when not evaluated.
        best: Whether this is the best evaluation so far.
    """

    epoch: int
    epochs: int
    loss: float
    lr: float
    seconds: float
    samples: int
    valid_loss: float | None = None
    valid_metrics: Mapping[str, float] | None = None
    best: bool = False


class Monitor(Protocol):
    """Watches a fit: shows progress, logs epochs, keeps checkpoints."""

    def epoch(self, record: EpochRecord) -> None:
        """Called after each epoch."""

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Offers everything needed to go on later; kept or not, as the monitor likes."""

    def resume(self) -> Mapping[str, Any] | None:
        """Returns the state to go on from, or None to start afresh."""


@runtime_checkable
class Recommender(Protocol):
    """A model of who likes what.

    Shapes: U users, I items, B users asked for, C candidate items. Scores stay in the model's array type, on its
    device; higher is better; `score(u, items)` equals `score(u)[:, items]`, so callers tile the catalogue. They
    are cast to float32 before they are compared: numbers that differ only beyond 24 bits, such as Unix times, tie.
    """

    @property
    def user_ids(self) -> Vocabulary:
        """The users' vocabulary of the training data."""
        ...

    @property
    def item_ids(self) -> Vocabulary:
        """The catalogue of the training data."""
        ...

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        monitor: Monitor | None = None,
    ) -> Self:
        """Learns from `train`; `valid` only chooses when to stop. Fitting again starts afresh."""
        ...

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Scores:
        """Returns scores: users (B,) -> (B, I); items (C,) -> (B, C); items (B, C) -> (B, C)."""
        ...

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Scores:
        """Returns scores, shapes as `score`, of B people the model never saw, by their histories (B, I)."""
        ...


def to_numpy(scores: Scores) -> npt.NDArray[np.float32]:
    """Returns scores of any array type as a float32 numpy array, without a copy where possible."""
    if hasattr(scores, "detach"):
        scores = scores.detach().cpu().numpy()
    return np.asarray(scores, np.float32)
