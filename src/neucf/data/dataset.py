"""Dataset: what reading a source gives: positives, the rows that are none, item titles, and what was dropped."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.errors import DataError


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What reading kept and dropped, in rows.

    Attributes:
        rows: Data rows in the source, and events joined to them.
        duplicates: Rows merged into a later one of the same user and item.
        below_threshold: Rows under `min_rating`.
        below_k_core: Positives of users or items with fewer than `k_core` positives.
        positives: Rows that remain.
        negatives_positive: Given negatives of a published split left out because the user has a positive on them.
        negatives_repeated: Given negatives left out because they stand twice in their list.
        events: Events joined to the source's rows.
        events_unknown: Events left out because no row and no item file has their item.
    """

    rows: int
    duplicates: int
    below_threshold: int
    below_k_core: int
    positives: int
    negatives_positive: int = 0
    negatives_repeated: int = 0
    events: int = 0
    events_unknown: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One source, read.

    Attributes:
        name: The catalogue name, or the file's stem.
        interactions: The positives, in file order.
        below_threshold: The rows below `min_rating`; the same vocabularies; hidden from recommendations.
        below_k_core: The positives below `k_core`, no part of a split; known when recommending.
        items: item_id, title, year, genres (lists of text) in index order, I rows; None where nothing is known.
        fixed: The published split, for sources that have one; its `valid` is None.
        report: What was dropped, and why.
        settings: How it was read (min_rating, columns, ...), for the manifest.
    """

    name: str
    interactions: Interactions
    below_threshold: Interactions
    below_k_core: Interactions
    items: pl.DataFrame | None
    fixed: Split | None
    report: ReadReport
    settings: dict[str, str | float | int | None] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self.interactions!r})"


def check_origin(split: object, dataset: object) -> None:
    """Raises DataError unless what is said to be a model's split and data set are these, or None."""
    for name, value, kind, maker in (("split", split, Split, "split"), ("dataset", dataset, Dataset, "read_dataset")):
        if not isinstance(value, kind | None):
            raise DataError(
                f"`{name}` must be a {kind.__name__}; got {type(value).__name__}. Pass what `{maker}` returns."
            )
