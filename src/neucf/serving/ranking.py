"""Ranker: who is ranked by what: the model, a history, or popularity; all by index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.checks import checked_integer
from neucf.data.genres import genre_matrix
from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError
from neucf.evaluation.ranking import TopK, top_k
from neucf.kernels.grid import Shelf
from neucf.models import MODELS, Model
from neucf.models.base import cosines
from neucf.serving.ann import Ann
from neucf.serving.diversity import check_diversity, diversify, pool_size
from neucf.serving.known import Known, Mask, check_mask


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every list must be.

    Attributes:
        k: How many items.
        mask: What is hidden: see Service.
        allowed: (I,) the items that may be listed; None for all.
        diversity: In 0..1.
        threads: Thread count; None for every core.
    """

    k: int
    mask: Mask = "default"
    allowed: npt.NDArray[np.bool_] | None = None
    diversity: float = 0.0
    threads: int | None = None

    def check(self, num_items: int) -> None:
        """Raises ConfigError if something is out of range."""
        check_mask(self.mask)
        check_diversity(self.diversity)
        checked_integer("k", self.k, 1, num_items, what="the catalogue")


@dataclass(frozen=True, slots=True)
class Ranked:
    """Lists of B people: items (B, K), -1 where none remain; scores (B, K); whether popularity ranked them (B,)."""

    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    fallback: npt.NDArray[np.bool_]


class Ranker:
    """Ranks known users and new people.

    Args:
        model: A fitted model.
        known: What is known of its users.
        items: Titles, years and genres in index order; None where nothing is known.
        ann: Finds candidates for the model; None for exact lists.
        placed: (I,) items that training knew nothing of, but the model was told of since.
    """

    def __init__(
        self,
        model: Model,
        known: Known,
        items: pl.DataFrame | None,
        ann: Ann | None = None,
        placed: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.model, self.known, self.items, self.ann = model, known, items, ann
        self._shelf = Shelf()
        # (I,) whether a history tells by an item what somebody likes
        self._telling = known.train.item_counts() > 0
        if placed is not None:
            self._telling |= placed

    def users(self, users: IntArray, wanted: Wanted) -> Ranked:
        """Ranks for users (B,): by the model those it was trained on, by their history or by popularity the rest."""
        wanted.check(len(self.model.item_ids))
        hidden, trained = self.known.hidden(wanted.mask), self.known.trained[users]
        with_history = ~trained & self.known.any[users]
        if with_history.any():
            with_history[with_history] = self._tells(self.known.histories[users[with_history]])
        ranked = _blank(len(users), wanted.k)
        for model, rows in ((self.model, trained), (self._popularity, ~trained & ~with_history)):
            if rows.any():
                _fill(ranked, rows, self._best(model, users[rows], None, hidden, wanted))
        if with_history.any():
            asked = users[with_history]
            rows_hidden = None if hidden is None else hidden[asked]
            found = self._best(self.model, asked, self.known.histories[asked], rows_hidden, wanted)
            _fill(ranked, with_history, found)
        ranked.fallback[:] = ~trained & ~with_history
        return ranked

    def histories(self, histories: csr_array, wanted: Wanted, hidden: csr_array | None = None) -> Ranked:
        """Ranks for new people by their histories (B, I); hides these, or `hidden` (B, I), unless `mask` is none."""
        wanted.check(len(self.model.item_ids))
        empty = ~self._tells(histories)
        ranked = _blank(len(empty), wanted.k)
        for model, rows in ((self.model, ~empty), (self._popularity, empty)):
            if rows.any():
                chosen = np.flatnonzero(rows)
                unseen = None if wanted.mask == "none" else (histories if hidden is None else hidden)[chosen]
                _fill(ranked, rows, self._best(model, None, histories[chosen], unseen, wanted))
        ranked.fallback[:] = empty
        return ranked

    def _tells(self, histories: csr_array) -> npt.NDArray[np.bool_]:
        """Returns whether each history (B, I) holds an item that the model learnt of."""
        rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
        return np.bincount(rows, self._telling[histories.indices], minlength=histories.shape[0]) > 0

    def _best(
        self, model: Model, users: IntArray | None, histories: csr_array | None, hidden: csr_array | None,
        wanted: Wanted,
    ) -> TopK:  # fmt: skip
        k, diversity = wanted.k, wanted.diversity
        size = pool_size(k, diversity, len(model.item_ids))
        if self.ann is None or model is not self.model:
            rank = partial(top_k, model, shelf=self._shelf)
        else:
            rank = partial(self.ann.top_k, model)
        found = rank(users, size, histories=histories, mask=hidden, allowed=wanted.allowed, threads=wanted.threads)
        return diversify(found, k, diversity, self._similarity) if diversity > 0 else found

    def _similarity(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Returns how alike items (P,) are, (P, P): under the model, or by genres where it doesn't know."""
        affinities = self.model.affinities(items, items)
        if affinities is not None:
            return affinities
        if self._genres is None:
            raise ConfigError(
                f"`diversity` needs a model that tells which items go together, or genres; {self.model.name} does not, "
                "and no genres are known. Use 0."
            )
        return cosines(self._genres[items], self._genres[items])

    @cached_property
    def _genres(self) -> npt.NDArray[np.float32] | None:
        return None if self.items is None else genre_matrix(self.items)[0].toarray()

    @cached_property
    def _popularity(self) -> Model:
        return MODELS["popularity"]().fit(self.model.train)


def _blank(num_people: int, k: int) -> Ranked:
    return Ranked(
        items=np.full((num_people, k), -1, np.int32),
        scores=np.full((num_people, k), -np.inf, np.float32),
        fallback=np.zeros(num_people, np.bool_),
    )


def _fill(ranked: Ranked, rows: npt.NDArray[np.bool_], found: TopK) -> None:
    ranked.items[rows], ranked.scores[rows] = found.items, found.scores
