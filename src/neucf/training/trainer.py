"""The only training loop: epochs, schedule, early stopping on valid, best weights, resume, log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from neucf.data.interactions import Interactions
from neucf.errors import TrainingError
from neucf.recommender import EpochRecord, Monitor
from neucf.training.engines import Engine


@dataclass(frozen=True, slots=True)
class Plan:
    """What the loop needs to know.

    Attributes:
        epochs: The schedule's horizon.
        stop_after: Stop here, before the horizon, as a refit does; None to go on.
        eval_every: Epochs between two evaluations on validation.
        patience: Evaluations without a new best before training stops; 0 never stops early.
        metric: What is maximised on validation, such as `ndcg@20`.
        warm: Whether the weights before the first epoch count as an evaluation, epoch 0.
        rate: Epochs done, a fraction included, to the learning rate.
    """

    epochs: int
    stop_after: int | None
    eval_every: int
    patience: int
    metric: str
    warm: bool
    rate: Callable[[float], float]


def train(
    engine: Engine,
    plan: Plan,
    valid: Interactions | None,
    evaluate: Callable[[], Mapping[str, float]] | None,
    monitor: Monitor | None,
) -> int:
    """Trains to the end of the plan, restores the best weights, and returns their epoch.

    Args:
        engine: Runs the epochs.
        plan: Horizon, stopping and schedule.
        valid: For the validation loss; None where there is none, or where it would be of users who were never trained.
        evaluate: Returns the validation metrics of the current weights; None trains to the end.
        monitor: Sees every epoch, and may keep checkpoints and give one back.

    Raises:
        TrainingError: At a non-finite loss; the engine then holds the last good weights.
    """
    last = plan.epochs if plan.stop_after is None else min(plan.epochs, plan.stop_after)
    done, best_epoch, best_value, best_net, misses = 0, 0, float("-inf"), None, 0
    saved = monitor.resume() if monitor else None
    if saved is not None:
        engine.load_state(saved["engine"])
        done, best_epoch, best_value, misses = (saved[key] for key in ("epoch", "best_epoch", "best_value", "misses"))
        best_net = saved.get("best_net")
    good = engine.state()
    if saved is None and plan.warm and evaluate is not None:
        best_value, best_net = evaluate()[plan.metric], good["net"]
    for epoch in range(done + 1, last + 1):
        if plan.patience and misses >= plan.patience:
            break
        start = time.perf_counter()
        try:
            loss = engine.run_epoch(epoch, lambda fraction, before=epoch - 1: plan.rate(before + fraction))  # type: ignore[misc]
        except TrainingError:
            engine.load_state(good)
            raise
        seconds = time.perf_counter() - start
        good = engine.state()
        metrics, valid_loss, best = None, None, False
        if evaluate is not None and (epoch % plan.eval_every == 0 or epoch == last):
            metrics, valid_loss = evaluate(), None if valid is None else engine.valid_loss(valid)
            best = metrics[plan.metric] > best_value
            if best:
                best_epoch, best_value, best_net, misses = epoch, metrics[plan.metric], good["net"], 0
            else:
                misses += 1
        if monitor:
            monitor.epoch(
                EpochRecord(
                    epoch, plan.epochs, loss, plan.rate(epoch - 1), seconds, engine.samples_per_epoch,
                    valid_loss, metrics, best,
                )
            )  # fmt: skip
            monitor.checkpoint(_checkpoint(good, epoch, best_epoch, best_value, misses, best_net))
    if best_net is None:
        return last
    engine.load_state({**good, "net": best_net})
    return best_epoch


def _checkpoint(
    engine: Any, epoch: int, best_epoch: int, best_value: float, misses: int, best_net: Any
) -> dict[str, Any]:
    state = {"engine": engine, "epoch": epoch, "best_epoch": best_epoch, "best_value": best_value, "misses": misses}
    return state if best_net is None else {**state, "best_net": best_net}
