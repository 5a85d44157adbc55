"""A model that only pretends to learn, and studies of it that end in no time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from neucf import split
from neucf.data.synthetic import synthetic
from neucf.errors import ConfigError, TrainingError
from neucf.experiment.budget import Budget
from neucf.experiment.studies import Trial
from neucf.experiment.tuning import Tuned, tune
from neucf.models.config import Config, Tunable
from neucf.models.popularity import Popularity
from neucf.plan import Plan
from neucf.recommender import EpochRecord

DATA = synthetic(num_users=60, num_items=50, num_interactions=1_200, seed=0).dataset
PARTS = split(DATA, "random:0.6/0.2/0.2", seed=1)
METRIC = "ndcg@10"


class StubConfig(Config):
    """Settings of a model that only pretends to learn."""

    quality: Annotated[float, Tunable(0.0, 1.0)] = Field(0.5, ge=0, le=1)
    epochs: Annotated[int, Tunable(4, 30, log=True)] = Field(10, ge=1)
    kind: Annotated[str, Tunable(choices=("plain", "odd"))] = Field("plain")
    oddity: Annotated[float, Tunable(0.1, 1.0, when=("kind", "odd"))] = Field(0.5)
    trouble: str = Field("")
    # Whether a fit with an odd number of epochs stops half-way.
    stops: bool = Field(False)
    metric: str = Field(METRIC)
    metric_protocol: str = Field("full")


def last_epoch(epochs: int, stops: bool) -> int:
    return epochs // 2 if stops and epochs % 2 else epochs


class Stub(Popularity):
    """Popularity with noise; what it reports rises straight to its quality."""

    name: ClassVar[str] = "stub"
    config_class: ClassVar[type[Config]] = StubConfig
    # For each fit, the value reported at each epoch.
    reported: ClassVar[list[dict[int, float]]] = []

    def fit(self, train: Any, *_: Any, monitor: Any = None, **__: Any) -> Self:
        super().fit(train)
        config: Any = self.config
        noise = np.random.default_rng(0).normal(size=train.num_items)
        self._counts = (config.quality * self._counts + (1 - config.quality) * 9 * noise).astype(np.float32)
        self.reported.append({})
        for epoch in range(1, last_epoch(config.epochs, config.stops) + 1):
            value = config.quality * epoch / config.epochs
            self.reported[-1][epoch] = value
            self._stumble(epoch)
            monitor.epoch(EpochRecord(epoch, config.epochs, 0.5, 0.1, 0.0, 10, valid_metrics={METRIC: value}))
        self.best_epoch = config.epochs
        return self

    def _stumble(self, epoch: int) -> None:
        trouble, quality = self.config.trouble, self.config.quality  # type: ignore[attr-defined]
        if trouble == "combination" and quality > 0.6:
            raise ConfigError("`quality` does not go with that.")
        if trouble == "divergence" and (quality < 0.4 or quality == 0.5) and epoch == 2:
            raise TrainingError("The loss is not finite.")
        if trouble == "bug" and quality > 0.6:
            raise ZeroDivisionError("made up")


class Watcher:
    """Keeps what it sees, and interrupts at an epoch of the trial of a number."""

    def __init__(self, interrupt: int | None = None) -> None:
        self.seen: list[int] = []
        self._interrupt = interrupt

    def __call__(self, record: EpochRecord) -> None:
        if self.seen[-1:] == [self._interrupt] and record.epoch == 2:
            raise KeyboardInterrupt

    def trials(self, trials: Sequence[Trial]) -> None:
        self.seen.append(len(trials))


def stub(**settings: Any) -> Plan:
    return Plan("stub", settings, split="random:0.6/0.2/0.2", threads=1)


MF = Plan("mf", {"metric": METRIC, "dim": 4, "batch_size": 64}, split="random:0.6/0.2/0.2", threads=1, ks=(10,))


def study(plan: Plan, folder: Path, trials: int | None = 12, minutes: float | None = None, **more: Any) -> Tuned:
    parts = more.pop("parts", PARTS)
    return tune(
        plan, more.pop("data", DATA), parts, folder, Budget(trials, minutes), more.pop("metric", METRIC), **more
    )


def without_time(tuned: Tuned) -> list[dict[str, Any]]:
    return [{**asdict(trial), "seconds": None} for trial in tuned.trials]
