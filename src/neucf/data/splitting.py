"""The ways to make a Split: `split(data, "random:0.8/0.1/0.1", seed)`. All work on whole columns at once.

Every way writes one code a row (train, valid, test, or the history of a held-out user), so parts are disjoint, cover
all rows and keep the order of the file by construction. Shuffles come from `numpy.random.RandomState`, whose stream is
frozen across numpy versions and is the one scikit-learn uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from neucf.checks import checked_seed
from neucf.data.dataset import Dataset
from neucf.data.interactions import Interactions
from neucf.data.shares import Carving, Shares, parse_spec, parse_valid
from neucf.data.splits import Split
from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError, DataError

Codes: TypeAlias = npt.NDArray[np.int8]
Order: TypeAlias = npt.NDArray[np.int64]
# A code a row, and sentences worth showing.
Coded: TypeAlias = tuple[Codes, tuple[str, ...]]
TRAIN, VALID, TEST, VALID_HISTORY, TEST_HISTORY = range(5)
_NAMES = {TRAIN: "train", VALID: "validation", TEST: "test"}


def split(data: Dataset | Interactions, spec: str, seed: int = 1, *, valid: str | None = None) -> Split:
    """Divides interactions into train, validation and test.

    Args:
        data: A data set, or interactions.
        spec: One of
            `random:0.8/0.1/0.1` over rows (scikit-learn's permutations);
            `random-user:...` within each user, who keeps at least one row in train;
            `temporal:...` one cut in time over everything;
            `temporal-user:...` each history cut by time, at least one row in train;
            `leave-last-out` one item each for test and validation, the last by time, else by seeded choice; users with
            fewer than three rows are in train only;
            `users:...` whole users held out, a seeded 80 % of each one's rows given as history; users with one row are
            in train, since nothing of theirs could be both known and asked for;
            `fixed` the published split;
            `none` everything is train.
            Equal times are ordered by file row.
        seed: Drives every random choice, in 0..2**32 - 1.
        valid: `latest-item` (each user's last), `last:0.1` (the last tenth of each user's rows, by time, or as the
            file has them where no times are known) or `random:0.1` (over rows): carves validation from train where
            the split gives none. By default only `fixed` carves: latest-item where times are known, else random:0.1.

    Raises:
        ConfigError: If `spec`, `seed` or `valid` breaks a rule.
        DataError: If `data` is anything else, cannot be split this way, or a part would be empty.
    """
    way, shares = parse_spec(spec)
    carving = None if valid is None else parse_valid(valid)
    seed = checked_seed(seed, "split_seed", 2**32 - 1)
    if not isinstance(data, Dataset | Interactions):
        raise DataError(
            f"`data` must be a Dataset or Interactions; got {type(data).__name__}. Pass `read_dataset` of it, which "
            "takes frames, files and sparse matrices."
        )
    interactions = data.interactions if isinstance(data, Dataset) else data
    if isinstance(data, Dataset) and not len(interactions):
        raise DataError(
            f"{data.name} must have positives to train on; {data.report.rows:,} rows were read and none is left. "
            "Lower `min_rating` or `k_core`."
        )

    if isinstance(data, Interactions):
        _check_distinct(data)
    if way == "fixed":
        made = _published(data)
        if valid is None and made.valid is None:
            spec = "random:0.1" if made.train.timestamps is None else "latest-item"
            carving = parse_valid(spec)
            made = replace(made, notes=(*made.notes, f"Validation is carved from train by {spec}."))
    else:
        codes, notes = _WAYS[way](interactions, shares, seed)
        wanted = {"leave-last-out": (VALID, TEST), "none": ()}.get(way, _wanted(shares))
        made = _assemble(interactions, codes, wanted, f"`split` {spec}", notes)

    if carving is None:
        return made
    if made.valid is not None:
        raise ConfigError(
            f"`valid` carves only where the split has no validation part; got {valid!r} with {spec!r}. "
            "Leave `valid` out, or set the split's validation share to 0."
        )
    return _carve(made, carving, seed)


def _check_distinct(data: Interactions) -> None:
    """Raises DataError where a user has an item twice: it could come to stand in two parts."""
    matrix = data.csr()
    same = np.flatnonzero(np.diff(matrix.indices) == 0) + 1
    # The last item of a row may be the first of the next
    same = same[~np.isin(same, matrix.indptr)]
    if len(same):
        user = int(np.searchsorted(matrix.indptr, same[0], side="right")) - 1
        raise DataError(
            f"`data` must have each pair once; got user {user} with item {matrix.indices[same[0]]} more than once. "
            "Merge such rows, or pass a frame to `read_dataset`, which does."
        )


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


def _wanted(shares: Shares) -> tuple[int, ...]:
    return tuple(code for code, share in ((VALID, shares.valid), (TEST, shares.test)) if share)


def _assemble(data: Interactions, codes: Codes, wanted: tuple[int, ...], asked: str, notes: tuple[str, ...]) -> Split:
    sizes = np.bincount(codes, minlength=5)
    for code in (TRAIN, *wanted):
        if not sizes[code]:
            raise DataError(
                f"{asked} leaves no {_NAMES[code]} rows; got {len(data):,} interactions of "
                f"{len(np.unique(data.users)):,} users. Use more data or other shares."
            )

    def part(code: int) -> Interactions | None:
        return data.take(codes == code) if sizes[code] else None

    return Split(
        train=data.take(codes == TRAIN) if sizes[TRAIN] < len(data) else data,
        valid=part(VALID),
        test=part(TEST),
        valid_history=part(VALID_HISTORY),
        test_history=part(TEST_HISTORY),
        notes=notes,
    )


def _published(data: Dataset | Interactions) -> Split:
    if isinstance(data, Dataset) and data.fixed is not None:
        return data.fixed
    name = f"the data set {data.name!r}" if isinstance(data, Dataset) else "plain interactions"
    if isinstance(data, Dataset) and data.report.events:
        name += " with events joined to it"
    raise DataError(
        f"`split` fixed needs a data set with a published split, such as ncf-ml-1m or gowalla; got {name}. "
        "Use random:0.8/0.1/0.1, for example."
    )


def _carve(made: Split, carving: Carving, seed: int) -> Split:
    """Moves rows of train to validation."""
    train, notes = made.train, made.notes
    if carving.way == "random":
        codes = np.full(len(train), TRAIN, np.int8)
        # A stream of its own, since the split itself may have used the seed's first one.
        order = np.random.RandomState([seed, 2]).permutation(len(train))
        codes[order[: int(np.ceil(float(carving.share) * len(train)))]] = VALID
    else:
        counts = train.user_counts()
        if carving.way == "latest-item":
            order, most = _by_time(train, "valid", "latest-item"), np.ones_like(counts)
        else:
            order = np.arange(len(train)) if train.timestamps is None else _by_time(train, "valid", "last")
            most = np.ceil(float(carving.share) * counts).astype(np.int64)
        codes = _tails(train, order, np.minimum(most, np.maximum(counts - 1, 0)), np.zeros_like(counts))
        notes += _note(int((counts == 1).sum()), "with a single training interaction", "not in validation")
    carved = _assemble(train, codes, (VALID,), f"`valid` {carving}", ())
    return replace(made, train=carved.train, valid=carved.valid, notes=notes)
