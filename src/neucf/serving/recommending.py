"""recommend, and the Service behind it: external ids in, ranked items with titles out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

from neucf.artifacts import Run
from neucf.data.interactions import Id, IntArray
from neucf.errors import ConfigError, DataError
from neucf.evaluation.ranking import TopK, top_k
from neucf.models import MODELS, Model
from neucf.serving.answers import HistoryItem, Recommendations, RecommendedItem, Similar
from neucf.serving.known import Known, Mask, check_mask, matrix


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
        self.model, self.items = (source.model, source.items) if isinstance(source, Run) else (source, None)
        self._known = Known(source)

    def recommend(
        self, user_ids: Sequence[Id], k: int = 10, *, mask: Mask = "default", threads: int | None = None
    ) -> list[Recommendations]:
        """Returns the suggestions of known users, in the order asked; raises UnknownIdError."""
        users = self.model.user_ids.indices([_plain(user) for user in user_ids])
        ranked = self.rank(users, k, mask=mask, threads=threads)
        return self._answers([self.model.user_ids[user] for user in users], ranked)

    def histories(self, histories: Iterable[Iterable[Id]]) -> csr_array:
        """Returns histories of external item ids as a matrix (B, I) of ones; raises UnknownIdError."""
        rows = [self.model.item_ids.indices([_plain(item) for item in history]) for history in histories]
        people = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        items = np.concatenate([np.empty(0, np.int32), *rows])
        return matrix(people, items, (len(rows), len(self.model.item_ids)))

    def recommend_histories(
        self, histories: csr_array, k: int = 10, *, mask: Mask = "default", threads: int | None = None
    ) -> list[Recommendations]:
        """Returns the suggestions of B new people by their histories (B, I), which are hidden unless `mask` is none."""
        check_mask(mask)
        self.check_k(k)
        empty = np.diff(histories.indptr) == 0
        ranked = _blank(len(empty), k)
        for rows, model in ((np.flatnonzero(~empty), self.model), (np.flatnonzero(empty), self._popularity)):
            if len(rows):
                known = histories[rows]
                hidden = None if mask == "none" else known
                _fill(ranked, rows, top_k(model, None, k, histories=known, mask=hidden, threads=threads))
        ranked.fallback[empty] = True
        return self._answers([None] * len(empty), ranked)

    def rank(self, users: IntArray, k: int, *, mask: Mask = "default", threads: int | None = None) -> Ranked:
        """Returns the best K items of users (B,), all by index."""
        self.check_k(k)
        hidden, known = self._known.hidden(mask), self._known.any[users]
        trained = self._known.trained[users]
        ranked = _blank(len(users), k)
        by_model, by_history, by_popularity = (
            np.flatnonzero(group) for group in (trained, ~trained & known, ~trained & ~known)
        )
        if len(by_model):
            _fill(ranked, by_model, top_k(self.model, users[by_model], k, mask=hidden, threads=threads))
        if len(by_history):
            asked = users[by_history]
            rows = None if hidden is None else hidden[asked]
            histories = self._known.histories[asked]
            _fill(ranked, by_history, top_k(self.model, asked, k, histories=histories, mask=rows, threads=threads))
        if len(by_popularity):
            _fill(ranked, by_popularity, top_k(self._popularity, users[by_popularity], k, mask=hidden, threads=threads))
            ranked.fallback[by_popularity] = True
        return ranked

    def check_k(self, k: int) -> None:
        """Raises ConfigError unless K is in 1..I."""
        num_items = len(self.model.item_ids)
        if not 1 <= k <= num_items:
            raise ConfigError(f"`k` must be in 1..{num_items} (the catalogue); got {k}.")

    def history(self, user_id: Id, limit: int | None = None) -> list[HistoryItem]:
        """Returns what a user is known to have rated, best first, then latest first; never the test part."""
        rows = self._known.rows(self.model.user_ids.index(_plain(user_id)))
        rows = rows if limit is None else rows.head(limit)
        pairs = zip(rows["rating"], self._details(rows["item"].to_numpy()), strict=True)
        return [HistoryItem(rating=rating, **detail) for rating, detail in pairs]

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
    def _popularity(self) -> Model:
        return MODELS["popularity"]().fit(self.model.train)

    def _answers(self, user_ids: Sequence[Id | None], ranked: Ranked) -> list[Recommendations]:
        rows = zip(user_ids, ranked.items, ranked.scores, ranked.fallback, strict=True)
        return [
            Recommendations(user_id, self._described(items, scores), "popularity" if fallback else None)
            for user_id, items, scores, fallback in rows
        ]

    def _described(self, items: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]) -> tuple[RecommendedItem, ...]:
        remaining = items >= 0
        pairs = zip(scores[remaining].tolist(), self._details(items[remaining]), strict=True)
        return tuple(RecommendedItem(score=score, **detail) for score, detail in pairs)

    def _details(self, items: IntArray) -> list[dict[str, Any]]:
        """Returns item_id and, where known, title, year and genres of items (B,)."""
        if self.items is None:
            return [{"item_id": self.model.item_ids[item]} for item in items]
        rows = self.items[items].iter_rows(named=True)
        return [{**row, "genres": tuple(row["genres"] or ())} for row in rows]


def _plain(external: Any) -> Any:
    return external.item() if isinstance(external, np.generic) else external


def _blank(num_people: int, k: int) -> Ranked:
    return Ranked(
        items=np.full((num_people, k), -1, np.int32),
        scores=np.full((num_people, k), -np.inf, np.float32),
        fallback=np.zeros(num_people, np.bool_),
    )


def _fill(ranked: Ranked, rows: IntArray, found: TopK) -> None:
    ranked.items[rows], ranked.scores[rows] = found.items, found.scores
