"""What a runner is given, and what it hands back; used in the peers' environments, so numpy is all it needs.

A job's folder holds request.json and split.npz; the runner adds result.json, and an NPZ of what the model had learnt
after each epoch asked for: `scores` (U, I), or `users` (U, D) and `items` (I, D) whose products they are.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


class Job:
    """One fit a runner was asked for.

    Args:
        folder: The job's folder.

    Attributes:
        model: Which of the peer's models.
        settings: Its settings, by the peer's own names.
        epochs: How many to train.
        threads: How many threads to use.
        seed: For what the peer lets be seeded.
        split: train, valid and test as (N, 2) pairs of user and item index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        request = json.loads((folder / "request.json").read_text())
        self.model: str = request["model"]
        self.settings: dict[str, Any] = request["settings"]
        self.epochs: int = request["epochs"]
        self.threads: int = request["threads"]
        self.seed: int = request["seed"]
        self._export_every: int = request["export_every"]
        arrays = np.load(folder / "split.npz")
        self.num_users, self.num_items = (int(size) for size in arrays["shape"])
        self.split = {part: arrays[part] for part in ("train", "valid", "test")}
        self._epochs: list[dict[str, float]] = []
        self._not_counted: dict[str, float] = {}

    def beside(self, what: str, seconds: float) -> None:
        """Notes time that is not training."""
        self._not_counted[what] = seconds

    def epoch(self, seconds: float, samples: int, export: Callable[[], Arrays]) -> None:
        """Notes an epoch's training time and samples, and writes what was learnt where that was asked for."""
        number = len(self._epochs) + 1
        self._epochs.append({"epoch": number, "seconds": seconds, "samples": samples})
        if self._export_every and (number % self._export_every == 0 or number == self.epochs):
            learnt: dict[str, Any] = {name: array.astype(np.float32) for name, array in export().items()}
            np.savez(self.folder / f"{number}.npz", **learnt)

    def done(self, *packages: str) -> None:
        """Writes the result."""
        result = {
            "epochs": self._epochs,
            "not_counted": self._not_counted,
            "versions": {name: importlib.metadata.version(name) for name in packages},
        }
        (self.folder / "result.json").write_text(json.dumps(result))


def open_job() -> tuple[Job, float]:
    """Returns the job of the folder named on the command line, and when the runner started on it."""
    return Job(Path(sys.argv[1])), time.perf_counter()
