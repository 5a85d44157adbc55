"""Live: one opened run, and what its users did since, as recommendations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from neucf.artifacts import Run
from neucf.artifacts.log import first_fit
from neucf.artifacts.manifest import LOG
from neucf.data.genres import genre_matrix
from neucf.data.vocabulary import Id, IntArray
from neucf.serving.answer_cache import AnswerCache
from neucf.serving.answers import Recommendations, Similar
from neucf.serving.filters import EVERYTHING, Filters
from neucf.serving.finder import Finder
from neucf.serving.known import Mask, matrix
from neucf.serving.mapping import ItemMap, item_map
from neucf.serving.service import Service

if TYPE_CHECKING:
    from neucf.serving.events import Event

# Lists of people known by a history that are kept, of some kilobytes each, and how long they may be.
_KEPT_LISTS, _KEPT_ITEMS = 4096, 50


@dataclass(frozen=True, slots=True)
class Options:
    """What a list must be: see `Service.recommend`."""

    k: int = 10
    mask: Mask = "default"
    filters: Filters = EVERYTHING
    diversity: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to recommend to, by history alone.

    Attributes:
        user_id: External id for the answer; None for nobody in particular.
        liked: (L,) items, ascending.
        low: (M,) items known to be rated below the threshold, ascending.
        read_at: `Live.times_forgotten` when the events were read that this is made of; None if of none.
    """

    user_id: Id | None
    liked: IntArray
    low: IntArray
    read_at: int | None = None


class Live:
    """Recommends from a run and from events; immutable, so that a reload is a swap of one for another.

    Args:
        run: An opened run.
        label: What clients call it by.
    """

    def __init__(self, run: Run, label: str = "run") -> None:
        self.run, self.label, self.service, self.loaded_at = run, label, Service(run), time.time()
        self.user_ids, self.item_ids = run.model.user_ids, run.model.item_ids
        self._finder = Finder(self.service)
        self._kept: AnswerCache[Recommendations] = AnswerCache(_KEPT_LISTS)
        # Read now: another training may put a log of its own there before this run is let go
        self.epochs = first_fit(run.path / LOG)
        data = run.manifest.get("data", {})
        self.data: str | None = data.get("name")
        self.min_rating: float | None = data.get("settings", {}).get("min_rating")
        self._warm()

    @cached_property
    def genres(self) -> list[str]:
        """The genres of the catalogue, by the alphabet."""
        items = self.service.items
        return [] if items is None else genre_matrix(items)[1]

    @cached_property
    def years(self) -> tuple[int, int] | None:
        """The first and the last year of the catalogue; None where none is known."""
        items = self.service.items
        known = [] if items is None else items["year"].drop_nulls().to_list()
        return (min(known), max(known)) if known else None

    @cached_property
    def item_map(self) -> ItemMap:
        """The most popular items in the plane; worked out once. Raises ConfigError."""
        return item_map(self.run.model)

    def person(self, user_id: str, events: Sequence[Event], read_at: int | None = None) -> int | Person | None:
        """Returns whom a user's id and events stand for: an index where events add nothing to what the run knows.

        An event counts in place of what the run knows of its item, and the last one of an item counts alone. One whose
        value lies below the run's threshold is no positive. Events on items of another catalogue are left out.

        Returns:
            The index of a user the run knows all about; a person by history; None where nobody is known by that id.
        """
        index = self.user_ids.lookup(user_id)
        if not events:
            return index
        # item -> whether it is liked
        said: dict[int, bool] = {}
        for event in events:
            item = self.item_ids.lookup(event.item_id)
            if item is not None:
                said[item] = event.value is None or self.min_rating is None or event.value >= self.min_rating
        known_liked, known_low = self._known(index)
        liked = (known_liked - said.keys()) | {item for item, good in said.items() if good}
        low = (known_low - said.keys()) | {item for item, good in said.items() if not good}
        if index is not None and (liked, low) == (known_liked, known_low):
            return index
        rows = [np.array(sorted(items), np.int32) for items in (liked, low)]
        return Person(self.user_ids.as_id(user_id), rows[0], rows[1], read_at)

    def history(self, user_id: str, events: Sequence[Event], limit: int) -> list[dict[str, Any]] | None:
        """Returns what a user is known to have done, events first, the latest of them first; then the best rated.

        Returns:
            Items with the rating and with where it is from; None where nobody is known by that id.
        """
        index = self.user_ids.lookup(user_id)
        if index is None and not events:
            return None
        latest: dict[int, float | None] = {}
        for event in events:
            item = self.item_ids.lookup(event.item_id)
            if item is not None:
                # Anew, so that it stands where its last event does.
                latest.pop(item, None)
                latest[item] = event.value
        rows = [
            {**self.service.described(item), "rating": value, "source": "event"}
            for item, value in reversed(latest.items())
        ]
        if index is not None:
            told = {self.item_ids[item] for item in latest}
            known = self.service.history(self.user_ids[index], limit + len(told))
            rows += [{**each.to_json(), "source": "run"} for each in known if each.item_id not in told]
        return rows[:limit]

    def recommend(self, users: Sequence[int], options: Options) -> list[Recommendations]:
        """Returns the suggestions of users by index, all alike in options."""
        return self.service.recommend([self.user_ids[user] for user in users], **self._arguments(options))

    def recommend_people(self, people: Sequence[Person], options: Options) -> list[Recommendations]:
        """Returns the suggestions of people by their histories, all alike in options.

        To find somebody's vector takes long, so their list is kept; they are somebody else once they do something new.
        """

        def find(places: list[int]) -> list[Recommendations]:
            asking = [people[place] for place in places]
            liked = self._rows([person.liked for person in asking])
            hidden = liked
            if options.mask == "default":
                hidden = self._rows([np.union1d(person.liked, person.low) for person in asking])
            return self.service.recommend_histories(liked, hidden=hidden, **self._arguments(options))

        if options.k > _KEPT_ITEMS:
            answers = find(list(range(len(people))))
        else:
            keys = [(options, person.liked.tobytes(), person.low.tobytes()) for person in people]
            answers = self._kept.answers(keys, find, [person.read_at for person in people])
        return [replace(answer, user_id=person.user_id) for person, answer in zip(people, answers, strict=True)]

    @property
    def times_forgotten(self) -> int:
        """How often lists were dropped; to be asked before events are read."""
        return self._kept.times_cleared

    def forget(self) -> None:
        """Drops the lists kept of people with histories, and those to come of events read before."""
        self._kept.clear()

    def similar(self, item_id: str, options: Options) -> Similar:
        """Returns the items most similar to one of the catalogue, by its text form."""
        k = min(options.k, len(self.item_ids) - 1)
        return self.service.similar(self.item_ids.as_id(item_id), k, filters=options.filters)

    def find(self, text: str, k: int) -> list[dict[str, Any]]:
        """Returns up to K items by title, as `Finder.find` orders them."""
        return [self.service.described(item) for item in self._finder.find(text, k)]

    def _arguments(self, options: Options) -> dict[str, Any]:
        # A list is as long as what there is: a catalogue may shrink under a client that knows nothing of it.
        return {
            "k": min(options.k, len(self.item_ids)),
            "mask": options.mask,
            "filters": options.filters,
            "diversity": options.diversity,
            # Beside an event loop on few cores more threads would only wait for each other.
            "threads": 1,
        }

    def _known(self, index: int | None) -> tuple[set[int], set[int]]:
        """Returns the items that the run knows a user to like, and those rated below the threshold."""
        if index is None:
            return set(), set()
        known = self.service.ranker.known
        liked, hidden = (_row(matrix, index) for matrix in (known.hidden("positives"), known.hidden("default")))
        return liked, hidden - liked

    def _rows(self, rows: Sequence[IntArray]) -> csr_array:
        people = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        return matrix(people, np.concatenate([np.empty(0, np.int32), *rows]), (len(rows), len(self.item_ids)))

    def _warm(self) -> None:
        """Builds whatever is built at first use, so that no request waits for it."""
        for vocabulary in (self.user_ids, self.item_ids):
            vocabulary.lookup("")
        self.find("", 1)
        self._known(0 if len(self.user_ids) else None)
        options = Options(k=1)
        if len(self.user_ids):
            self.recommend([0], options)
        for liked in ([], [0][: len(self.item_ids)]):
            self.recommend_people([Person(None, np.array(liked, np.int32), np.empty(0, np.int32))], options)


def _row(matrix: csr_array | None, index: int) -> set[int]:
    assert matrix is not None
    return set(matrix.indices[matrix.indptr[index] : matrix.indptr[index + 1]].tolist())
