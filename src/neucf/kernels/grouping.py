"""Columns of ids and indices: numbered by first appearance, and grouped into sparse rows, in linear time."""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel


@kernel
def first_seen(values, low, index_of, distinct, num_seen, out):
    """Numbers integers by first appearance, in place; returns how many are distinct so far.

    Args:
        values: (N,) integers, the least of which is `low` or more.
        low: Of the type of `values`.
        index_of: (C,) the number of each of low, low + 1, ...; -1 where it was not seen before.
        distinct: The integers seen, in order; the first num_seen are there already.
        num_seen: 0 at first, then what the last call returned.
        out: (N,) the number of each value.
    """
    for x in range(len(values)):
        place = values[x] - low
        if index_of[place] < 0:
            index_of[place] = num_seen
            distinct[num_seen] = values[x]
            num_seen += 1
        out[x] = index_of[place]
    return num_seen


@kernel
def offsets_of(groups, count):
    """Returns (count+1,) int64 where each group starts, once rows are in order of groups (N,)."""
    indptr = np.zeros(count + 1, np.int64)
    for group in groups:
        indptr[group + 1] += 1
    for group in range(count):
        indptr[group + 1] += indptr[group]
    return indptr


@kernel
def grouped(users, items, weights, num_users, num_items):
    """Returns a CSR matrix: indptr (U+1,) int64, items (N,) int32 sorted for each user, weights (N,) float32.

    Weights may be empty, and are then all 1. Two stable passes of counting sort, by item and then by user, so equal
    pairs stay in the order they had.
    """
    size = len(users)
    next_free = offsets_of(items, num_items)
    by_item = np.empty(size, np.int32)
    weight_by_item = np.empty(len(weights), np.float32)
    for row in range(size):
        place = next_free[items[row]]
        next_free[items[row]] = place + 1
        by_item[place] = users[row]
        if len(weights):
            weight_by_item[place] = weights[row]
    indptr = offsets_of(users, num_users)
    at = indptr[:-1].copy()
    columns, values = np.empty(size, np.int32), np.ones(size, np.float32)
    start = 0
    for item in range(num_items):
        # Each item's next free place is now where the next item starts.
        for row in range(start, next_free[item]):
            user = by_item[row]
            columns[at[user]] = item
            if len(weights):
                values[at[user]] = weight_by_item[row]
            at[user] += 1
        start = next_free[item]
    return indptr, columns, values


@kernel
def hits_of(lists, offsets, items, num_items):
    """Returns whether each item of lists (M, K), -1 for none, is one of items[offsets[row]:offsets[row + 1]]."""
    hits = np.zeros(lists.shape, np.bool_)
    wanted = np.zeros(num_items, np.bool_)
    for row in range(len(lists)):
        for item in items[offsets[row] : offsets[row + 1]]:
            wanted[item] = True
        for place in range(lists.shape[1]):
            hits[row, place] = lists[row, place] >= 0 and wanted[lists[row, place]]
        for item in items[offsets[row] : offsets[row + 1]]:
            wanted[item] = False
    return hits
