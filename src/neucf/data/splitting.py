"""The ways to make a Split: `split(data, "random:0.8/0.1/0.1", seed)`.

Every way writes one code a row (train, valid, test, or the history of a held-out user), so parts are disjoint, cover
all rows and keep the order of the file by construction.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neucf.checks import checked_seed
from neucf.data.dataset import Dataset
from neucf.data.interactions import Interactions
from neucf.data.part_codes import TEST, TEST_HISTORY, TRAIN, VALID, VALID_HISTORY, Codes, carved_codes, part_codes
from neucf.data.shares import Carving, Shares, parse_spec, parse_valid
from neucf.data.splits import Split
from neucf.errors import ConfigError, DataError

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
        codes, notes = part_codes(interactions, way, shares, seed)
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
    codes, notes = carved_codes(made.train, carving, seed)
    carved = _assemble(made.train, codes, (VALID,), f"`valid` {carving}", ())
    return replace(made, train=carved.train, valid=carved.valid, notes=(*made.notes, *notes))
