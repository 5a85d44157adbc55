"""Peers' environments, made where they are missing, and the fits run in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.data.vocabulary import Vocabulary

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / ".envs"
# Wheels of ray 2.6.3, which RecBole needs, end there.
PYTHON = (3, 11)


class PeerError(Exception):
    """A peer that could not be installed or did not run; a row of the table says so."""


class Exported:
    """What a peer had learnt after some epoch, as a Recommender that `evaluate` takes.

    Args:
        train: What it learnt from.
        arrays: `scores` (U, I), or `users` (U, D) and `items` (I, D).
    """

    def __init__(self, train: Interactions, arrays: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self.user_ids: Vocabulary = train.user_ids
        self.item_ids: Vocabulary = train.item_ids
        self._arrays = dict(arrays)

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """Returns scores, shapes as in Recommender."""
        rows = np.asarray(users)
        if "scores" in self._arrays:
            scores = self._arrays["scores"][rows]
        else:
            scores = self._arrays["users"][rows] @ self._arrays["items"].T
        if items is None:
            return np.asarray(scores)
        chosen = np.asarray(items)
        return np.asarray(scores[:, chosen] if chosen.ndim == 1 else np.take_along_axis(scores, chosen, 1))


@dataclass(frozen=True)
class PeerFit:
    """One fit of a peer.

    Attributes:
        epochs: For each, `epoch`, `seconds` of training and `samples` seen.
        not_counted: Seconds of import and loading.
        versions: Of the packages that ran.
        folder: Holds what was learnt by epoch.
        train: What it learnt from.
    """

    epochs: list[dict[str, float]]
    not_counted: dict[str, float]
    versions: dict[str, str]
    folder: Path
    train: Interactions

    def exported(self) -> Iterator[tuple[int, Any]]:
        """Yields the epochs that were exported, and what was learnt by then."""
        for path in sorted(self.folder.glob("[0-9]*.npz"), key=lambda path: int(path.stem)):
            with np.load(path) as arrays:
                yield int(path.stem), Exported(self.train, arrays)


@contextmanager
def fit_peer(
    peer: str,
    model: str,
    data: Split,
    settings: Mapping[str, Any],
    *,
    epochs: int,
    export_every: int,
    threads: int,
    seed: int = 0,
) -> Iterator[PeerFit]:
    """Fits a peer's model in its environment; what it exported is there until the block ends.

    Args:
        peer: Names its requirements and its runner.
        model: Which of its models.
        data: Learnt from is `train` alone; the other parts are read by peers that take their catalogue from files.
        settings: By the peer's own names.
        epochs: How many to train.
        export_every: Epochs between two exports; 0 exports nothing.
        threads: How many it may use.
        seed: For what it lets be seeded.

    Raises:
        PeerError: With the last line of what it said, if it failed.
    """
    python = python_of(peer)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        request = {
            "model": model, "settings": dict(settings), "epochs": epochs, "export_every": export_every,
            "threads": threads, "seed": seed,
        }  # fmt: skip
        (folder / "request.json").write_text(json.dumps(request))
        parts: dict[str, Any] = {part: pairs(getattr(data, part)) for part in ("train", "valid", "test")}
        np.savez(folder / "split.npz", shape=[data.train.num_users, data.train.num_items], **parts)
        _run_module(python, f"peers.run_{peer}", folder, f"{peer} failed", threads, blas_threads=threads)
        yield PeerFit(**json.loads((folder / "result.json").read_text()), folder=folder, train=data.train)


def rank_by_peer(
    peer: str, arrays: Mapping[str, npt.NDArray[Any]], settings: Mapping[str, Any], *, threads: int, blas_threads: int
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Lets a peer rank by given factors in its environment; returns what it measured, and the arrays it gave back.

    Args:
        peer: Names its requirements and its runner.
        arrays: `users` (U, D), `items` (I, D), and the pairs (N, 2) of `train` and, for an evaluation, `valid`, `test`.
        settings: By the peer's own names.
        threads: How many it may use.
        blas_threads: How many each of its matrix products may use.

    Raises:
        PeerError: With the last line of what it said, if it failed.
    """
    python = python_of(peer)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "request.json").write_text(json.dumps({"settings": dict(settings), "threads": threads}))
        np.savez(folder / "arrays.npz", allow_pickle=False, **dict(arrays))
        _run_module(python, f"peers.rank_{peer}", folder, f"{peer} failed", threads, blas_threads=blas_threads)
        found = folder / "lists.npz"
        lists = dict(np.load(found)) if found.exists() else {}
        return json.loads((folder / "result.json").read_text()), lists


def _run_module(python: Path, module: str, folder: Path, why: str, threads: int, *, blas_threads: int) -> None:
    settled = {
        "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(blas_threads),
    }  # fmt: skip
    _run([python, "-m", module, folder], why, cwd=folder, env=os.environ | settled)


def python_of(peer: str) -> Path:
    """Returns the interpreter of a peer's environment, which is made first where it is missing or out of date."""
    requirements = HERE / f"{peer}.txt"
    folder = ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if stamp.exists() and stamp.read_text() == requirements.read_text():
        return python
    print(f"installing {peer} into {folder}: once, some minutes", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    why = f"{peer} could not be installed"
    _run([_interpreter(), "-m", "venv", folder], why)
    _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements], why)
    stamp.write_text(requirements.read_text())
    return python


def _interpreter() -> str:
    if sys.version_info[:2] == PYTHON:
        return sys.executable
    name = "python{}.{}".format(*PYTHON)
    found = shutil.which(name)
    if found is None:
        raise PeerError(f"peers need {name}, which is not on PATH")
    return found


def _run(command: list[Any], why: str, **named: Any) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **named)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        # pip says what went wrong, and then more about itself.
        raised = [line for line in lines if re.match(r"\s*[\w.]*(Error|Exception): ", line)]
        raise PeerError(f"{why}: {(raised or lines)[-1].strip()}")


def pairs(part: Interactions | None) -> npt.NDArray[np.int32]:
    """Returns user and item indices (N, 2)."""
    if part is None:
        return np.empty((0, 2), np.int32)
    return np.stack([part.users, part.items], axis=1).astype(np.int32)
