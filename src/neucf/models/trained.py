"""TrainedModel: what models that the trainer trains epoch by epoch share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.evaluation import evaluate
from neucf.evaluation.metrics import SAMPLED
from neucf.models.base import Model
from neucf.models.config import Config, Tunable
from neucf.recommender import Monitor
from neucf.training.engines import Engine
from neucf.training.trainer import Plan, train

log = logging.getLogger("neucf")


class TrainedConfig(Config):
    """When training stops, and what chooses the epoch."""

    epochs: Annotated[int, Tunable(5, 40, log=True)] = Field(20, ge=1, description="Horizon of the schedule.")
    eval_every: int = Field(1, ge=1, description="Epochs between two evaluations on validation.")
    patience: int = Field(5, ge=0, description="Evaluations without a new best before stopping; 0 never stops.")
    metric: str = Field(
        "ndcg@20", pattern=r"^(recall|precision|ndcg|hit|mrr|map)@[1-9]\d*$", description="What chooses the epoch."
    )
    metric_protocol: Literal["full", "sampled"] = Field("full", description="How the metric is taken.")

    @field_validator("metric_protocol")
    @classmethod
    def _gives_the_metric(cls, protocol: str, info: ValidationInfo) -> str:
        metric = info.data.get("metric", "")
        if protocol == "sampled" and metric and metric.partition("@")[0] not in SAMPLED:
            given = " and ".join(f"{name}@k" for name in SAMPLED)
            raise PydanticCustomError("metric_protocol", f"sampled gives {given} alone, not metric={metric}")
        return protocol


class TrainedModel(Model):
    """A model learnt in epochs.

    Attributes:
        stop_after: Set before `fit` to stop at that epoch of the schedule, as a refit does.
        valid_history: Set before `fit` where validation users are held out: what is known of them.
    """

    config_class: ClassVar[type[TrainedConfig]]
    config: TrainedConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.stop_after: int | None = None
        self.valid_history: Interactions | None = None

    @property
    def best_epochs(self) -> tuple[int, ...]:
        """The epoch whose weights were kept."""
        return () if self.best_epoch is None else (self.best_epoch,)

    def stop_at(self, best_epochs: tuple[int, ...]) -> None:
        """Makes the next fit stop at that epoch of the schedule."""
        (self.stop_after,) = best_epochs

    def forget(self) -> None:
        """Drops what scoring worked out of weights that training goes on to change."""

    def run_epochs(
        self, engine: Engine, valid: Interactions | None, monitor: Monitor | None, *, seed: int, threads: int | None,
        rate: Callable[[float], float], warm: bool = False,
    ) -> int:  # fmt: skip
        """Runs the trainer by the config, and returns the epoch whose weights were kept.

        Args:
            engine: Trains what this model scores by.
            valid: Chooses the epoch; None trains to the end, and so do users of whom nothing is known: of those held
                out, `valid_history` says what is.
            monitor: Watches.
            seed: Orders ties in evaluations.
            threads: Of evaluations.
            rate: Epochs done to the learning rate.
            warm: Whether the weights before the first epoch are worth keeping.
        """
        if not _are_known(valid, self.train, self.valid_history):
            log.warning(
                "Nothing is known of the users of `valid`, so they choose no epoch: training goes to its end. Set "
                "`model.valid_history = parts.valid_history` before `fit`."
            )
            valid = None
        config = self.config
        k = int(config.metric.partition("@")[2])

        def measure() -> dict[str, float]:
            parts = Split(self.train, valid, None, valid_history=self.valid_history)
            result = evaluate(self, parts, "valid", config.metric_protocol, (k,), seed=seed, threads=threads)
            self.forget()
            return {name: result.mean(name) for name in result.values}

        plan = Plan(
            epochs=config.epochs,
            stop_after=self.stop_after,
            eval_every=config.eval_every,
            patience=config.patience,
            metric=config.metric,
            warm=warm,
            rate=rate,
        )
        evaluable = valid is not None and len(valid) > 0
        # Users held out are folded in; the vectors that a loss would go by have learnt nothing of them
        trained = valid if self.valid_history is None else None
        return train(engine, plan, trained, measure if evaluable else None, monitor)


def _are_known(valid: Interactions | None, train: Interactions, history: Interactions | None) -> bool:
    """Whether validation users can be scored by something that was learnt of them, or is given of them."""
    if valid is None or history is not None or not (len(valid) and len(train)):
        return True
    return bool(np.isin(valid.users, train.users).any())
