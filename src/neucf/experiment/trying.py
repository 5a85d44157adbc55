"""Trying: one set of settings after the other, trained and judged on validation, the hopeless ended early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from neucf.data.splits import Split
from neucf.evaluation import evaluate
from neucf.experiment.budget import Budget
from neucf.experiment.runs import explain
from neucf.experiment.selection import k_of
from neucf.experiment.studies import STEPS, TIME_UP, Study, Trial
from neucf.fitting import fit_model
from neucf.plan import Plan
from neucf.recommender import EpochRecord

if TYPE_CHECKING:
    import optuna


class Watcher(Protocol):
    """Sees a study go on."""

    def __call__(self, record: EpochRecord) -> None:
        """Called after each epoch of the trial under way."""

    def trials(self, trials: Sequence[Trial]) -> None:
        """Called with the trials that ended: those there are at first, and again after each."""


@dataclass(frozen=True, slots=True)
class Trying:
    """Tries settings, one set after the other.

    Attributes:
        plan: What to train; a trial's settings go on top of its own.
        parts: Train and validation.
        metric: What to maximise on validation.
        folder: Where the error of a failed trial is explained.
        halves: The fitted gmf and mlp that a neumf starts from.
        watcher: Sees it go on.
    """

    plan: Plan
    parts: Split
    metric: str
    folder: Path
    halves: Sequence[Any]
    watcher: Watcher | None

    def next(self, study: Study, budget: Budget, before: Sequence[Trial]) -> None:
        """Tries what the study gives, and tells it what came of it; an error of any kind fails the trial alone."""
        trial, settings = study.ask(len(before))
        # Something must complete, or the minutes were for nothing.
        able = any(other.value is not None for other in before)
        start = perf_counter()
        deadline = start + budget.seconds_left(before) if able else float("inf")
        monitor = _TrialMonitor(trial, self.metric, deadline, self.watcher)
        try:
            value, more = self._fit_and_judge(settings, monitor)
        except _PrunedError as error:
            study.tell(trial, perf_counter() - start, reason=str(error), pruned=True)
        except _CutError as error:
            # Not as pruned: what a larger budget tries again must not be learnt from.
            study.tell(trial, perf_counter() - start, reason=str(error))
        except Exception as error:
            reason = explain(error, self.folder, f"trial {len(before)}: {settings}")
            study.tell(trial, perf_counter() - start, reason=reason)
        else:
            monitor.complete(value)
            study.tell(trial, perf_counter() - start, value, **more)

    def _fit_and_judge(self, settings: Mapping[str, Any], monitor: _TrialMonitor) -> tuple[float, dict[str, Any]]:
        plan = replace(self.plan, settings={**self.plan.settings, **settings})
        known = (self.parts.valid, self.parts.valid_history)
        model, fit = fit_model(plan, "trial", self.parts.train, known, halves=self.halves, monitor=monitor)
        ks = (k_of(self.metric),)
        found = evaluate(model, self.parts, "valid", plan.protocol, ks, seed=plan.seed, threads=plan.threads)
        return found.mean(self.metric), {"epochs": fit["epochs"], "engine": fit["engine"]}


class _PrunedError(Exception):
    """Ends a trial that does worse than most."""


class _CutError(Exception):
    """Ends a trial because time is up."""


class _TrialMonitor:
    """Reports a trial's metric, and ends the trial where it does worse than most or where time is up."""

    def __init__(self, trial: optuna.Trial, metric: str, deadline: float, watcher: Watcher | None) -> None:
        self._trial, self._metric, self._deadline, self._watcher = trial, metric, deadline, watcher
        self._step = -1

    def epoch(self, record: EpochRecord) -> None:
        """Reports the metric at each new tenth of the epochs."""
        if self._watcher is not None:
            self._watcher(record)
        step, where = STEPS * record.epoch // record.epochs, f"at epoch {record.epoch} of {record.epochs}"
        value = (record.valid_metrics or {}).get(self._metric)
        if value is not None and self._step < step < STEPS:
            self._step = step
            self._trial.report(value, step)
            if self._trial.should_prune():
                raise _PrunedError(f"Below the median of earlier trials {where}: {self._metric} {value:.4f}.")
        if perf_counter() > self._deadline:
            raise _CutError(f"{TIME_UP} {where}.")

    def complete(self, value: float) -> None:
        """Reports what the trial kept where it stopped early, else only those that went on would be compared with."""
        for step in range(self._step + 1, STEPS if self._step >= 0 else 0):
            self._trial.report(value, step)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keeps nothing: an interrupted trial is tried again."""

    def resume(self) -> None:
        """Starts afresh."""
