"""The monitor of a training on standard error: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from neucf.cli import display
from neucf.evaluation.titles import metric_title
from neucf.recommender import EpochRecord

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
        """Shows an epoch."""
        if record.valid_metrics and self._metric:
            self._reached = f"{metric_title(self._metric)} {record.valid_metrics[self._metric]:.4f}"
        rate = record.samples / record.seconds / 1e6 if record.seconds > 0 else 0.0
        parts = (f"{record.epoch}/{record.epochs}", f"loss {record.loss:.4f}", self._reached, f"{rate:.1f} M/s")
        text = "  ".join(filter(None, parts))
        if self._task is not None:
            self._progress.update(self._task, completed=record.epoch, total=record.epochs, text=text)
        now = time.monotonic()
        if not self._console.is_terminal and (now - self._last_line > _LINE_EVERY or record.epoch == record.epochs):
            self._last_line = now
            display.note(f"{self._label}: epoch {text}")
