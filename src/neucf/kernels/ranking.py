"""Partial selection: the best K of a score row, kept in a short sorted list while chunks of the catalogue stream by.

An item ranks before another by higher score; between equal scores, by lower hash of (seed, user id, item id). The
hash is computed only where scores tie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.kernels.bits import BLOCK, count, lowest, raise_to, reached
from neucf.kernels.compile import COMPILED, kernel
from neucf.kernels.hashing import Hashes, mix

_ZERO, _ONE = np.float32(0), np.float32(1)
_HIDDEN = np.float32(-np.inf)
_TRIES = 16

_mix = kernel(mix)


def _push(
    scores: npt.NDArray[np.float32],
    num_columns: int,
    first: int,
    cursors: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    hidden: npt.NDArray[np.int32],
    allowed: npt.NDArray[np.bool_],
    people: Hashes,
    items: Hashes,
    best_scores: npt.NDArray[np.float32],
    best_items: npt.NDArray[np.int32],
) -> int:
    """Offers the scores of items first..first + C - 1 to the lists of B people; chunks come in ascending order.

    Args:
        scores: (B, C or wider), overwritten.
        num_columns: C.
        first: The item of column 0.
        cursors: (B,) where in `hidden` each row stands; moved on.
        stops: (B,) where in `hidden` each row ends.
        hidden: Items to hide, ascending within a row.
        allowed: (I,) or empty for all.
        people: (B,) hashes.
        items: (I,) hashes.
        best_scores: (B, K), worst first; start as -inf.
        best_items: (B, K), likewise; start as -1.

    Returns:
        The first row that holds a score which is not finite, or -1.
    """
    lanes = np.empty(BLOCK * (1 + 2 * best_scores.shape[1] // BLOCK), np.float32)
    for row in range(scores.shape[0]):
        line, best, members, person = scores[row], best_scores[row], best_items[row], people[row]
        # Nothing finite times zero is anything but zero; without a branch, the sum vectorises.
        wrong = _ZERO
        for column in range(num_columns):
            wrong += line[column] * _ZERO
        if wrong != _ZERO:
            return row
        cursor = cursors[row]
        while cursor < stops[row] and hidden[cursor] < first + num_columns:
            line[hidden[cursor] - first] = _HIDDEN
            cursor += 1
        cursors[row] = cursor
        if allowed.size:
            permitted = allowed[first : first + num_columns]
            for column in range(num_columns):
                if not permitted[column]:
                    line[column] = _HIDDEN
        filling = best[0] == _HIDDEN and num_columns >= 2 * len(lanes)
        bar = _floor(line, num_columns, len(best), lanes) if filling else best[0]
        for start in range(0, num_columns, BLOCK):
            # Most blocks hold nothing good enough and end here.
            good = _reached_of(line, start, num_columns, bar)
            while good:
                column = start + lowest(good)
                good &= good - np.uint64(1)
                score, item = line[column], first + column
                if score < bar or score == _HIDDEN or not _before(score, item, best[0], members[0], person, items):
                    continue
                _insert(best, members, score, item, person, items)
                bar = best[0] if best[0] > bar else bar
    return -1


@kernel
def _reached_of(line: npt.NDArray[np.float32], start: int, stop: int, bar: Any) -> Any:
    """Returns what `reached` does, of the fewer elements line[start:stop] at the end."""
    if start + BLOCK <= stop:
        return reached(line, start, bar)
    word = np.uint64(0)
    for column in range(start, stop):
        if line[column] >= bar:
            word |= np.uint64(1) << np.uint64(column - start)
    return word


@kernel
def _floor(line: npt.NDArray[np.float32], num_columns: int, k: int, lanes: npt.NDArray[np.float32]) -> Any:
    """Returns a score that at least k of line[:num_columns] reach, and few more; -inf where none is found.

    A list that is still empty would take in most of what it soon drops again. Of the greatest of each of L lanes,
    L > 2k, which `lanes` (L,) is overwritten with, the k-th is such a score; the best of some tries will do.
    """
    lanes[:] = line[: len(lanes)]
    for start in range(len(lanes), num_columns - len(lanes) + 1, len(lanes)):
        for at in range(0, len(lanes), BLOCK):
            raise_to(lanes, at, line, start + at)
    floor = _HIDDEN
    for t in range(0, len(lanes), len(lanes) // _TRIES):
        floor = lanes[t] if lanes[t] > floor and _count_lanes(lanes, lanes[t]) >= k else floor
    return floor


@kernel
def _count_lanes(lanes: npt.NDArray[np.float32], bar: Any) -> Any:
    """Returns how many of `lanes`, whole blocks of BLOCK, are at least `bar`."""
    found = 0
    for start in range(0, len(lanes), BLOCK):
        found += count(reached(lanes, start, bar))
    return found


@kernel
def _count_from(line: npt.NDArray[np.float32], start: int, stop: int, bar: Any) -> Any:
    """Returns how many of line[start:stop] are at least `bar`, exact up to 2^24."""
    count = _ZERO
    # Unsigned, since the check for an index below zero would keep the loop from being vectorised; counted in float32,
    # since an int64 would halve the vectors.
    for column in range(np.uint64(start), np.uint64(stop)):
        count += _ONE if line[column] >= bar else _ZERO
    return count


@kernel
def _before(score: float, item: int, other_score: float, other: int, person: int, items: Hashes) -> bool:
    if score == other_score:
        return bool(_mix(person ^ items[item]) < _mix(person ^ items[other]))
    return score > other_score


@kernel
def _insert(
    best: npt.NDArray[np.float32],
    members: npt.NDArray[np.int32],
    score: float,
    item: int,
    person: int,
    items: Hashes,
) -> None:
    """Puts (score, item), known to rank before the worst, in its place and drops the worst.

    Counting and shifting move a vector at a time, which for the K of real lists beats the mispredicted branches of a
    search or a heap.
    """
    low = best.shape[0] - int(_count_from(best, 0, best.shape[0], score))
    high = low
    while high < best.shape[0] and best[high] == score:
        high += 1
    while low < high:
        middle = (low + high) // 2
        if _before(score, item, best[middle], members[middle], person, items):
            low = middle + 1
        else:
            high = middle
    for place in range(low - 1):
        best[place] = best[place + 1]
    for place in range(low - 1):
        members[place] = members[place + 1]
    best[low - 1], members[low - 1] = score, item


def push_numpy(
    scores: npt.NDArray[np.float32],
    num_columns: int,
    first: int,
    cursors: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    hidden: npt.NDArray[np.int32],
    allowed: npt.NDArray[np.bool_],
    people: Hashes,
    items: Hashes,
    best_scores: npt.NDArray[np.float32],
    best_items: npt.NDArray[np.int32],
) -> int:
    """The same as the compiled `push`, by numpy."""
    scores = scores[:, :num_columns]
    wrong = ~np.isfinite(scores).all(1)
    if wrong.any():
        return int(wrong.argmax())
    for row in range(len(scores)):
        ahead = hidden[cursors[row] : stops[row]] - first
        here = ahead[ahead < num_columns]
        scores[row, here] = _HIDDEN
        cursors[row] += len(here)
    if allowed.size:
        scores[:, ~allowed[first : first + num_columns]] = _HIDDEN
    num_best = best_scores.shape[1]
    every_score = np.concatenate([best_scores, scores], 1)
    chunk = np.broadcast_to(np.arange(first, first + num_columns), scores.shape)
    every_item = np.concatenate([best_items, chunk], 1)
    cut = -np.partition(-every_score, num_best - 1, 1)[:, num_best - 1 : num_best]
    rows, columns = np.nonzero((every_score >= cut) & (every_score > _HIDDEN))
    kept_scores, kept_items = every_score[rows, columns], every_item[rows, columns]
    order = np.lexsort((mix(people[rows] ^ items[kept_items]), -kept_scores, rows))
    rows, kept_scores, kept_items = rows[order], kept_scores[order], kept_items[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    listed = places < num_best
    best_scores[:], best_items[:] = _HIDDEN, -1
    worst_first = num_best - 1 - places[listed]
    best_scores[rows[listed], worst_first] = kept_scores[listed]
    best_items[rows[listed], worst_first] = kept_items[listed]
    return -1


push = kernel(_push) if COMPILED else push_numpy
