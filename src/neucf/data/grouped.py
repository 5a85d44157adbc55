"""Grouped files: `user item item ...` a line, as the papers publish them; and what any layout gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from neucf.data.columns import Columns
from neucf.data.splits import Candidates
from neucf.data.text import text_of
from neucf.data.vocabulary import indices_of
from neucf.errors import DataError

TRAIN, TEST, NEITHER = 0, 1, -1


@dataclass(frozen=True, slots=True)
class Loaded:
    """A published layout, read.

    Attributes:
        columns: All rows; the item file's items come first among `item_ids`.
        items: What the item file says, or None.
        parts: (N,) TRAIN, TEST or NEITHER, or None where nothing is split.
        candidates: The given test lists, or None.
        negatives_positive: Given negatives left out because the user has a positive on them.
        negatives_repeated: Given negatives left out because they stand twice in their list.
    """

    columns: Columns
    items: pl.DataFrame | None = None
    parts: npt.NDArray[np.int8] | None = None
    candidates: Candidates | None = None
    negatives_positive: int = 0
    negatives_repeated: int = 0


def read_grouped(path: Path) -> tuple[pl.DataFrame, pl.Series]:
    """Reads lines of `user item item ...`.

    Returns:
        Texts user and item, a row per interaction in file order; and the user of each line, also of one without items.

    Raises:
        DataError: If the file is no text or holds no interaction.
    """
    words = pl.Series(text_of(path).split("\n")).str.extract_all(r"\S+")
    lines = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)}).drop_nulls("user")
    pairs = lines.filter(pl.col("item").list.len() > 0).explode("item")
    if not len(pairs):
        raise DataError(f"{path} must hold lines of a user and items, separated by blanks; got none.")
    return pairs, lines["user"]


def load_grouped(path: Path) -> Loaded:
    """Reads one grouped file; nothing says that its lines are in order of time."""
    pairs, users = read_grouped(path)
    return Loaded(to_columns(pairs, users, pairs["item"]))


def load_lightgcn(folder: Path) -> Loaded:
    """Reads train.txt and test.txt, as the NGCF and LightGCN papers publish them."""
    train, train_users = read_grouped(folder / "train.txt")
    test, test_users = read_grouped(folder / "test.txt")
    rows = pl.concat([train, test])
    return Loaded(
        columns=to_columns(rows, pl.concat([train_users, test_users]), rows["item"]),
        parts=np.repeat(np.array([TRAIN, TEST], np.int8), [len(train), len(test)]),
    )


def to_columns(rows: pl.DataFrame, users: pl.Series, items: pl.Series) -> Columns:
    """Encodes rows of user, item and perhaps time; `users` and `items` give the order, by first appearance."""
    user_ids, item_ids = users.unique(maintain_order=True), items.unique(maintain_order=True)
    return Columns(
        users=indices_of(rows["user"], user_ids),
        items=indices_of(rows["item"], item_ids),
        ratings=None,
        weights=None,
        timestamps=rows["time"].to_numpy() if "time" in rows.columns else None,
        user_ids=user_ids,
        item_ids=item_ids,
    )
