"""Coordinate descent for SLIM: each column of the weights is a regression of its own, with few items in it."""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel


@kernel
def descend(
    first, last, row_indptr, row_items, row_values, column_indptr, column_users, column_values, l1, l2, max_sweeps,
    tolerance,
):  # fmt: skip
    """Fits the columns first..last - 1; returns (ends (last - first,), items (nnz,), weights (nnz,)).

    The matrix X (U, I) comes by rows and by columns. Column j minimises, over w >= 0 with w_j = 0,
        1/2 |x_j - X w|^2 + l2/2 |w|^2 + l1 |w|_1     (Ning and Karypis 2011, equation 4)
    by w_i <- max(0, <x_i, r> + |x_i|^2 w_i - l1) / (|x_i|^2 + l2), r the residual (Friedman, Hastie and Tibshirani
    2010, equation 5). As X and w are not negative, an item with <x_i, x_j> <= l1 can never enter, so the few others
    are all that is looked at. A sweep over them is followed by sweeps over those that entered, until a sweep changes
    no weight by more than `tolerance` of the largest.
    """
    num_users, num_items = len(row_indptr) - 1, len(column_indptr) - 1
    residual = np.zeros(num_users, np.float32)
    overlap = np.zeros(num_items, np.float32)
    # Apart from `overlap`, which stays 0 where a product of tiny weights does not fit in float32
    met = np.zeros(num_items, np.bool_)
    w = np.zeros(num_items, np.float32)
    candidates, active = np.empty(num_items, np.int64), np.empty(num_items, np.int64)
    squares = np.zeros(num_items, np.float32)
    for item in range(num_items):
        for place in range(column_indptr[item], column_indptr[item + 1]):
            squares[item] += column_values[place] * column_values[place]
    ends = np.empty(last - first, np.int64)
    items, weights = np.empty(1024, np.int32), np.empty(1024, np.float32)
    used = 0
    for column in range(first, last):
        residual[:] = 0
        num_met = 0
        for place in range(column_indptr[column], column_indptr[column + 1]):
            user, value = column_users[place], column_values[place]
            residual[user] = value
            for other in range(row_indptr[user], row_indptr[user + 1]):
                item = row_items[other]
                if not met[item]:
                    met[item] = True
                    candidates[num_met] = item
                    num_met += 1
                overlap[item] += value * row_values[other]
        num_candidates = 0
        for x in range(num_met):
            item = candidates[x]
            if overlap[item] > l1 and item != column:
                candidates[num_candidates] = item
                num_candidates += 1
            overlap[item], met[item] = 0, False
        candidates[:num_candidates].sort()
        num_active = 0
        everything = True
        for _ in range(max_sweeps):
            swept = candidates[:num_candidates] if everything else active[:num_active]
            largest, moved = np.float32(0.0), np.float32(0.0)
            for item in swept:
                start, stop = column_indptr[item], column_indptr[item + 1]
                numerator = squares[item] * w[item] - l1
                for place in range(start, stop):
                    numerator += column_values[place] * residual[column_users[place]]
                new = max(numerator, np.float32(0.0)) / (squares[item] + l2)
                change = new - w[item]
                if change != 0:
                    for place in range(start, stop):
                        residual[column_users[place]] -= change * column_values[place]
                    w[item] = new
                largest, moved = max(largest, new), max(moved, abs(change))
            settled = moved <= tolerance * largest
            if settled and everything:
                break
            if everything:
                num_active = 0
                for item in swept:
                    if w[item] > 0:
                        active[num_active] = item
                        num_active += 1
            everything = settled
        for item in candidates[:num_candidates]:
            if w[item] > 0:
                if used == len(items):
                    items, weights = np.append(items, items), np.append(weights, weights)
                items[used], weights[used] = item, w[item]
                used += 1
            w[item] = 0
        ends[column - first] = used
    return ends, items[:used].copy(), weights[:used].copy()
