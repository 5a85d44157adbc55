"""part_codes: the part that each row falls to, by every way of splitting, and by what is carved for validation.

Shuffles come from `numpy.random.RandomState`, whose stream is frozen across numpy versions and is the one scikit-learn
uses. All work on whole columns at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from neucf.data.interactions import Interactions
from neucf.data.shares import Carving, Shares
from neucf.data.vocabulary import IntArray
from neucf.errors import DataError

Codes: TypeAlias = npt.NDArray[np.int8]
Order: TypeAlias = npt.NDArray[np.int64]
# A code a row, and sentences worth showing.
Coded: TypeAlias = tuple[Codes, tuple[str, ...]]
TRAIN, VALID, TEST, VALID_HISTORY, TEST_HISTORY = range(5)


def part_codes(data: Interactions, way: str, shares: Shares, seed: int) -> Coded:
    """Returns the code of each row (N,) by a way of splitting; raises DataError where it needs what there is not."""
    return _WAYS[way](data, shares, seed)


def carved_codes(train: Interactions, carving: Carving, seed: int) -> Coded:
    """Returns the code of each row of train (N,), TRAIN or VALID."""
    if carving.way == "random":
        codes = np.full(len(train), TRAIN, np.int8)
        # A stream of its own, since the split itself may have used the seed's first one.
        order = np.random.RandomState([seed, 2]).permutation(len(train))
        codes[order[: int(np.ceil(float(carving.share) * len(train)))]] = VALID
        return codes, ()
    counts = train.user_counts()
    if carving.way == "latest-item":
        order, most = _by_time(train, "valid", "latest-item"), np.ones_like(counts)
    else:
        order = np.arange(len(train)) if train.timestamps is None else _by_time(train, "valid", "last")
        most = np.ceil(float(carving.share) * counts).astype(np.int64)
    notes = _note(int((counts == 1).sum()), "with a single training interaction", "not in validation")
    return _tails(train, order, np.minimum(most, np.maximum(counts - 1, 0)), np.zeros_like(counts)), notes


def _random(data: Interactions, shares: Shares, seed: int) -> Coded:
    return _shuffled(len(data), shares, seed), ()


def _random_user(data: Interactions, shares: Shares, seed: int) -> Coded:
    return _cut_histories(data, shares, np.random.RandomState(seed).permutation(len(data)))


def _temporal(data: Interactions, shares: Shares, seed: int) -> Coded:
    del seed
    order = _by_time(data, "split", "temporal")
    num_valid, num_test = (int(size) for size in shares.sizes(len(data)))
    codes = np.full(len(data), TRAIN, np.int8)
    codes[order[len(data) - num_valid - num_test :]] = VALID
    codes[order[len(data) - num_test :]] = TEST
    return codes, ()


def _temporal_user(data: Interactions, shares: Shares, seed: int) -> Coded:
    del seed
    return _cut_histories(data, shares, _by_time(data, "split", "temporal-user"))


def _leave_last_out(data: Interactions, shares: Shares, seed: int) -> Coded:
    del shares
    counts = data.user_counts()
    one_each = (counts >= 3).astype(np.int64)
    num_short = int(((counts > 0) & (counts < 3)).sum())
    notes = _note(num_short, "with fewer than three interactions", "in train only")
    if data.timestamps is not None:
        order = _by_time(data, "split", "leave-last-out")
    else:
        order = np.random.RandomState(seed).permutation(len(data))
        notes += ("Without timestamps, the items left out were chosen at random.",)
    return _tails(data, order, one_each, one_each), notes


def _users(data: Interactions, shares: Shares, seed: int) -> Coded:
    counts = data.user_counts()
    eligible = np.flatnonzero(counts >= 2)
    user_codes = np.full(data.num_users, TRAIN, np.int8)
    user_codes[eligible] = _shuffled(len(eligible), shares, seed)
    codes: Codes = user_codes[data.users]
    # A stream of its own: which rows are history does not depend on which users were held out.
    order = np.random.RandomState([seed, 1]).permutation(len(data))
    asked = _rows_after(data, order) < ((counts + 4) // 5)[data.users]
    codes[(codes != TRAIN) & ~asked] += np.int8(VALID_HISTORY - VALID)
    return codes, _note(int((counts == 1).sum()), "with a single interaction", "in train")


def _none(data: Interactions, shares: Shares, seed: int) -> Coded:
    del shares, seed
    return np.full(len(data), TRAIN, np.int8), ()


_WAYS: dict[str, Callable[[Interactions, Shares, int], Coded]] = {
    "random": _random,
    "random-user": _random_user,
    "temporal": _temporal,
    "temporal-user": _temporal_user,
    "leave-last-out": _leave_last_out,
    "users": _users,
    "none": _none,
}


def _shuffled(num_rows: int, shares: Shares, seed: int) -> Codes:
    """Returns codes (num_rows,) as two calls of scikit-learn's train_test_split with this seed would choose."""
    num_held = int(shares.held(num_rows))
    held = np.random.RandomState(seed).permutation(num_rows)[:num_held]
    codes = np.full(num_rows, TRAIN, np.int8)
    codes[held] = VALID
    codes[held[np.random.RandomState(seed).permutation(num_held)[: int(shares.test_of(num_held))]]] = TEST
    return codes


def _cut_histories(data: Interactions, shares: Shares, order: Order) -> Coded:
    counts = data.user_counts()
    held = np.minimum(shares.held(counts), np.maximum(counts - 1, 0))
    num_test = shares.test_of(held)
    notes = _note(int((counts == 1).sum()), "with a single interaction", "in train only")
    return _tails(data, order, held - num_test, num_test), notes


def _tails(data: Interactions, order: Order, num_valid: IntArray, num_test: IntArray) -> Codes:
    """Returns codes (N,): in `order`, each user's last rows are test, those before validation; sizes (U,)."""
    after = _rows_after(data, order)
    codes = np.full(len(data), TRAIN, np.int8)
    codes[after < (num_valid + num_test)[data.users]] = VALID
    codes[after < num_test[data.users]] = TEST
    return codes


def _rows_after(data: Interactions, order: Order) -> npt.NDArray[np.int64]:
    """Returns for each row (N,) how many rows of the same user come after it in `order`."""
    grouped = order[np.argsort(data.users[order], kind="stable")]
    ends = np.cumsum(data.user_counts())
    after = np.empty(len(data), np.int64)
    after[grouped] = ends[data.users[grouped]] - 1 - np.arange(len(data))
    return after


def _by_time(data: Interactions, argument: str, what: str) -> Order:
    """Returns rows (N,) in order of time, equal times by file row."""
    if data.timestamps is None:
        instead = "random:0.1" if argument == "valid" else f"{what.replace('temporal', 'random')}:0.8/0.1/0.1"
        raise DataError(
            f"`{argument}` {what} needs timestamps; got data without any. "
            f"Name their column with --time-col (time_col=), or use {instead}."
        )
    return np.argsort(data.timestamps, kind="stable")


def _note(count: int, which: str, where: str) -> tuple[str, ...]:
    """Returns the sentence about these users, or nothing where there are none."""
    subject, verb = ("user", "is") if count == 1 else ("users", "are")
    return (f"{count:,} {subject} {which} {verb} {where}.",) if count else ()
