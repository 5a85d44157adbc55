"""Negatives, drawn by a kernel: uniform, or from an alias table (Walker 1977; Vose 1991)."""

from __future__ import annotations

import numpy as np

from neucf.kernels.compile import kernel
from neucf.kernels.random import below, contains, stream, unit


@kernel
def draw_negatives(users, rows, indptr, positives, num_items, accept, alias, seed, epoch, out):
    """Fills out (B, N) with items that are no positive of users (B,).

    accept and alias (I,) are an alias table, or empty for uniform draws. Each row has the stream of (seed, epoch,
    rows[row]), its place in the epoch, so draws depend on neither batch nor thread. A user who has every item must not
    be asked for.
    """
    weighted = len(accept) > 0
    for row in range(out.shape[0]):
        state = stream(seed, epoch, rows[row])
        user = users[row]
        first, last = indptr[user], indptr[user + 1]
        for column in range(out.shape[1]):
            while True:
                state, item = below(state, num_items)
                if weighted:
                    state, chance = unit(state)
                    if chance >= accept[item]:
                        item = alias[item]
                if not contains(positives, first, last, item):
                    break
            out[row, column] = item


@kernel
def alias_table(weights):
    """Returns (accept (I,), alias (I,)) of non-negative weights (I,), by Vose's method."""
    size = len(weights)
    accept = weights * (size / weights.sum())
    alias = np.arange(size)
    small, large = np.empty(size, np.int64), np.empty(size, np.int64)
    num_small, num_large = 0, 0
    for item in range(size):
        if accept[item] < 1.0:
            small[num_small] = item
            num_small += 1
        else:
            large[num_large] = item
            num_large += 1
    while num_small and num_large:
        num_small -= 1
        less, more = small[num_small], large[num_large - 1]
        alias[less] = more
        accept[more] -= 1.0 - accept[less]
        if accept[more] < 1.0:
            num_large -= 1
            small[num_small] = more
            num_small += 1
    # What rounding left over is whole.
    for x in range(num_small):
        accept[small[x]] = 1.0
    for x in range(num_large):
        accept[large[x]] = 1.0
    return accept, alias
