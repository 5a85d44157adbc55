"""Each user's metrics of a judged run, kept beside the runs: models are compared without judging them again."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.evaluation import Evaluation
from neucf.evaluation.metrics import Values

FOLDER = "per-user"
_KEY, _USERS = "key", "users"


@dataclass(frozen=True, slots=True)
class PerUser:
    """One run judged on one part.

    Attributes:
        users: (M,) indices of the users with a relevant item, ascending.
        values: Metric name to (M,) values.
    """

    users: npt.NDArray[np.int64]
    values: dict[str, Values]

    @classmethod
    def of(cls, evaluation: Evaluation) -> PerUser:
        """Takes them from an evaluation."""
        return cls(evaluation.users, evaluation.values)


def keep(run: Path, key: Mapping[str, Any], found: PerUser) -> None:
    """Writes a run's values, whole or not at all, as per-user/RUN.npz beside the run folder.

    Args:
        run: The run folder.
        key: What was judged and how; `find` gives the values back to who asks for the same.
        found: The values.
    """
    file = _file(run)
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_suffix(".new")
    with temporary.open("wb") as handle:
        np.savez_compressed(handle, **{_KEY: np.array(_text(key)), _USERS: found.users}, **found.values)  # type: ignore[arg-type]
    os.replace(temporary, file)


def find(run: Path, key: Mapping[str, Any]) -> PerUser | None:
    """Returns what was kept under this key; None where there is nothing, or something else."""
    try:
        with _file(run).open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            if str(arrays[_KEY]) != _text(key):
                return None
            return PerUser(arrays[_USERS], {name: arrays[name] for name in arrays.files if name not in (_KEY, _USERS)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _file(run: Path) -> Path:
    return run.parent / FOLDER / f"{run.name}.npz"


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)
