"""top_k: the best K items of each person, in tiles of bounded memory. The only place that ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.checks import checked_integer
from neucf.data.vocabulary import IntArray
from neucf.errors import DataError, TrainingError
from neucf.evaluation.people import checked_users, hidden_spans, people_hashes
from neucf.kernels.compile import COMPILED, num_threads, slices, spread, torch_threads
from neucf.kernels.grid import Factors, Shelf, rank_rows
from neucf.kernels.hashing import Hashes, hash_people
from neucf.kernels.ranking import push
from neucf.recommender import Recommender, to_numpy

# A thread's rows of scores, 256 x 1,024 float32, are 1 MiB: they stay in a core's second-level cache.
_TILE_ROWS, _TILE_ITEMS = 256, 1024
# People with factors a thread ranks at a time, at most, and at least: fewer are done before it has woken up.
_BLOCK_ROWS, _LEAST_ROWS = 512, 16
# What a person's factors take, as copies and padded, in models of usual size.
_PERSON_BYTES = 8192


@dataclass(frozen=True, slots=True)
class TopK:
    """Ranked lists, best first.

    Attributes:
        items: (B, K) int32 item indices; -1 where fewer than K items remain.
        scores: (B, K) float32; -inf where fewer than K items remain.
    """

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


def top_k(
    recommender: Recommender,
    users: IntArray | None,
    k: int,
    *,
    histories: csr_array | None = None,
    mask: csr_array | None = None,
    allowed: npt.NDArray[np.bool_] | None = None,
    seed: int = 0,
    threads: int | None = None,
    memory: int = 256 << 20,
    shelf: Shelf | None = None,
) -> TopK:
    """Ranks the catalogue for each person and keeps the best K.

    Equal scores are ordered by a hash of (seed, external user id, external item id), so that a constant scorer gets
    what a random ranking gets, and the order of the indices decides nothing. A model with a method
    `factors() -> (user_factors (U, D), item_factors (I, D), item_bias (I,) | None)`, float32 numpy arrays whose
    inner products are its scores, is ranked without ever holding a row of scores; so is one with a method
    `tower_factors(users) -> kernels.grid.Factors` of users (B,), while its `device` is "cpu". One with a method
    `sparse_factors(users | None, histories | None) -> (left (B, M), right (M, I))`, sparse matrices whose product is
    its scores, is ranked by threads that each multiply a few rows.

    Args:
        recommender: A fitted model.
        users: (B,) user indices; with `histories`, None or the indices that name the people.
        k: K, in 1..I.
        histories: (B, I) histories to score by instead of what the model knows of the users.
        mask: Items to hide: (U, I), a row a user index; with `histories`, (B, I).
        allowed: (I,) the items that may be listed; None for all.
        seed: Orders ties.
        threads: Thread count; None for every core.
        memory: Bytes that tiles of scores may take, independent of U and B; a single row of I scores always fits.
        shelf: Where the item factors stay laid out for the next call; None lays them out for this one, which takes
            as much memory as they do.

    Raises:
        ConfigError: If `k` lies outside 1..I.
        DataError: If an index or a shape does not fit the model's vocabularies.
        TrainingError: If a score is NaN or infinite; names the user.
    """
    num_items = len(recommender.item_ids)
    k = checked_integer("k", k, 1, num_items, what="the catalogue")
    if users is not None:
        users = checked_users(users, len(recommender.user_ids))
    items = recommender.item_ids.hashes
    people = hash_people(seed, people_hashes(recommender, users, histories, items))
    starts, stops, hidden = hidden_spans(recommender, users, histories, mask, len(people))
    if allowed is not None and allowed.shape != (num_items,):
        raise DataError(f"`allowed` must have shape ({num_items},), one flag an item; got {allowed.shape}.")
    lists = _Lists(
        people=people,
        items=items,
        cursors=starts,
        stops=stops,
        hidden=hidden,
        allowed=np.zeros(0, np.bool_) if allowed is None else np.array(allowed, np.bool_),
        best_scores=np.full((len(people), k), -np.inf, np.float32),
        best_items=np.full((len(people), k), -1, np.int32),
    )
    try:
        if users is not None and histories is None and _has_factors(recommender):
            _rank_by_factors(lists, recommender, users, num_threads(threads), memory, shelf or Shelf())
        elif hasattr(recommender, "sparse_factors"):
            left, right = recommender.sparse_factors(users if histories is None else None, histories)
            _rank_by_sparse_factors(lists, left, right, num_threads(threads), memory)
        else:
            _rank_by_scores(lists, recommender, users, histories, num_threads(threads), memory)
    except _NotFiniteError as error:
        raise not_finite(recommender, users, error.row) from None
    return TopK(lists.best_items[:, ::-1].copy(), lists.best_scores[:, ::-1].copy())


class _NotFiniteError(Exception):
    def __init__(self, row: int) -> None:
        self.row = row


@dataclass(frozen=True, slots=True)
class _Lists:
    """The lists of B people while they fill; threads work on disjoint rows."""

    people: Hashes  # (B,)
    items: Hashes  # (I,)
    cursors: npt.NDArray[np.int64]  # (B,) how far each row of `hidden` is used up
    stops: npt.NDArray[np.int64]  # (B,)
    hidden: npt.NDArray[np.int32]
    allowed: npt.NDArray[np.bool_]  # (I,), or empty for all
    best_scores: npt.NDArray[np.float32]  # (B, K), worst first
    best_items: npt.NDArray[np.int32]  # (B, K), worst first

    def push(self, rows: slice, scores: npt.NDArray[np.float32], first: int) -> None:
        """Offers the scores (rows, C) of items from `first` on; overwrites them."""
        self._offer(push, rows, scores, scores.shape[1], first)

    def rank(self, rows: slice, *factors: Any) -> None:
        """Offers the scores of the whole catalogue, by the first eight arguments of `rank_rows`."""
        self._offer(rank_rows, rows, *factors)

    def _offer(self, kernel: Callable[..., int], rows: slice, *scores: Any) -> None:
        lists = (
            self.cursors[rows],
            self.stops[rows],
            self.hidden,
            self.allowed,
            self.people[rows],
            self.items,
            self.best_scores[rows],
            self.best_items[rows],
        )
        wrong = kernel(*scores, *lists)
        if wrong >= 0:
            raise _NotFiniteError(rows.start + wrong)


def _rank_by_scores(
    lists: _Lists,
    recommender: Recommender,
    users: IntArray | None,
    histories: csr_array | None,
    threads: int,
    memory: int,
) -> None:
    num_people, num_items = len(lists.people), len(lists.items)
    # A tile stands in memory up to four times: in the model, its temporaries, and the copies being ranked.
    tile_rows = max(1, memory // (16 * num_items))
    for tile in slices(0, num_people, tile_rows):
        with limited(threads):
            if histories is not None:
                scored = recommender.score_history(histories[tile])
            else:
                assert users is not None
                scored = recommender.score(users[tile])
        scores = to_numpy(scored)
        if scores.shape != (tile.stop - tile.start, num_items):
            raise DataError(f"scores must have shape {(tile.stop - tile.start, num_items)}; got {scores.shape}.")

        def rank(rows: slice, scores: npt.NDArray[np.float32] = scores, offset: int = tile.start) -> None:
            # A copy, since ranking overwrites and the model may have lent its own memory.
            lists.push(rows, np.array(scores[rows.start - offset : rows.stop - offset], order="C"), 0)

        spread(rank, slices(tile.start, tile.stop, max(1, _TILE_ROWS * _TILE_ITEMS // num_items)), threads)


def _has_factors(recommender: Recommender) -> bool:
    # A net on a GPU scores faster there than any tower here.
    device = getattr(recommender, "device", "cpu")
    return COMPILED and (hasattr(recommender, "factors") or (device == "cpu" and hasattr(recommender, "tower_factors")))


def _rank_by_factors(
    lists: _Lists, recommender: Recommender, users: npt.NDArray[np.int64], threads: int, memory: int, shelf: Shelf
) -> None:
    for tile in slices(0, len(users), max(1, memory // _PERSON_BYTES)):
        with limited(threads):
            factors = _factors(recommender, users[tile])
        catalogue = shelf.catalogue(factors)

        def rank(rows: slice, factors: Factors = factors, catalogue: Any = catalogue, first: int = tile.start) -> None:
            lists.rank(rows, *factors.people(slice(rows.start - first, rows.stop - first)), *catalogue)

        step = min(_BLOCK_ROWS, max(_LEAST_ROWS, -(-(tile.stop - tile.start) // (2 * threads))))
        spread(rank, slices(tile.start, tile.stop, step), threads)


def _factors(recommender: Any, users: npt.NDArray[np.int64]) -> Factors:
    if hasattr(recommender, "tower_factors"):
        found: Factors = recommender.tower_factors(users)
        return found
    user_factors, item_factors, item_bias = recommender.factors()
    return Factors(user_factors[users], item_factors, item_bias)


def _rank_by_sparse_factors(lists: _Lists, left: csr_array, right: csr_array, threads: int, memory: int) -> None:
    num_people, num_items = len(lists.people), len(lists.items)
    # A row of scores stands in memory as a sparse one, of up to 12 bytes an item, and as a dense one.
    tile_rows = max(1, min(_TILE_ROWS, _TILE_ROWS * _TILE_ITEMS // num_items, memory // (16 * num_items * threads)))

    def rank(rows: slice) -> None:
        lists.push(rows, (left[rows] @ right).toarray(), 0)

    spread(rank, slices(0, num_people, tile_rows), threads)


def not_finite(recommender: Recommender, users: IntArray | None, row: int) -> TrainingError:
    """Returns the error for a score that is NaN or infinite, naming the person."""
    who = f"history {row}" if users is None else f"user {recommender.user_ids[int(users[row])]}"
    name = getattr(recommender, "name", type(recommender).__name__)
    return TrainingError(
        f"scores must be finite; {name} gave NaN or an infinity for {who}. "
        "Train it anew with a lower learning rate or more regularisation."
    )


def limited(threads: int) -> AbstractContextManager[Any]:
    """Holds torch to `threads` inside the block, where torch is loaded at all."""
    return torch_threads(threads) if "torch" in sys.modules else nullcontext()
