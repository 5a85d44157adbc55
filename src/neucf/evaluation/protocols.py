"""The two protocols: full ranking of the catalogue, and ranking among sampled candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.checks import as_integer, checked_integer
from neucf.data.splits import Candidates, Split
from neucf.errors import ConfigError
from neucf.evaluation.candidates import clean, drawn
from neucf.evaluation.judged import JudgedPart, pairs_of
from neucf.evaluation.metrics import TIES, Values, expected, measure
from neucf.evaluation.ranking import limited, not_finite
from neucf.evaluation.report import Evaluation, Group
from neucf.kernels.compile import num_threads, slices
from neucf.kernels.grouping import hits_of
from neucf.recommender import Recommender, to_numpy

# Pairs scored at once in the sampled protocol: with D = 64, gathered vectors of 32 MiB.
_TILE_PAIRS = 1 << 17
# Longer than any catalogue.
MAX_K = 2**31 - 1


def full_ranking(
    model: Recommender,
    split: Split,
    *,
    on: str = "test",
    ks: Sequence[int] = (10, 20),
    seed: int = 0,
    threads: int | None = None,
) -> Evaluation:
    """Ranks the whole catalogue for every user with a relevant item in the part.

    Hidden are the train positives, on `test` those of `valid` too; for users held out, their history. Nothing else.

    Args:
        model: A fitted model.
        split: Its split.
        on: `valid` or `test`.
        ks: List lengths.
        seed: Orders ties, with the external ids.
        threads: Thread count; None for every core.

    Returns:
        Recall, precision, nDCG, hit rate, MRR and MAP at each k.

    Raises:
        ConfigError: If `on` or `ks` is out of range.
        DataError: If the split has no such part, or the part no positive.
        TrainingError: If a score is not finite.
    """
    ks = _checked_ks(ks)
    judged = JudgedPart.of(model, split, on)
    relevant = np.sort(pairs_of(judged.part))
    users, items = np.divmod(relevant[np.diff(relevant, prepend=-1) > 0].astype(np.int64), judged.num_items)
    # (M+1,) where each user's relevant items start
    offsets = np.flatnonzero(np.diff(users, prepend=-1, append=split.train.num_users))
    asked, counts = users[offsets[:-1]], np.diff(offsets)
    lists = judged.lists(asked, ks[-1], seed, threads)
    hits = hits_of(lists, offsets, items, judged.num_items)

    def restricted(flags: npt.NDArray[np.bool_]) -> Group:
        counts = np.bincount(users[flags[items]], minlength=split.train.num_users)[asked]
        kept = counts > 0
        return asked[kept], measure((hits & flags[lists])[kept], counts[kept], ks)

    return judged.evaluation(
        "full",
        "hash",
        ks,
        pairs=(users, items),
        everyone=(asked, measure(hits, counts, ks)),
        restricted=restricted,
        listed=lambda: lists,
    )


def sampled_candidates(
    model: Recommender,
    split: Split,
    *,
    on: str = "test",
    ks: Sequence[int] = (10,),
    ties: str = "average",
    num_negatives: int = 99,
    seed: int = 0,
    threads: int | None = None,
) -> Evaluation:
    """Ranks each held-out item among sampled candidates; a user's lists are averaged, then the users.

    Lists given with the split are honoured on `test`, less the positive among its own negatives and repeats, which
    are counted. Otherwise candidates are drawn, seeded, among the items the user has no positive on in any part.
    Sampled metrics do not order models as full ranking does (Krichene and Rendle 2020).

    Args:
        model: A fitted model.
        split: Its split.
        on: `valid` or `test`.
        ks: List lengths.
        ties: What a positive with the score of t candidates gets: `average`, the mean of the metric over its t + 1
            possible ranks, which is what ordering ties at random gives on average; `pessimistic`, the last of them;
            `optimistic`, the first.
        num_negatives: N, candidates beside the positive where they are drawn.
        seed: Drives the draw.
        threads: Thread count; None for every core.

    Returns:
        Hit rate and nDCG at each k, and MRR over the whole list.

    Raises:
        ConfigError: If `on`, `ks`, `ties` or `num_negatives` is out of range.
        DataError: If the split has no such part, or the part no positive.
        TrainingError: If a score is not finite.
    """
    if ties not in TIES:
        raise ConfigError(f"`ties` must be {', '.join(TIES[:-1])} or {TIES[-1]}; got {ties!r}.")
    num_negatives = checked_integer("num_negatives", num_negatives, 1)
    ks = _checked_ks(ks)
    judged = JudgedPart.of(model, split, on)
    if on == "test" and split.candidates is not None:
        blocks = iter([clean(split.candidates)])
    else:
        parts = [split.train, split.valid, split.test, split.valid_history, split.test_history]
        blocks = drawn(judged.part, [part for part in parts if part is not None], num_negatives, seed)
    lists: list[Group] = []
    positives, num_dropped = [], 0
    for block in blocks:
        num_dropped += int((block.negatives < 0).sum())
        higher, equal = _compared(model, judged.history, block, num_threads(threads))
        lists.append((block.users.astype(np.int64), expected(higher, equal, block.negatives.shape[1] + 1, ks, ties)))
        positives.append(block.positives)
    users, items = np.concatenate([users for users, _ in lists]), np.concatenate(positives)
    values = {name: np.concatenate([found[name] for _, found in lists]) for name in lists[0][1]}
    everyone = _by_user(users, values)

    def restricted(flags: npt.NDArray[np.bool_]) -> Group:
        kept = flags[items]
        return _by_user(users[kept], {name: column[kept] for name, column in values.items()})

    return judged.evaluation(
        "sampled",
        ties,
        ks,
        pairs=(users, items),
        everyone=everyone,
        restricted=restricted,
        listed=lambda: judged.lists(everyone[0], ks[-1], seed, threads),
        num_dropped=num_dropped,
    )


def _compared(
    model: Recommender, history: csr_array | None, lists: Candidates, threads: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns how many candidates of each list (L,) score higher than its positive, and how many the same."""
    higher, equal = np.empty(len(lists.users), np.int64), np.empty(len(lists.users), np.int64)
    step = max(1, _TILE_PAIRS // (1 + lists.negatives.shape[1]))
    for rows in slices(0, len(lists.users), step):
        users, positives, negatives = lists.users[rows], lists.positives[rows, None], lists.negatives[rows]
        real = negatives >= 0
        items = np.concatenate([positives, np.where(real, negatives, positives)], 1)
        with limited(threads):
            if history is None:
                scores = to_numpy(model.score(users, items))
            else:
                scores = to_numpy(model.score_history(history[users], items))
        wrong = ~np.isfinite(scores).all(1)
        if wrong.any():
            raise not_finite(model, users, int(wrong.argmax()))
        higher[rows] = ((scores[:, 1:] > scores[:, :1]) & real).sum(1)
        equal[rows] = ((scores[:, 1:] == scores[:, :1]) & real).sum(1)
    return higher, equal


def _by_user(users: npt.NDArray[np.int64], values: Mapping[str, Values]) -> Group:
    """Averages lists (L,) of the same user: the distinct users (M,) and their values (M,)."""
    distinct, rows = np.unique(users, return_inverse=True)
    counts = np.bincount(rows, minlength=len(distinct))
    return distinct, {
        name: np.bincount(rows, weights=column, minlength=len(distinct)) / counts for name, column in values.items()
    }


def _checked_ks(ks: Iterable[int]) -> tuple[int, ...]:
    found = {as_integer(k) for k in ks} if isinstance(ks, Iterable) and getattr(ks, "shape", True) else set()
    lengths = {k for k in found if k is not None and 1 <= k <= MAX_K}
    if not lengths or lengths != found:
        raise ConfigError(f"`ks` must hold list lengths in 1..{MAX_K}; got {ks!r}. Write (10, 20), for example.")
    return tuple(sorted(lengths))


__all__ = ["Evaluation", "full_ranking", "sampled_candidates"]
