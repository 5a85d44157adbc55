"""Filtering: which rows stay of repeated pairs, then of the k-core; the threshold between them is one comparison."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from neucf.data.columns import Columns
from neucf.data.vocabulary import FloatArray, IntArray

Mask = npt.NDArray[np.bool_]


def latest(columns: Columns, *, count: bool = False) -> tuple[Mask, FloatArray | None]:
    """Finds one row of each (user, item) pair: the latest in time, the later in the file where times are equal.

    Args:
        columns: N rows.
        count: Make each weight the number of rows that the pair has.

    Returns:
        (N,) which rows these are, and the weights (N,) or None.
    """
    keys = columns.users.astype(np.int64) * len(columns.item_ids) + columns.items
    weights = np.ones(len(keys)) if count else columns.weights
    ordered = np.sort(keys)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    remains = np.ones(len(keys), bool)
    if len(repeated):
        # Only the rows of repeated pairs are put in order: by pair, then time; lexsort keeps the file's order else.
        rows = np.flatnonzero(among(keys, repeated))
        times = np.zeros(len(rows)) if columns.timestamps is None else columns.timestamps[rows]
        rows = rows[np.lexsort((times, keys[rows]))]
        last = np.append(keys[rows][1:] != keys[rows][:-1], True)
        remains[rows[~last]] = False
        if count and weights is not None:
            weights[rows[last]] = np.diff(np.flatnonzero(last), prepend=-1)
    return remains, weights


def among(values: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> Mask:
    """Returns (N,) whether each value is one of `known`; many times faster than numpy's isin."""
    found: Mask = pl.Series(values).is_in(pl.Series(known).implode()).to_numpy()
    return found


def core(users: IntArray, items: IntArray, k: int) -> Mask:
    """Returns (N,) the rows that remain when users and items with fewer than `k` rows go, until none has fewer."""
    rows = np.arange(len(users))
    while len(rows):
        enough = np.bincount(users[rows])[users[rows]] >= k
        enough &= np.bincount(items[rows])[items[rows]] >= k
        if enough.all():
            break
        rows = rows[enough]
    remains = np.zeros(len(users), bool)
    remains[rows] = True
    return remains
