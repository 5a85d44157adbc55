"""recommend, and the Service behind it: external ids in, ranked items with titles out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array, issparse

from neucf.artifacts import Run
from neucf.data.interactions import Id, IntArray, concatenate
from neucf.errors import ConfigError, DataError
from neucf.evaluation.ranking import TopK, top_k
from neucf.models import MODELS, Model
from neucf.serving.answers import HistoryItem, Recommendations, RecommendedItem, Similar

Mask: TypeAlias = Literal["default", "positives", "none"]
MASKS: tuple[Mask, ...] = ("default", "positives", "none")


def recommend(
    model: Model | Run, people: Any, k: int = 10, *, mask: Mask = "default", threads: int | None = None
) -> list[Recommendations]:
    """Recommends to known users, or to new people by their histories.

    Args:
        model: A fitted model, which hides what it was trained on, or an opened run, which knows more (see Service).
        people: External user ids; or histories: sequences of external item ids, or a csr matrix (B, I) in the
            catalogue's order.
        k: How many items each.
        mask: What is never suggested: see Service.
        threads: Thread count; None for every core.

    Returns:
        One answer a person, in the order asked.

    Raises:
        UnknownIdError: At an unknown user or item; names the nearest.
        ConfigError: If `k` or `mask` is out of range.
    """
    service = Service(model)
    if issparse(people):
        return service.recommend_histories(csr_array(people), k, mask=mask, threads=threads)
    if isinstance(people, (int, str)):
        raise DataError(f"`people` must be a list of user ids or of histories; got {people!r}. Write [{people!r}].")
    people = list(people)
    if people and not isinstance(people[0], (int, str, np.integer)):
        return service.recommend_histories(service.histories(people), k, mask=mask, threads=threads)
    return service.recommend(people, k, mask=mask, threads=threads)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Lists of B users: items (B, K), -1 where none remain; scores (B, K); whether popularity ranked them (B,)."""

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    fallback: npt.NDArray[np.bool_]


class Service:
    """Recommends from one model, or from a run, which also knows titles and the rows that are no training data.

    A user whom training never saw is ranked by the positives known otherwise (validation, or the history given of a
    user held out), and by popularity where there are none. The test part is the future: it is neither used nor hidden.

    What is hidden, by `mask`: `default`: the known positives and the rows below the rating threshold; `positives`:
    the known positives; `none`: nothing.

    Args:
        source: A fitted model or an opened run.
    """

    def __init__(self, source: Model | Run) -> None:
        self.model = source.model if isinstance(source, Run) else source
        self.items = source.items if isinstance(source, Run) else None
        self._positives, self._below = [self.model.train], None
        if isinstance(source, Run):
            split = source.split
            known = (split.train, split.valid, split.valid_history, split.test_history)
            self._positives, self._below = [part for part in known if part is not None], source.below_threshold

    def recommend(
        self, user_ids: Sequence[Id], k: int = 10, *, mask: Mask = "default", threads: int | None = None
    ) -> list[Recommendations]:
        """Returns the suggestions of known users, in the order asked; raises UnknownIdError."""
        users = self.model.user_ids.indices([_plain(user) for user in user_ids])
        ranked = self.rank(users, k, mask=mask, threads=threads)
        return [
            Recommendations(
                user_id=self.model.user_ids[user],
                items=self._described(ranked.items[row], ranked.scores[row]),
                fallback="popularity" if ranked.fallback[row] else None,
            )
            for row, user in enumerate(users)
        ]

    def histories(self, histories: Iterable[Iterable[Id]]) -> csr_array:
        """Returns histories of external item ids as a matrix (B, I) of ones; raises UnknownIdError."""
        rows = [np.unique(self.model.item_ids.indices([_plain(item) for item in history])) for history in histories]
        lengths = np.array([len(row) for row in rows], np.int64)
        people = np.repeat(np.arange(len(rows)), lengths)
        items = np.concatenate([np.empty(0, np.int32), *rows])
        return _matrix(people, items, (len(rows), len(self.model.item_ids)))

    def recommend_histories(
        self, histories: csr_array, k: int = 10, *, mask: Mask = "default", threads: int | None = None
    ) -> list[Recommendations]:
        """Returns the suggestions of B new people by their histories (B, I), which are hidden unless `none` is."""
        _check_mask(mask)
        self.check_k(k)
        num_people = histories.shape[0]
        hidden = None if mask == "none" else histories
        empty = np.diff(histories.indptr) == 0
        ranked = _blank(num_people, k)
        for rows, model in ((np.flatnonzero(~empty), self.model), (np.flatnonzero(empty), self._popularity)):
            if len(rows):
                shown = None if hidden is None else hidden[rows]
                found = top_k(model, None, k, histories=histories[rows], mask=shown, threads=threads)
                _fill(ranked, rows, found)
        return [
            Recommendations(
                user_id=None,
                items=self._described(ranked.items[row], ranked.scores[row]),
                fallback="popularity" if empty[row] else None,
            )
            for row in range(num_people)
        ]

    def rank(self, users: IntArray, k: int, *, mask: Mask = "default", threads: int | None = None) -> Ranked:
        """Returns the best K items of users (B,), by index."""
        self.check_k(k)
        hidden = self._hidden(mask)
        trained, known = self._trained[users], self._known[users]
        ranked = _blank(len(users), k)
        by_model, by_history, by_popularity = (
            np.flatnonzero(group) for group in (trained, ~trained & known, ~trained & ~known)
        )
        if len(by_model):
            _fill(ranked, by_model, top_k(self.model, users[by_model], k, mask=hidden, threads=threads))
        if len(by_history):
            asked = users[by_history]
            shown = None if hidden is None else hidden[asked]
            found = top_k(self.model, asked, k, histories=self._history[asked], mask=shown, threads=threads)
            _fill(ranked, by_history, found)
        if len(by_popularity):
            found = top_k(self._popularity, users[by_popularity], k, mask=hidden, threads=threads)
            _fill(ranked, by_popularity, found)
            ranked.fallback[by_popularity] = True
        return ranked

    def check_k(self, k: int) -> None:
        """Raises ConfigError unless K is in 1..I."""
        num_items = len(self.model.item_ids)
        if not 1 <= k <= num_items:
            raise ConfigError(f"`k` must be in 1..{num_items} (the catalogue); got {k}.")

    def history(self, user_id: Id, limit: int | None = None) -> list[HistoryItem]:
        """Returns what a user is known to have rated, best first, then latest first; never the test part."""
        user = self.model.user_ids.index(_plain(user_id))
        rows = [
            pl.DataFrame(
                {
                    "item": part.items[mine],
                    "rating": _or_null(part.ratings, mine),
                    "time": _or_null(part.timestamps, mine),
                },
                schema={"item": pl.Int32, "rating": pl.Float64, "time": pl.Int64},
            )
            for part in [*self._positives, *([] if self._below is None else [self._below])]
            for mine in [np.flatnonzero(part.users == user)]
        ]
        best = pl.concat(rows).sort("rating", "time", descending=True, nulls_last=True, maintain_order=True)
        best = best if limit is None else best.head(limit)
        details = self._details(best["item"].to_numpy())
        return [HistoryItem(rating=rating, **detail) for rating, detail in zip(best["rating"], details, strict=True)]

    def similar(self, item_id: Id, k: int = 10) -> Similar:
        """Returns the K items most similar to one, itself left out; raises UnknownIdError and ConfigError."""
        item = self.model.item_ids.index(_plain(item_id))
        factors = getattr(self.model, "factors", None)
        if factors is None:
            raise ConfigError(f"`similar` needs a model with a vector for each item; {self.model.name} has none.")
        vectors: npt.NDArray[np.float32] = factors()[1]
        if not 1 <= k < len(vectors):
            raise ConfigError(f"`k` must be in 1..{len(vectors) - 1} (the catalogue without the item); got {k}.")
        lengths = np.linalg.norm(vectors, axis=1)
        # (I,); an item without a direction is similar to nothing.
        products = vectors @ vectors[item]
        cosines = np.divide(products, lengths * lengths[item], out=np.zeros_like(products), where=products != 0)
        order = np.argsort(-cosines, kind="stable")
        nearest = order[order != item][:k].astype(np.int32)
        return Similar(self.model.item_ids[item], self._described(nearest, cosines[nearest]))

    @cached_property
    def _trained(self) -> npt.NDArray[np.bool_]:
        return np.bincount(self.model.train.users, minlength=len(self.model.user_ids)) > 0

    @cached_property
    def _known(self) -> npt.NDArray[np.bool_]:
        known = np.zeros(len(self.model.user_ids), np.bool_)
        for part in self._positives:
            known[part.users] = True
        return known

    @cached_property
    def _history(self) -> csr_array:
        return reduce(concatenate, self._positives).csr()

    @cached_property
    def _popularity(self) -> Model:
        return MODELS["popularity"]().fit(self.model.train)

    @cached_property
    def _hidden_by_mask(self) -> dict[Mask, csr_array]:
        return {}

    def _hidden(self, mask: Mask) -> csr_array | None:
        """Returns the items hidden from each user (U, I), built once a mask."""
        _check_mask(mask)
        if mask == "none":
            return None
        if mask not in self._hidden_by_mask:
            parts = [*self._positives, *([self._below] if mask == "default" and self._below is not None else [])]
            users, items = (np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items"))
            shape = (len(self.model.user_ids), len(self.model.item_ids))
            self._hidden_by_mask[mask] = _matrix(users, items, shape)
        return self._hidden_by_mask[mask]

    def _described(self, items: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]) -> tuple[RecommendedItem, ...]:
        remaining = items >= 0
        pairs = zip(scores[remaining].tolist(), self._details(items[remaining]), strict=True)
        return tuple(RecommendedItem(score=score, **detail) for score, detail in pairs)

    def _details(self, items: IntArray) -> list[dict[str, Any]]:
        """Returns item_id and, where known, title, year and genres."""
        if self.items is None:
            return [{"item_id": self.model.item_ids[item]} for item in items]
        rows = self.items[items].iter_rows(named=True)
        return [{**row, "genres": tuple(row["genres"] or ())} for row in rows]


def _plain(external: Any) -> Any:
    return external.item() if isinstance(external, np.generic) else external


def _check_mask(mask: str) -> None:
    if mask not in MASKS:
        raise ConfigError(f"`mask` must be one of {', '.join(MASKS)}; got {mask!r}.")


def _matrix(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> csr_array:
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def _or_null(column: npt.NDArray[Any] | None, rows: IntArray) -> pl.Series | npt.NDArray[Any]:
    return pl.repeat(None, len(rows), eager=True) if column is None else column[rows]


def _blank(num_people: int, k: int) -> Ranked:
    return Ranked(
        items=np.full((num_people, k), -1, np.int32),
        scores=np.full((num_people, k), -np.inf, np.float32),
        fallback=np.zeros(num_people, np.bool_),
    )


def _fill(ranked: Ranked, rows: IntArray, found: TopK) -> None:
    ranked.items[rows], ranked.scores[rows] = found.items, found.scores
