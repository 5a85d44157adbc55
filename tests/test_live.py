from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_recommend import ids, part, run

from neucf.artifacts import Run
from neucf.serving.events import Event
from neucf.serving.filters import Filters
from neucf.serving.live import Live, Options, Person


def live(min_rating: float | None = None, **changes: Any) -> Live:
    """User 30 likes e and d, and rated b low; 7 likes a and b; 2^60 is held out with b; -4 is unknown to training."""
    data = {"data": {"name": "five", "settings": {"min_rating": min_rating}}}
    return Live(replace(run(), manifest=data, **changes))


def events(*pairs: tuple[str, float | None] | str) -> list[Event]:
    told = [(pair, None) if isinstance(pair, str) else pair for pair in pairs]
    return [Event("someone", item, str(place), value) for place, (item, value) in enumerate(told)]


def known(found: int | Person | None) -> tuple[list[int], list[int]]:
    assert isinstance(found, Person)
    return found.liked.tolist(), found.low.tolist()


def test_without_events_a_user_is_whom_the_run_knows_or_nobody() -> None:
    assert live().person("30", []) == 0
    assert live().person("-4", []) == 3
    assert live().person(str(2**60), []) == 2
    for nobody in ("31", "030", " 30", "3e1", "x", ""):
        assert live().person(nobody, []) is None


def test_events_add_to_what_the_run_knows() -> None:
    # a b c d e are items 0 to 4.
    found = live().person("30", events("a", "c"))
    assert known(found) == ([0, 2, 3, 4], [1])
    assert isinstance(found, Person)
    assert found.user_id == 30


def test_an_event_says_more_than_the_run_and_the_last_event_most() -> None:
    at_4 = live(min_rating=4.0)
    # e was liked and is not; b was low and is liked.
    assert known(at_4.person("30", events(("e", 1.0), ("b", 4.0)))) == ([1, 3], [4])
    assert known(at_4.person("30", events(("a", 5.0), ("a", 3.9)))) == ([3, 4], [0, 1])
    assert known(at_4.person("30", events(("a", 1.0), "a"))) == ([0, 3, 4], [1])
    # Without a threshold every row is a positive, and so is every event.
    assert known(live().person("7", events(("c", 0.5)))) == ([0, 1, 2], [])


def test_events_that_the_run_was_trained_on_leave_the_user_to_the_model() -> None:
    assert live().person("30", events("e", "d")) == 0
    assert live(min_rating=4.0).person("30", events(("e", 5.0), ("b", 2.0))) == 0


def test_somebody_new_is_known_by_events_alone() -> None:
    found = live().person("31", events("a", "c"))
    assert isinstance(found, Person)
    assert (found.user_id, *known(found)) == (31, [0, 2], [])
    assert live().person("x", events("a")).user_id == "x"  # type: ignore[union-attr]
    # Of another catalogue: known, though nothing is known of them.
    assert known(live().person("x", events("zzz"))) == ([], [])


def test_people_are_ranked_by_history_and_what_they_have_is_hidden() -> None:
    service = live(min_rating=4.0)
    person = service.person("someone", events(("a", 5.0), ("c", 5.0), ("e", 1.0)))
    assert isinstance(person, Person)
    (found,) = service.recommend_people([person], Options(k=5))
    # The mean of a and c is b; e was rated low.
    assert (found.user_id, found.fallback, ids(found)) == ("someone", None, ["b", "d"])
    (found,) = service.recommend_people([person], Options(k=5, mask="positives"))
    assert ids(found) == ["b", "d", "e"]
    (found,) = service.recommend_people([person], Options(k=5, mask="none"))
    assert sorted(ids(found)) == ["a", "b", "c", "d", "e"]


def test_somebody_who_likes_nothing_gets_what_is_popular_less_what_is_low() -> None:
    service = live(min_rating=4.0)
    people = [service.person("x", events(("a", 1.0))), service.person("y", events("a"))]
    disliking, liking = service.recommend_people(people, Options(k=5))  # type: ignore[arg-type]
    assert disliking.fallback == "popularity"
    assert sorted(ids(disliking)) == ["b", "c", "d", "e"]
    assert liking.fallback is None


def test_each_of_a_batch_gets_what_they_would_get_alone() -> None:
    service = live()
    people = [Person(None, np.array(liked, np.int32), np.empty(0, np.int32)) for liked in ([0], [1, 2], [], [4])]
    together = service.recommend_people(people, Options(k=2))
    assert together == [live().recommend_people([person], Options(k=2))[0] for person in people]


def test_a_list_is_worked_out_again_only_for_somebody_or_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    service, asked = live(min_rating=4.0), []
    find = service.service.recommend_histories

    def watched(histories: Any, **options: Any) -> Any:
        asked.append(histories.shape[0])
        return find(histories, **options)

    monkeypatch.setattr(service.service, "recommend_histories", watched)

    def ask(*told: Any, k: int = 2) -> list[Any]:
        person = service.person("x", events(*told))
        assert isinstance(person, Person)
        return ids(service.recommend_people([person], Options(k=k))[0])

    first = ask("a")
    assert (first, ask("a"), len(asked)) == (ask("a", "a"), first, 1)
    # Another event, an item rated low, another list
    assert "b" not in ask("a", "b")
    assert "b" not in ask("a", ("b", 1.0))
    assert len(ask("a", k=3)) == 3
    assert len(asked) == 4
    (answer,) = service.recommend_people([Person(7, np.array([0], np.int32), np.empty(0, np.int32))], Options(k=2))
    assert (answer.user_id, ids(answer), len(asked)) == (7, first, 4)


def test_a_list_is_no_longer_than_the_catalogue() -> None:
    assert len(live().recommend([1], Options(k=1000, mask="none"))[0].items) == 5


def test_filters_hold_for_people_too() -> None:
    person = Person(None, np.array([0], np.int32), np.empty(0, np.int32))
    (found,) = live().recommend_people([person], Options(k=5, filters=Filters(genres=("horror",))))
    assert ids(found) == ["e"]


def test_titles_are_found_by_their_words_in_any_case() -> None:
    service = live()
    names = lambda text, k=5: [item["item_id"] for item in service.find(text, k)]  # noqa: E731
    assert names("BRAZ") == ["b"]
    assert names("1979 al") == ["a"]
    # What begins with the words comes first, then what more people have: b and e one, c nobody.
    assert names("a") == ["a", "b", "e", "c"]
    assert names("") == ["a", "b", "e", "c", "d"]
    assert names("a", 2) == ["a", "b"]
    # An item without a title goes by its id.
    assert names("c") == ["c"]
    assert names("d") == ["d", "e"]
    assert names("nothing of this") == []
    assert names("a.*") == []
    assert service.find("alien", 1) == [
        {"item_id": "a", "title": "Alien (1979)", "year": 1979, "genres": ["Horror", "Sci-Fi"]}
    ]


def test_titles_are_found_without_their_accents_and_the_title_itself_comes_first() -> None:
    titles = ["Pok\u00e9mon 2000", "POKEMON Heroes", "Pok\u00e9mon 2", "Poke\u0301mon (2)", "Not Pok\u00e9mon"]
    items = pl.DataFrame({"item_id": list("abcde"), "title": titles, "year": [2000, 2003, None, None, 1999]})
    service = live(items=items.with_columns(genres=pl.lit([], pl.List(pl.String))))
    names = lambda text, k=5: [item["item_id"] for item in service.find(text, k)]  # noqa: E731
    assert names("pokemon") == names("Pok\u00e9mon") == ["a", "b", "c", "d", "e"]
    # a and b are popular, and a begins with it; the title is c.
    assert names("pokemon 2", 1) == names("pokemon 2 ", 1) == ["c"]
    assert names("pokemon 2000", 1) == ["a"]
    assert names("not pokemon (1999)") == ["e"]


def test_without_titles_ids_are_looked_through() -> None:
    service = live(items=None)
    assert service.find("B", 3) == [{"item_id": "b", "title": None, "year": None, "genres": []}]
    assert service.genres == []


def test_genres_are_told_by_the_alphabet() -> None:
    assert live().genres == ["Comedy", "Horror", "Sci-Fi"]


@pytest.mark.parametrize("mask", ["default", "positives", "none"])
def test_a_model_nobody_is_known_to_can_be_served(mask: Any) -> None:
    empty = part([], [])
    bare = Run(run().path, {}, run().model.fit(empty), replace(run().split, train=empty), empty, empty, None)
    (found,) = Live(bare).recommend_people(
        [Person(None, np.array([2], np.int32), np.empty(0, np.int32))], Options(mask=mask)
    )
    assert found.items
