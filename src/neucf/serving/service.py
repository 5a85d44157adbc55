"""Service: external ids in, ranked items with titles and reasons out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.artifacts import Run
from neucf.checks import checked_integer
from neucf.data.dataset import Dataset, check_origin
from neucf.data.splits import Split
from neucf.data.titles import full_title
from neucf.data.vocabulary import Id, IntArray, Vocabulary
from neucf.errors import ConfigError
from neucf.models import Model
from neucf.models.base import check_histories
from neucf.serving.ann_file import open_index
from neucf.serving.answers import HistoryItem, NamedItem, Recommendations, RecommendedItem, Similar
from neucf.serving.filters import EVERYTHING, Filters
from neucf.serving.known import Known, Mask, matrix
from neucf.serving.new_items import place_new_items
from neucf.serving.ranking import Ranked, Ranker, Wanted
from neucf.serving.reasons import reasons
from neucf.serving.search import Catalogue

if TYPE_CHECKING:
    import polars as pl

# Items whose titles are kept at hand.
_REMEMBERED = 1 << 15


class Service:
    """Recommends from one model, or from a run, which also knows titles and the rows that are no training data.

    A user whom training never saw is ranked by the positives known otherwise (validation, or the history given of a
    user held out), and by popularity where there are none. The test part is the future: it is neither used nor hidden.

    What is hidden, by `mask`: `default`: the known positives and the rows below the rating threshold; `positives`:
    the known positives; `none`: nothing. What is hidden or doesn't pass `filters` is left out before anything is
    ranked, so that a list is short only where fewer items remain.

    Args:
        source: A fitted model or an opened run.
        split: Of a model: its split.
        dataset: Of a model: the data set that the split comes from, for titles and what is hidden.
        new_items: Whether items nobody has touched are placed by their genres, and marked so; else they stand where
            training left them, as in every evaluation.
        ann: Whether the run's index finds candidates, which the model then ranks; else lists are exact.

    Raises:
        ConfigError: If `new_items` or `ann` asks for what there is not, or both are asked for.
        ArtifactError: If `ann` finds no index, or a malformed one.
    """

    def __init__(
        self,
        source: Model | Run,
        *,
        split: Split | None = None,
        dataset: Dataset | None = None,
        new_items: bool = False,
        ann: bool = False,
    ) -> None:
        if ann and (new_items or not isinstance(source, Run)):
            raise ConfigError("`ann` needs a run with an index, and no `new_items`, which it does not hold. Use one.")
        if isinstance(source, Run) and (split is not None or dataset is not None):
            raise ConfigError("`split` and `dataset` belong to a model; a run has its own. Leave them out.")
        self.model = source.model if isinstance(source, Run) else source
        if not isinstance(self.model, Model):
            raise ConfigError(
                f"`model` must be derived from neucf.models.Model, or an opened run; got {type(source).__name__}. "
                "`evaluate` takes anything that scores."
            )
        check_origin(split, dataset)
        titled: Run | Dataset | None = source if isinstance(source, Run) else dataset
        self.items = None if titled is None else titled.items
        self._placed: npt.NDArray[np.bool_] | None = None
        if new_items:
            self.model, self._placed = place_new_items(self.model, self.items)
        self._known = Known(source, split, dataset)
        index = open_index(source) if ann and isinstance(source, Run) else None
        self.ranker = Ranker(self.model, self._known, self.items, index, self._placed)
        # A row of a frame takes long to fetch, and lists share their items. Not a method of this: a service that is
        # replaced would then wait for the garbage collector with all it holds.
        self._detail = lru_cache(_REMEMBERED)(partial(_detail, self.model.item_ids, self.items))
        self._name = lru_cache(_REMEMBERED)(partial(_name, self._detail))

    @cached_property
    def catalogue(self) -> Catalogue:
        """The names items go by, for `search_titles` and `match_item`."""
        return Catalogue(self.model.item_ids, self.items)

    def recommend(
        self,
        user_ids: Sequence[Id],
        k: int = 10,
        *,
        mask: Mask = "default",
        filters: Filters = EVERYTHING,
        diversity: float = 0.0,
        threads: int | None = None,
    ) -> list[Recommendations]:
        """Returns the suggestions of known users, in the order asked; raises UnknownIdError."""
        users = self.model.user_ids.indices(user_ids)
        ranked = self.rank(users, k, mask=mask, filters=filters, diversity=diversity, threads=threads)
        liked = self._known.hidden("positives")
        assert liked is not None
        return self._answers([self.model.user_ids[user] for user in users], liked[users], ranked)

    def histories(self, histories: Iterable[Iterable[Id]]) -> csr_array:
        """Returns histories of external item ids as a matrix (B, I) of ones; raises UnknownIdError."""
        rows = [self.model.item_ids.indices(history) for history in histories]
        people = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        items = np.concatenate([np.empty(0, np.int32), *rows])
        return matrix(people, items, (len(rows), len(self.model.item_ids)))

    def recommend_histories(
        self,
        histories: csr_array,
        k: int = 10,
        *,
        mask: Mask = "default",
        filters: Filters = EVERYTHING,
        diversity: float = 0.0,
        threads: int | None = None,
        hidden: csr_array | None = None,
    ) -> list[Recommendations]:
        """Returns the suggestions of B new people by their histories (B, I).

        Their histories are hidden, or `hidden` (B, I) where more is known of them, unless `mask` is none.
        """
        histories = check_histories(histories, len(self.model.item_ids))
        wanted = Wanted(k, mask, self.allowed(filters), diversity, threads)
        ranked = self.ranker.histories(histories, wanted, hidden)
        return self._answers([None] * len(ranked.items), histories, ranked)

    def rank(
        self,
        users: IntArray,
        k: int,
        *,
        mask: Mask = "default",
        filters: Filters = EVERYTHING,
        diversity: float = 0.0,
        threads: int | None = None,
    ) -> Ranked:
        """Returns the best K items of users (B,), all by index."""
        return self.ranker.users(users, Wanted(k, mask, self.allowed(filters), diversity, threads))

    def allowed(self, filters: Filters) -> npt.NDArray[np.bool_] | None:
        """Returns (I,) which items pass the filters, or None where all do."""
        if not isinstance(filters, Filters):
            raise ConfigError(f"`filters` must be Filters; got {filters!r}. Write Filters() for none.")
        return filters.allowed(self.model.item_ids, self.items)

    def history(self, user_id: Id, limit: int | None = None) -> list[HistoryItem]:
        """Returns what a user is known to have rated, best first, then latest first; never the test part."""
        rows = self._known.rows(self.model.user_ids.index(user_id))
        rows = rows if limit is None else rows.head(limit)
        pairs = zip(rows["rating"], self._details(rows["item"].to_numpy()), strict=True)
        return [HistoryItem(rating=rating, **detail) for rating, detail in pairs]

    def similar(self, item_id: Id, k: int = 10, *, filters: Filters = EVERYTHING) -> Similar:
        """Returns the K items most similar to one, itself left out; raises UnknownIdError and ConfigError."""
        item = self.model.item_ids.index(item_id)
        affinities = self.model.affinities(np.array([item], np.int32))
        if affinities is None:
            raise ConfigError(
                f"`similar` needs a model that tells which items go together; {self.model.name} does not. "
                "Use a run of another model."
            )
        num_others = len(self.model.item_ids) - 1
        k = checked_integer("k", k, 1, num_others, what="the catalogue without the item")
        allowed = self.allowed(filters)
        listed = np.ones(num_others + 1, np.bool_) if allowed is None else allowed
        listed[item] = False
        nearest = np.flatnonzero(listed)
        nearest = nearest[np.argsort(-affinities[0, nearest], kind="stable")][:k]
        name = self.named(item)
        return Similar(name.item_id, self._described(nearest, affinities[0, nearest]), name.title)

    def named(self, item: int) -> NamedItem:
        """Returns the id and the title of an item's index."""
        return self._name(item)

    def described(self, item: int) -> dict[str, Any]:
        """Returns the id, title (with its year), year and genres of an item's index, as JSON takes them."""
        name, detail = self.named(item), self._details(np.array([item], np.int32))[0]
        return {**name.to_json(), "year": detail.get("year"), "genres": list(detail.get("genres", ()))}

    def _answers(self, user_ids: Sequence[Id | None], liked: csr_array, ranked: Ranked) -> list[Recommendations]:
        answers = []
        for row, user_id in enumerate(user_ids):
            fallback = bool(ranked.fallback[row])
            own = liked.indices[liked.indptr[row] : liked.indptr[row + 1]]
            items = self._described(ranked.items[row], ranked.scores[row], None if fallback else own)
            answers.append(Recommendations(user_id, items, "popularity" if fallback else None))
        return answers

    def _described(
        self, items: IntArray, scores: npt.NDArray[np.float32], liked: IntArray | None = None
    ) -> tuple[RecommendedItem, ...]:
        items, scores = items[items >= 0], scores[items >= 0]
        because = (
            tuple(map(self._name, liked_items))
            for liked_items in reasons(self.model, items, np.empty(0, np.int32) if liked is None else liked)
        )
        new = np.zeros(len(items), np.bool_) if self._placed is None else self._placed[items]
        rows = zip(scores.tolist(), because, new, self._details(items), strict=True)
        return tuple(
            RecommendedItem(score=score, because=why, placed="genres" if is_new else None, **detail)
            for score, why, is_new, detail in rows
        )

    def _details(self, items: IntArray) -> list[Mapping[str, Any]]:
        """Returns item_id and, where known, title, year and genres of items (B,)."""
        return [self._detail(item) for item in items.tolist()]


def _detail(item_ids: Vocabulary, items: pl.DataFrame | None, item: int) -> Mapping[str, Any]:
    if items is None:
        return {"item_id": item_ids[item]}
    row = items.row(item, named=True)
    return {**row, "genres": tuple(row["genres"] or ())}


def _name(detail: Callable[[int], Mapping[str, Any]], item: int) -> NamedItem:
    each = detail(item)
    return NamedItem(each["item_id"], full_title(each["title"], each["year"]) if each.get("title") else None)
