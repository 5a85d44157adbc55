"""A tiny data set and its split, with whatever a run folder may hold; and the run of a model fitted on it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from neucf.artifacts import write_run, writing
from neucf.data.dataset import Dataset, ReadReport
from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Candidates, Split
from neucf.models import MODELS, Model

REPORT = ReadReport(rows=9, duplicates=1, below_threshold=2, below_k_core=0, positives=6)


def interactions(users: list[int], items: list[int], **columns: Any) -> Interactions:
    return Interactions.from_arrays(users, items, user_ids=["007", "7", "zoë"], item_ids=[30, 10, 2**60, 20], **columns)


def dataset() -> tuple[Dataset, Split]:
    # Out of order on purpose: files keep the order of reading.
    train = interactions([2, 0, 1], [3, 0, 1], ratings=[4.5, 5, 4], timestamps=[30, -1, 2**40])
    valid = interactions([0], [1], ratings=[4.0], timestamps=[7])
    test = interactions([1, 0], [0, 2])
    below = interactions([0], [3], ratings=[0.1], timestamps=[8])
    items = pl.DataFrame(
        {
            "item_id": [30, 10, 2**60, 20],
            "title": ["A", None, "Ç", "D"],
            "year": [1999, None, 2000, 1],
            "genres": [["x", "y"], [], None, ["z"]],
        },
        schema_overrides={"year": pl.Int32},
    )
    candidates = Candidates(np.array([1], np.int32), np.array([0], np.int32), np.array([[2, -1]], np.int32))
    whole = concatenate(concatenate(train, valid), test)
    read = Dataset(
        "tiny", whole, below, whole.take(np.empty(0, np.int64)), items, None, REPORT, {"min_rating": 4.0, "sep": None}
    )
    return read, Split(train, valid, test, candidates=candidates, notes=("Two users were too short.",))


def popularity(train: Interactions) -> Model:
    return MODELS["popularity"]().fit(train)


def write(path: Path, **manifest: Any) -> Path:
    data, split = dataset()
    with writing(path) as partial:
        write_run(partial.folder, model=popularity(split.train), split=split, dataset=data, manifest=manifest)
    return path


def assert_same(found: Any, expected: Any) -> None:
    """Compares parts of a split field by field, dtypes included."""
    if expected is None:
        assert found is None
        return
    for field in fields(expected):
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(right, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        elif field.name in ("user_ids", "item_ids"):
            assert left == right
            assert left.is_text == right.is_text
        elif field.name == "notes":
            assert left == right
        else:
            assert_same(left, right)
