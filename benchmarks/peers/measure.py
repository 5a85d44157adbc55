"""What both comparisons with peers need on our own side: a clock in the fit, and the report."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from neucf.recommender import EpochRecord


@dataclass
class Clock:
    """A monitor that keeps each epoch's training time, samples and, where it was evaluated, validation metrics."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    points: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)

    def epoch(self, record: EpochRecord) -> None:
        """Adds the epoch; evaluations are not in its time."""
        self.epochs.append({"epoch": record.epoch, "seconds": record.seconds, "samples": record.samples})
        if record.valid_metrics is not None:
            self.points.append((record.epoch, record.valid_metrics))

    def seconds(self, epochs: int | None = None) -> float:
        """Returns the training time of the first epochs, or of all."""
        return sum(each["seconds"] for each in self.epochs[:epochs])

    def checkpoint(self, state: Any) -> None:
        """Keeps nothing."""

    def resume(self) -> None:
        """Starts afresh."""


def median_speed(epochs: Sequence[Mapping[str, float]]) -> float:
    """Returns samples a second: the median over epochs, the first left out where there are more."""
    return statistics.median(each["samples"] / each["seconds"] for each in epochs[1:] or epochs)


def median_seconds(epochs: Sequence[Mapping[str, float]]) -> float:
    """Returns seconds an epoch: the median, the first left out where there are more."""
    return statistics.median(each["seconds"] for each in epochs[1:] or epochs)


def import_seconds(model: str) -> float:
    """Returns how long a fresh process takes to start and import what a fit of ours needs."""
    start = time.perf_counter()
    code = f"import neucf; neucf.MODELS[{model!r}]; neucf.evaluate"
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def mean_and_deviation(values: Sequence[float]) -> str:
    """Returns `.6789 (.0012)`; the deviation where there are several."""
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ({statistics.stdev(values):.4f})" if len(values) > 1 else mean


def beside(not_counted: Mapping[str, float]) -> str:
    """Returns `import 1.2 s, load 0.3 s`."""
    return ", ".join(f"{what} {seconds:.2g} s" for what, seconds in not_counted.items())


def console() -> Console:
    """Returns standard error, wide enough for tables in logs too."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else 150)


def write(report: Mapping[str, Any], out: Path | None) -> None:
    """Writes the report as JSON to a file, or prints it."""
    text = json.dumps(report, indent=2)
    if out is None:
        print(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n")
