"""Backend: what an HTTP application, or any event loop, asks: recommendations that know of events, and the events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from neucf.errors import ConfigError, NeucfError, UnknownIdError
from neucf.serving.answers import Recommendations
from neucf.serving.events import Event, EventStore
from neucf.serving.http.batching import Batcher
from neucf.serving.http.runs import Runs
from neucf.serving.live import Live, Options, Person

log = logging.getLogger("neucf.serve")
T = TypeVar("T")
W = TypeVar("W")
Added: TypeAlias = Literal["created", "repeated"]
# A batch of 32 known users takes some milliseconds; waiting for two of them is about what a caller should bear.
BATCH, WAITING = 32, 64
FOLD_BATCH, FOLD_WAITING = 16, 32


@dataclass(frozen=True, slots=True)
class Ask(Generic[W]):
    """A list wanted, of the run that was served when it was asked for."""

    live: Live
    who: W
    options: Options


class Backend:
    """Answers from one event loop; all work is done on threads of its own.

    Known users are ranked on one thread; people known by a history, whose vectors must be found first, on another, so
    that they hold nobody up. Events go to the disk on a third, those that wait together by one commit.

    Args:
        runs: What to serve first.
        load: Opens what to serve, anew at each call.
        store: Where events are kept.
        observe: Called with a lane's name and the size of each batch.
    """

    def __init__(
        self,
        runs: Runs,
        load: Callable[[], Runs],
        store: EventStore,
        observe: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        self.runs, self._load, self.store = runs, load, store

        def lane(name: str, answer: Callable[[list[Any]], Sequence[Any]], size: int, limit: int) -> Batcher[Any, Any]:
            return Batcher(answer, name=name, size=size, limit=limit, observe=lambda count: observe(name, count))

        self._users: Batcher[Ask[str], Recommendations | Person] = lane("users", self._rank_users, BATCH, WAITING)
        self._people: Batcher[Ask[Person], Recommendations] = lane(
            "people", self._rank_people, FOLD_BATCH, FOLD_WAITING
        )
        self._writes: Batcher[Event, Added] = lane("events", self._add, BATCH, 2 * WAITING)
        self._calls: Batcher[Callable[[], Any], Any] = lane("calls", _called, 1, WAITING)
        # Of their own: an erasure may wait for another process that holds the store.
        self._erasures: Batcher[Callable[[], Any], Any] = lane("erasures", _called, 1, WAITING)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._reloading = asyncio.Lock()

    def live(self, label: str | None) -> Live:
        """Returns the run of a label, or the default one; raises ConfigError."""
        runs = self.runs
        if label is None:
            label = runs.default
        if label not in runs:
            raise ConfigError(f"`model` must be one of {', '.join(runs)}; got {label!r}.")
        return runs[label]

    async def recommend(self, user_id: str, live: Live, options: Options) -> Recommendations:
        """Returns the suggestions of a user, whom the run or events know; raises UnknownIdError."""
        answer = await self._users.ask(Ask(live, user_id, options))
        return await self._people.ask(Ask(live, answer, options)) if isinstance(answer, Person) else answer

    async def recommend_history(self, person: Person, live: Live, options: Options) -> Recommendations:
        """Returns the suggestions of somebody known by a history of items of `live`."""
        return await self._people.ask(Ask(live, person, options))

    async def call(self, function: Callable[[], T]) -> T:
        """Returns what a function returns that takes a while, run off the event loop."""
        result: T = await self._calls.ask(function)
        return result

    async def add(self, event: Event) -> Added:
        """Keeps an event; returns once it is on the disk."""
        return await self._writes.ask(event)

    async def erase(self, user_id: str) -> int:
        """Removes all events of a user, and the lists kept that were made from them; returns how many events."""

        def erase() -> int:
            num_erased = self.store.erase(user_id)
            for live in self.runs.values():
                live.forget()
            return num_erased

        return int(await self._erasures.ask(erase))

    async def reload(self) -> Runs:
        """Opens the runs anew and serves them from the next request on; raises what opening them raises."""
        async with self._reloading:
            self.runs = await asyncio.get_running_loop().run_in_executor(self._loader, self._load)
            return self.runs

    def close(self) -> None:
        """Waits for what is under way, and lets go of threads and connections."""
        for batcher in (self._users, self._people, self._writes, self._calls, self._erasures):
            batcher.close()
        self._loader.shutdown()
        self.store.close()

    def _rank_users(self, asks: list[Ask[str]]) -> list[Recommendations | Person | Exception]:
        """Ranks users whom events add nothing to; hands back whom they do, to be ranked by history."""
        # Before the events are read: whoever erases them meanwhile then drops these lists too
        read_at = [ask.live.times_forgotten for ask in asks]
        events = self.store.histories({ask.who for ask in asks})
        people = [ask.live.person(ask.who, events[ask.who], when) for ask, when in zip(asks, read_at, strict=True)]
        answers: list[Any] = [
            UnknownIdError("user", ask.who) if person is None else person
            for ask, person in zip(asks, people, strict=True)
        ]
        known = [place for place, person in enumerate(people) if isinstance(person, int)]
        lists = _ranked([(asks[place].live, asks[place].options, people[place]) for place in known], Live.recommend)
        for place, answer in zip(known, lists, strict=True):
            answers[place] = answer
        return answers

    def _add(self, events: list[Event]) -> list[Added | Exception]:
        return [_or_error(self.store.add, event) for event in events]

    def _rank_people(self, asks: list[Ask[Person]]) -> list[Recommendations | Exception]:
        return _ranked([(ask.live, ask.options, ask.who) for ask in asks], Live.recommend_people)


def _ranked(
    asked: Sequence[tuple[Live, Options, Any]], rank: Callable[[Live, list[Any], Options], list[Recommendations]]
) -> list[Recommendations | Exception]:
    """Ranks together what is asked alike of one run; who wants fewer items gets the head of the longest list."""
    groups: dict[tuple[Live, Options], list[int]] = {}
    for place, (live, options, _) in enumerate(asked):
        # A diverse list of ten is not the head of one of twenty.
        alike = options if options.diversity > 0 else replace(options, k=0)
        groups.setdefault((live, alike), []).append(place)
    answers: dict[int, Recommendations | Exception] = {}
    for (live, options), places in groups.items():
        k = max(asked[place][1].k for place in places)
        try:
            lists = rank(live, [asked[place][2] for place in places], replace(options, k=k))
        except Exception as error:
            answers |= dict.fromkeys(places, error)
            continue
        for place, answer in zip(places, lists, strict=True):
            answers[place] = replace(answer, items=answer.items[: asked[place][1].k])
    return [answers[place] for place in range(len(asked))]


def _or_error(function: Callable[[W], T], argument: W) -> T | Exception:
    try:
        return function(argument)
    except NeucfError as error:
        return error


def _called(calls: list[Callable[[], Any]]) -> list[Any]:
    return [call() for call in calls]
