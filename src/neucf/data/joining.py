"""Joining: what people did since a source was written, appended to its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from neucf.data.columns import Columns
from neucf.data.grouped import Loaded
from neucf.data.vocabulary import IntArray, indices_of
from neucf.errors import DataError

EVENT_COLUMNS = ("user_id", "item_id", "value", "timestamp")


def join_events(loaded: Loaded, events: pl.DataFrame, min_rating: float | None) -> tuple[Loaded, int]:
    """Appends events to a source's rows, in their order; users it has not follow its own, in order of appearance.

    An event of an item that is neither among the rows nor in the item file is left out. Where the source has ratings,
    an event's value is its rating, and one without is a positive: rated `min_rating`, or else the median rating. Where
    it has weights, an event weighs 1. Where it has times, an event has its own, in the unit of the source. A published
    split says nothing of events, so it is dropped.

    Args:
        loaded: The source, with its items in catalogue order.
        events: user_id and item_id (text), value (Float64, may be null) and timestamp (Int64, seconds since 1970).
        min_rating: The threshold the rows will meet.

    Returns:
        All rows, and how many events were left out.

    Raises:
        DataError: If a column is absent, or every event is of an unknown item.
    """
    absent = [name for name in EVENT_COLUMNS if name not in events.columns]
    if absent:
        raise DataError(f"`events` must have the columns {', '.join(EVENT_COLUMNS)}; {absent[0]} is absent.")
    events = events.with_columns(pl.col("user_id", "item_id").cast(pl.String))
    known = indices_of(events["item_id"], loaded.columns.item_ids) >= 0
    if len(events) and not known.any():
        raise DataError(
            f"`events` must be of items of the data; none of the {len(events):,} is, such as of item "
            f"{events['item_id'][0]!r}. Check that data and events belong together."
        )
    if not len(events):
        return loaded, 0
    columns = _appended(loaded.columns, events.filter(known), min_rating)
    return replace(loaded, columns=columns, parts=None, candidates=None), int((~known).sum())


def _appended(columns: Columns, events: pl.DataFrame, min_rating: float | None) -> Columns:
    user_ids = pl.concat([columns.user_ids, events["user_id"].alias(columns.user_ids.name)]).unique(maintain_order=True)
    ratings, weights, timestamps = columns.ratings, columns.weights, columns.timestamps
    if ratings is not None:
        unrated = min_rating if min_rating is not None else float(np.median(ratings))
        ratings = np.concatenate([ratings, events["value"].fill_null(unrated).to_numpy()])
    if weights is not None:
        weights = np.concatenate([weights, np.ones(len(events))])
    if timestamps is not None:
        times = events["timestamp"].to_numpy() * ticks_per_second(timestamps)
        timestamps = np.concatenate([timestamps, times])
    return Columns(
        users=np.concatenate([columns.users, indices_of(events["user_id"], user_ids)]),
        items=np.concatenate([columns.items, indices_of(events["item_id"], columns.item_ids)]),
        ratings=ratings,
        weights=weights,
        timestamps=timestamps,
        user_ids=user_ids,
        item_ids=columns.item_ids,
    )


def ticks_per_second(timestamps: IntArray) -> int:
    """Returns the unit of a column by the size of its latest time: seconds up to the year 5138, and so on."""
    latest = int(timestamps.max(initial=0))
    return next((ticks for ticks in (1, 1_000, 1_000_000) if latest < 10**11 * ticks), 1_000_000_000)
