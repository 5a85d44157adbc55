"""The monitor of a training on standard error: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from neucf.cli import display
from neucf.evaluation.titles import metric_title
from neucf.recommender import EpochRecord

if TYPE_CHECKING:
    from neucf.experiment.budget import Budget
    from neucf.experiment.studies import Trial

_LINE_EVERY = 5.0  # seconds between lines where no terminal can show a bar


class TrainingBar:
    """Shows loss, validation metric, samples a second and time left of one training.

    Args:
        label: What is trained, shown in front.
        metric: The validation metric to show, the one that chooses the epoch.
    """

    def __init__(self, label: str, metric: str | None) -> None:
        self._label, self._metric = label, metric
        self._console = display.notes()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._reached = ""
        self._last_line = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task(self._label, total=None, text="preparing")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, record: EpochRecord) -> None:
        """Shows an epoch; the first is that of a new fit, such as a refit without validation."""
        if record.epoch == 1:
            self._reached = ""
        # What chooses epochs may be another metric than is shown
        value = (record.valid_metrics or {}).get(self._metric or "")
        if self._metric and value is not None:
            self._reached = f"{metric_title(self._metric)} {value:.4f}"
        rate = record.samples / record.seconds / 1e6 if record.seconds > 0 else 0.0
        parts = (f"{record.epoch}/{record.epochs}", f"loss {record.loss:.4f}", self._reached, f"{rate:.1f} M/s")
        text = "  ".join(filter(None, parts))
        if self._task is not None:
            self._progress.update(self._task, completed=record.epoch, total=record.epochs, text=text)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line > _LINE_EVERY or record.epoch == record.epochs):
            self._last_line = now
            display.note(f"{self._label}: epoch {text}")


class TuningBar(TrainingBar):
    """Shows a study: a line for each trial that ended, what the budget has left, and the trial under way.

    Args:
        label: What is tuned.
        metric: The metric that is maximised on validation.
        budget: How much may be tried.
    """

    def __init__(self, label: str, metric: str, budget: Budget) -> None:
        super().__init__(f"{label}, trial 0", metric)
        self._name, self._chosen_by, self._budget = label, metric, budget
        self._seen: int | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        self._total = self._progress.add_task(self._name, total=None, text=f"at most {self._budget}")
        self._task = self._progress.add_task(self._label, total=None, text="preparing")
        return self

    def trials(self, trials: Sequence[Trial]) -> None:
        """Shows the trials that ended: in one line those of earlier sittings, then each in a line of its own."""
        found = [(trial.value, -trial.number) for trial in trials if trial.value is not None]
        best = "" if not found else f"best {metric_title(self._chosen_by)} {max(found)[0]:.4f}, trial {-max(found)[1]}"
        if self._seen is None and len(trials) > 1:
            self._print(f"{self._name}: {len(trials)} trials stand already; {best or 'none completed'}")
        elif self._seen != len(trials):
            last = trials[-1]
            how = f"{metric_title(self._chosen_by)} {last.value:.4f}" if last.value is not None else last.state
            self._print(f"{self._name}, trial {last.number}: {how}, {last.seconds:.1f} s. {last.reason or ''}".strip())
        self._seen = len(trials)
        self._label, self._reached = f"{self._name}, trial {len(trials)}", ""
        if self._task is None:
            return
        done, total = self._spent(trials)
        self._progress.update(self._total, completed=done, total=total, text=best)
        self._progress.reset(self._task, description=self._label, text="preparing", total=None)

    def _spent(self, trials: Sequence[Trial]) -> tuple[float, float]:
        """Returns how much of the budget is spent, and how much there is, in what runs out first."""
        parts = []
        if self._budget.trials is not None:
            parts.append((float(len(trials)), float(self._budget.trials)))
        if self._budget.minutes is not None:
            parts.append((sum(trial.seconds for trial in trials), 60 * self._budget.minutes))
        return max(parts, key=lambda part: part[0] / part[1])

    def _print(self, text: str) -> None:
        # By the console of the bar, which steps aside for the line.
        self._console.print(text, markup=False, soft_wrap=True)
