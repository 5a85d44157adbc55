"""Readers: any source -> a Dataset of positives, what is below the threshold, titles, and the published split.

The order is fixed: repeated (user, item) pairs are merged, then the threshold meets the exact value, then the k-core;
file order is kept, and every row left out is counted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from neucf.checks import checked_integer
from neucf.data.catalog import CATALOG
from neucf.data.columns import ColumnNames, Columns
from neucf.data.dataset import Dataset, ReadReport
from neucf.data.encoding import vocabulary
from neucf.data.filtering import core, latest
from neucf.data.grouped import TEST, TRAIN, Loaded
from neucf.data.interactions import Interactions
from neucf.data.joining import join_events
from neucf.data.sources import load
from neucf.data.splits import Split
from neucf.data.titles import in_order, read_items
from neucf.data.vocabulary import indices_of
from neucf.errors import ConfigError, DataError


def read(source: Any, **options: Any) -> Interactions:
    """Returns the positives of `read_dataset(source, **options)`, which says what the options are."""
    return read_dataset(source, **options).interactions


def read_dataset(
    source: Any,
    *,
    format: str | None = None,
    user_col: str | int | None = None,
    item_col: str | int | None = None,
    rating_col: str | int | None = None,
    time_col: str | int | None = None,
    weight_col: str | int | None = None,
    weight: str | None = None,
    sep: str | None = None,
    min_rating: float | None = None,
    k_core: int | None = None,
    items: str | Path | None = None,
    events: pl.DataFrame | None = None,
) -> Dataset:
    """Reads interactions of users with items.

    Args:
        source: The name of a data set in the catalogue (before a path of that name), a file, a folder of a known
            format, a polars, pandas or Arrow frame, or a SciPy sparse matrix (U, I) whose values are weights; those
            stored at the same place are added.
        format: What a file or folder is where its name or look does not say: one of `FILE_FORMATS`, `LAYOUTS`.
        user_col: The users' column, by name, or by position from 1 in a file without a header line; usual names, such
            as userId, user_id or user:token, are found without.
        item_col: The items' column.
        rating_col: The ratings' column. An empty name leaves out a column that would be found.
        time_col: The times' column: numbers, or dates (kept as microseconds since 1970).
        weight_col: The column of weights, above 0.
        weight: `count` makes the weight of a pair the number of its rows.
        sep: Separator of a text file; guessed from its first line.
        min_rating: The least rating of a positive; None, and every row is one (a named set may have its own default).
        k_core: Keep only users and items with at least this many positives, repeatedly.
        items: A file with item ids, titles, years, genres; its order becomes the catalogue's.
        events: What people did since, appended to the source's rows: user_id and item_id (text), value (None where
            there is none) and timestamp (seconds since 1970), as `EventStore.frame` gives them.

    Returns:
        The dataset. Of a pair in several rows the latest in time stays, with its rating and weight; on equal or no
        times the one later in the file.

    Raises:
        DataError: If the source breaks a rule; the message names file, row and rule.
        ConfigError: If an option is out of range or does not fit the source.
        DownloadError: If a named set could not be fetched.
    """
    if weight not in (None, "count"):
        raise ConfigError(f"`weight` must be `count` or left out; got {weight!r}.")
    if weight and weight_col:
        raise ConfigError(f"`weight` and `weight_col` exclude each other; got {weight!r} and {weight_col!r}.")
    if min_rating is not None and not (isinstance(min_rating, Real) and math.isfinite(min_rating)):
        raise ConfigError(f"`min_rating` must be a finite number; got {min_rating!r}.")
    k_core = None if k_core is None else checked_integer("k_core", k_core, 1)
    if not isinstance(items, str | Path | None):
        raise ConfigError(f"`items` must be the path of a file; got {type(items).__name__}; write it to one.")
    if not isinstance(events, pl.DataFrame | None):
        raise ConfigError(
            f"`events` must be a polars DataFrame, such as `EventStore.frame` gives; got {type(events).__name__}."
        )

    columns_named = (user_col, item_col, rating_col, time_col, weight_col)
    names = ColumnNames(*(None if column is None else str(column) for column in columns_named))
    loaded, name, how = load(source, names, format=format, sep=sep)
    if min_rating is None and name in CATALOG and source == name:
        min_rating = CATALOG[name].min_rating
    if min_rating is not None and loaded.columns.ratings is None:
        raise ConfigError(f"`min_rating` needs a column of ratings, and {name} has none; got {min_rating}.")
    if items is not None:
        loaded = replace(loaded, items=read_items(Path(items)))
    loaded = _in_catalogue_order(loaded)
    events_unknown = 0
    if events is not None:
        loaded, events_unknown = join_events(loaded, events, min_rating)

    columns, parts = loaded.columns, loaded.parts
    remains, weights = latest(columns, count=weight == "count")
    everything = _interactions(replace(columns, weights=weights))
    positive = remains.copy()
    if min_rating is not None and columns.ratings is not None:
        positive &= columns.ratings >= min_rating
    kept = positive
    if k_core is not None:
        kept = positive.copy()
        kept[positive] = core(columns.users[positive], columns.items[positive], k_core)
    # Masks, and each row copied at most once: a copy without the repeated rows would take as much memory as all
    interactions = everything if kept.all() else everything.take(kept)
    report = ReadReport(
        rows=len(remains),
        duplicates=int((~remains).sum()),
        below_threshold=int((remains & ~positive).sum()),
        below_k_core=int((positive & ~kept).sum()),
        positives=len(interactions),
        negatives_positive=loaded.negatives_positive,
        negatives_repeated=loaded.negatives_repeated,
        events=0 if events is None else len(events) - events_unknown,
        events_unknown=events_unknown,
    )
    fixed = None
    if parts is not None and k_core is None:
        fixed = Split(
            everything.take(remains & (parts == TRAIN)),
            None,
            everything.take(remains & (parts == TEST)),
            candidates=loaded.candidates,
        )
    return Dataset(
        name=name,
        interactions=interactions,
        below_threshold=everything.take(remains & ~positive),
        below_k_core=everything.take(positive & ~kept),
        items=in_order(loaded.items, everything.item_ids.series),
        fixed=fixed,
        report=report,
        settings={**how, "min_rating": min_rating, "k_core": k_core, "weight": weight},
    )


def _in_catalogue_order(loaded: Loaded) -> Loaded:
    """Puts the item file's items first, in its order; items it lacks follow in order of first appearance."""
    if loaded.items is None:
        return loaded
    known = loaded.columns.item_ids
    if not loaded.items["item_id"].is_in(known.implode()).any():
        raise DataError(
            f"the item file must be of the data's items; none of its {len(loaded.items):,} ids is among them, such as"
            f" {loaded.items['item_id'].first()!r} beside {known.first()!r}; check that they belong together and are"
            " written alike."
        )
    item_ids = pl.concat([loaded.items["item_id"], known]).unique(maintain_order=True)
    moved = indices_of(known, item_ids)
    columns = replace(loaded.columns, items=moved[loaded.columns.items], item_ids=item_ids)
    candidates = loaded.candidates
    if candidates is not None:
        negatives = np.where(candidates.negatives < 0, np.int32(-1), moved[candidates.negatives])
        candidates = replace(candidates, positives=moved[candidates.positives], negatives=negatives)
    return replace(loaded, columns=columns, candidates=candidates)


def _interactions(columns: Columns) -> Interactions:
    return Interactions(
        users=columns.users,
        items=columns.items,
        ratings=columns.ratings,
        weights=columns.weights,
        timestamps=columns.timestamps,
        user_ids=vocabulary(columns.user_ids, "user"),
        item_ids=vocabulary(columns.item_ids, "item"),
    )
