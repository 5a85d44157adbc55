"""Negatives, drawn by a kernel: uniform, or from an alias table (Walker 1977; Vose 1991)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neucf.kernels.compile import inlined, kernel
from neucf.kernels.random import below, stream, unit

# Bits a positive has in its user's filter: one item in sixteen that is no positive is looked up all the same
BITS = 16


class Known(NamedTuple):
    """Who has what, for fast membership tests: a CSR matrix and a filter.

    Attributes:
        indptr: (U+1,).
        positives: (nnz,) sorted for each user.
        bits: (2 nnz,) bytes, each user's a one-hash Bloom filter (Bloom 1970) of the items: most tests end there.
    """

    indptr: npt.NDArray[Any]
    positives: npt.NDArray[Any]
    bits: npt.NDArray[np.uint8]


@inlined
def _bit_of(first, last, item):
    """Returns the place of an item's bit, among those of the user whose positives are first..last - 1."""
    start, size = np.uint64(first), np.uint64(last - first)
    # Multiply and shift (Knuth 1973, 6.4), then scaled to the user's own share
    hashed = (np.uint64(item) * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)
    return start * np.uint64(BITS) + ((hashed * size * np.uint64(BITS)) >> np.uint64(32))


@kernel
def _filter_of(indptr, positives):
    bits = np.zeros(len(positives) * (BITS // 8), np.uint8)
    for user in range(len(indptr) - 1):
        first, last = indptr[user], indptr[user + 1]
        for row in range(first, last):
            bit = _bit_of(first, last, positives[row])
            bits[bit >> np.uint64(3)] |= np.uint8(1) << np.uint8(bit & np.uint64(7))
    return bits


def known_items(indptr: npt.NDArray[Any], positives: npt.NDArray[Any]) -> Known:
    """Returns the positives (nnz,), sorted for each user, with their filter."""
    return Known(indptr, positives, _filter_of(indptr, positives))


@inlined
def may_have(bits, first, last, item):
    """Returns whether an item may be a positive of the user of first..last - 1; false is certain."""
    bit = _bit_of(first, last, item)
    return (bits[bit >> np.uint64(3)] >> np.uint8(bit & np.uint64(7))) & np.uint8(1)


@kernel
def contains(sorted_items, first, last, item):
    """Returns whether `item` stands in sorted_items[first:last], by bisection."""
    low, high = first, last
    while low < high:
        middle = (low + high) >> 1
        if sorted_items[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low < last and sorted_items[low] == item


@inlined
def uniform_negative(state, num_items, positives, bits, first, last):
    """Returns (next state, a uniform draw among the items that are not in positives[first:last]); there must be one."""
    # One place that draws: with two, the compiler leaves out of line what it draws by, at half the speed
    while True:
        state, item = below(state, num_items)
        if not may_have(bits, first, last, item):
            return state, item
        if not contains(positives, first, last, item):
            return state, item


@kernel
def draw_negatives(users, rows, known, num_items, accept, alias, seed, epoch, out):
    """Fills out (B, N) with items that are no positive of users (B,).

    accept and alias (I,) are an alias table, or empty for uniform draws. Each row has the stream of (seed, epoch,
    rows[row]), its place in the epoch, so draws depend on neither batch nor thread. A user who has every item must not
    be asked for.
    """
    indptr, positives, bits = known
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
                if not (first < last and may_have(bits, first, last, item) and contains(positives, first, last, item)):
                    break
            out[row, column] = item


@kernel
def by_batch(order, by_user, batch_size):
    """Returns (rows (E,), places (E,)): each batch's rows one batch after the other, in user order inside each.

    order (E,) holds an epoch's rows in visiting order, by_user (E,) the same in user order; a row's place is where it
    stands in `order`, which is what its negatives are keyed by.
    """
    size = len(order)
    place_of = np.empty(size, np.int64)
    for place in range(size):
        place_of[order[place]] = place
    next_free = np.arange(0, size, batch_size)
    rows, places = np.empty(size, np.int64), np.empty(size, np.int64)
    for row in by_user:
        batch = place_of[row] // batch_size
        rows[next_free[batch]], places[next_free[batch]] = row, place_of[row]
        next_free[batch] += 1
    return rows, places


@kernel
def compact(indices, size):
    """Returns (seen (S,), slots): the distinct indices, all below `size`, ascending, and the place of each index."""
    place_of = np.zeros(size, np.int64)
    for index in indices.flat:
        place_of[index] = 1
    num_seen = 0
    seen = np.empty(size, np.int64)
    for index in range(size):
        if place_of[index]:
            seen[num_seen], place_of[index] = index, num_seen
            num_seen += 1
    slots = np.empty(indices.size, np.int64)
    for at, index in enumerate(indices.flat):
        slots[at] = place_of[index]
    return seen[:num_seen], slots.reshape(indices.shape)


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
