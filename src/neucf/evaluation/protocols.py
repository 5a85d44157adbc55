"""The two protocols: full ranking of the catalogue, and ranking among sampled candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.data.splits import Candidates, Split
from neucf.errors import ConfigError, DataError
from neucf.evaluation.candidates import clean, drawn
from neucf.evaluation.metrics import TIES, Values, expected, measure
from neucf.evaluation.ranking import limited, not_finite, slices, top_k
from neucf.evaluation.report import Evaluation, Group
from neucf.kernels.compile import num_threads
from neucf.recommender import Recommender, to_numpy

# Pairs scored at once in the sampled protocol: with D = 64, gathered vectors of 32 MiB.
_TILE_PAIRS = 1 << 17


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
    known = _Known.of(model, split, on)
    # Pairs as single ascending numbers: a listed item is relevant where its pair is among them.
    relevant = np.unique(_pairs(known.part))
    users, items = np.divmod(relevant, known.num_items)
    asked, counts = np.unique(users, return_counts=True)
    ranked = top_k(
        model,
        asked,
        min(ks[-1], known.num_items),
        histories=None if known.history is None else known.history[asked],
        mask=_mask(split, on, asked) if known.history is None else known.history[asked],
        seed=seed,
        threads=threads,
    )
    listed = asked[:, None] * known.num_items + ranked.items
    hits = relevant[np.minimum(np.searchsorted(relevant, listed), len(relevant) - 1)] == listed
    hits &= ranked.items >= 0
    warm_counts = np.bincount(users[known.is_warm_item[items]], minlength=split.train.num_users)[asked]
    kept = warm_counts > 0
    warm_hits = (hits & known.is_warm_item[ranked.items])[kept]
    return known.evaluation(
        "full",
        "hash",
        ks,
        pairs=(users, items),
        everyone=(asked, measure(hits, counts, ks)),
        warm_items=(asked[kept], measure(warm_hits, warm_counts[kept], ks)),
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
    if num_negatives < 1:
        raise ConfigError(f"`num_negatives` must be at least 1; got {num_negatives}.")
    ks = _checked_ks(ks)
    known = _Known.of(model, split, on)
    if on == "test" and split.candidates is not None:
        blocks = iter([clean(split.candidates)])
    else:
        parts = [split.train, split.valid, split.test, split.valid_history, split.test_history]
        blocks = drawn(known.part, [part for part in parts if part is not None], num_negatives, seed)
    lists: list[Group] = []
    positives, num_dropped = [], 0
    for block in blocks:
        num_dropped += int((block.negatives < 0).sum())
        higher, equal = _compared(model, known.history, block, num_threads(threads))
        lists.append((block.users.astype(np.int64), expected(higher, equal, block.negatives.shape[1] + 1, ks, ties)))
        positives.append(block.positives)
    users, items = np.concatenate([users for users, _ in lists]), np.concatenate(positives)
    values = {name: np.concatenate([found[name] for _, found in lists]) for name in lists[0][1]}
    warm = known.is_warm_item[items]
    return known.evaluation(
        "sampled",
        ties,
        ks,
        pairs=(users, items),
        everyone=_by_user(users, values),
        warm_items=_by_user(users[warm], {name: column[warm] for name, column in values.items()}),
        num_dropped=num_dropped,
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """The part being judged, and what training knows of its users and of the items."""

    on: str
    part: Interactions
    history: csr_array | None  # (U, I), for users held out
    is_warm_user: npt.NDArray[np.bool_]  # (U,)
    is_warm_item: npt.NDArray[np.bool_]  # (I,)

    @classmethod
    def of(cls, model: Recommender, split: Split, on: str) -> _Known:
        if on not in ("valid", "test"):
            raise ConfigError(f"`on` must be valid or test; got {on!r}.")
        part = split.valid if on == "valid" else split.test
        if part is None or not len(part):
            raise DataError(f"`split` must hold a {on} part with positives; got none. Split with a share for it.")
        if model.item_ids != part.item_ids or model.user_ids != part.user_ids:
            raise DataError("`split` must share the model's vocabularies; got others. Use the split it was trained on.")
        history = split.valid_history if on == "valid" else split.test_history
        is_warm_user = np.bincount(split.train.users, minlength=part.num_users) > 0
        if history is not None:
            is_warm_user[history.users] = True
        is_warm_item = np.bincount(split.train.items, minlength=part.num_items) > 0
        return cls(on, part, None if history is None else history.csr(), is_warm_user, is_warm_item)

    @property
    def num_items(self) -> int:
        return self.part.num_items

    def evaluation(
        self,
        protocol: str,
        ties: str,
        ks: tuple[int, ...],
        *,
        pairs: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        everyone: Group,
        warm_items: Group,
        num_dropped: int = 0,
    ) -> Evaluation:
        users, values = everyone
        warm = self.is_warm_user[users]
        cold_items = pairs[1][~self.is_warm_item[pairs[1]]]
        return Evaluation(
            protocol=protocol,
            on=self.on,
            ties=ties,
            ks=ks,
            users=users,
            values=values,
            num_cold_users=int((~warm).sum()),
            num_relevant=len(pairs[0]),
            num_cold_relevant=len(cold_items),
            num_cold_items=len(np.unique(cold_items)),
            warm_users=(users[warm], {name: column[warm] for name, column in values.items()}),
            warm_items=warm_items,
            num_dropped=num_dropped,
        )


def _pairs(part: Interactions) -> npt.NDArray[np.int64]:
    return part.users.astype(np.int64) * part.num_items + part.items


def _mask(split: Split, on: str, asked: npt.NDArray[np.int64]) -> csr_array:
    """Returns (U, I) what is hidden from the users asked for: train, and on test valid too."""
    parts = [split.train] if on == "valid" or split.valid is None else [split.train, split.valid]
    num_users, num_items = split.train.num_users, split.train.num_items
    pairs = np.concatenate([_pairs(part) for part in parts])
    if len(asked) < num_users:
        is_asked = np.zeros(num_users, np.bool_)
        is_asked[asked] = True
        pairs = pairs[np.concatenate([is_asked[part.users] for part in parts])]
    pairs.sort()
    mask = csr_array((num_users, num_items), dtype=np.bool_)
    # Assigned one by one: the constructor would shrink the offsets to int32.
    mask.indptr = np.searchsorted(pairs, np.arange(num_users + 1) * num_items)
    mask.indices, mask.data = (pairs % num_items).astype(np.int32), np.ones(len(pairs), np.bool_)
    mask.has_sorted_indices = True
    return mask


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


def _checked_ks(ks: Sequence[int]) -> tuple[int, ...]:
    if not ks or min(ks) < 1:
        raise ConfigError(f"`ks` must hold list lengths of at least 1; got {list(ks)}.")
    return tuple(sorted(set(ks)))


__all__ = ["Evaluation", "full_ranking", "sampled_candidates"]
