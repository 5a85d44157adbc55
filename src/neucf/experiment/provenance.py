"""Where a result comes from: the fingerprint of a training, and the commit of the code."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import neucf
from neucf.data.dataset import Dataset
from neucf.data.splits import Split

# What decides the result of a training, beside what was asked for.
SOURCES = ("data", "evaluation", "training", "models", "kernels")


def fingerprint(asked: Mapping[str, Any]) -> str:
    """Returns the SHA-256 over what a training was asked for, the version and the source that does the work.

    Args:
        asked: JSON-able values by key: resolved config, data hash, split, seeds.
    """
    whole = {**asked, "version": neucf.__version__, "source": source_hash()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@cache
def source_hash() -> str:
    """Returns the SHA-256 over the source of reading, splitting, training and judging."""
    package = Path(neucf.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(file for name in SOURCES for file in (package / name).rglob("*.py")):
        text = file.read_bytes()
        digest.update(f"{file.relative_to(package).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def data_hash(dataset: Dataset, parts: Split) -> str:
    """Returns the SHA-256 over a data set and, where its split came with them, the given candidates."""
    digest = hashlib.sha256(dataset.interactions.sha256().encode())
    if parts.candidates is not None:
        for array in (parts.candidates.users, parts.candidates.positives, parts.candidates.negatives):
            digest.update(array.astype("<i8").tobytes())
    return digest.hexdigest()


def kept_hash(dataset: Dataset, parts: Split) -> str:
    """Returns the SHA-256 over all that a run keeps of a data set: items, name and threshold bear on no training.

    Args:
        dataset: What `data_hash` takes, and its rows that are no part of a split.
        parts: Its split.
    """
    digest = hashlib.sha256(data_hash(dataset, parts).encode())
    for part in (dataset.below_threshold, dataset.below_k_core):
        digest.update(part.sha256().encode())
    digest.update(f"{dataset.name!r} {dataset.settings.get('min_rating')!r}\n".encode())
    if dataset.items is not None:
        for row in dataset.items.select("item_id", "title", "year", "genres").iter_rows():
            digest.update(f"{row!r}\n".encode())
    return digest.hexdigest()


@cache
def commit() -> str | None:
    """Returns the commit of a neucf that runs from a clone, `-dirty` if changed since; None where it does not."""
    package = Path(neucf.__file__).parent
    try:
        # An installed neucf may lie inside another repository, which knows nothing of it.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        return _git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout
