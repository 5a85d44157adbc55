"""results.jsonl: one line for each model and seed as it ends, so that a study may span sittings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neucf.artifacts.log import json_lines
from neucf.experiment.per_user import PerUser

RESULTS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """One model and seed, trained and judged, or what went wrong.

    Attributes:
        label: Its label in the recipe.
        model: Registry name.
        seed: Drove initialisation, sampling and order.
        run: Its run folder; None where it failed, as in all that follows.
        train_seconds: Seconds of both fits, and of those it started from.
        metrics: On test, shaped as `neucf evaluate --json`.
        valid_metrics: On validation, by the model trained on train alone.
        error: Why it failed; None where it did not.
        reused: Whether nothing had to be trained.
        per_user: Each user's metrics, where models are to be compared.
    """

    label: str
    model: str
    seed: int
    run: str | None = None
    train_seconds: float | None = None
    metrics: dict[str, Any] | None = None
    valid_metrics: dict[str, Any] | None = None
    error: str | None = None
    reused: bool = False
    per_user: PerUser | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Returns the entry that `neucf run --json` prints."""
        entry = {
            "label": self.label,
            "model": self.model,
            "seed": self.seed,
            "train_seconds": self.train_seconds,
            "run": self.run,
            "metrics": self.metrics,
            "valid_metrics": self.valid_metrics,
        }
        return entry if self.error is None else {**entry, "error": self.error}


class Records:
    """The lines of a results.jsonl; what cannot be read as one is passed over, never rewritten."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows = json_lines(file.read_text(encoding="utf-8", errors="replace")) if file.exists() else []

    def find(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns the latest line that ended well and has all these values."""
        ended_well = (row for row in reversed(self._rows) if row.get("error") is None)
        return next((row for row in ended_well if all(row.get(name) == key[name] for name in key)), None)

    @property
    def num_on_test(self) -> int:
        """How many lines hold metrics on test."""
        return sum(row.get("metrics") is not None for row in self._rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a line, whole even where the last one was cut by a crash."""
        text = json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
        with self._file.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                text = text if file.read() == b"\n" else "\n" + text
            file.write(text.encode())
        self._rows.append(json.loads(text))
