"""Filters: what passes, and that what passes is ranked as if nothing else were there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import planted

from neucf.artifacts import Run
from neucf.data.splits import Split
from neucf.data.vocabulary import Vocabulary
from neucf.errors import ConfigError, UnknownIdError
from neucf.models import MODELS
from neucf.serving import EVERYTHING, Filters, Service, write_recommendations

IDS = Vocabulary([10, 20, 30, 40], "item")
ITEMS = pl.DataFrame(
    {
        "item_id": [10, 20, 30, 40],
        "title": ["Alien", "Brazil", None, "Casablanca"],
        "year": [1979, 1985, None, 1942],
        "genres": [["Horror", "Sci-Fi"], ["Sci-Fi"], None, []],
    },
    schema_overrides={"year": pl.Int32},
)


def passing(**settings: Any) -> list[int]:
    allowed = Filters(**settings).allowed(IDS, ITEMS)
    assert allowed is not None
    return np.array([10, 20, 30, 40])[allowed].tolist()


def test_each_filter_by_hand() -> None:
    assert EVERYTHING.allowed(IDS, ITEMS) is None
    assert passing(genres=("sci-fi",)) == [10, 20]
    assert passing(genres=("Horror", "SCI-FI")) == [10, 20]
    assert passing(year_from=1979) == [10, 20]
    assert passing(year_to=1979) == [10, 40]
    assert passing(year_from=1979, year_to=1979) == [10]
    assert passing(year_from=-(10**30), year_to=10**30) == [10, 20, 40]
    assert passing(year_from=0, year_to=0) == []
    assert passing(allow=(30, 10)) == [10, 30]
    assert passing(allow=()) == []
    assert passing(deny=(30, 10)) == [20, 40]
    assert passing(allow=(10, 20), deny=(20,), genres=("Sci-Fi",), year_to=2000) == [10]


def test_what_cannot_be_filtered_gets_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"`year_from` must not be after `year_to`; got 2000 and 1990"):
        passing(year_from=2000, year_to=1990)
    with pytest.raises(ConfigError, match=r"got 'Horor'\. Did you mean 'Horror'"):
        passing(genres=("Horor",))
    with pytest.raises(ConfigError, match="Genres: Horror, Sci-Fi"):
        passing(genres=("xxxxx",))
    with pytest.raises(UnknownIdError, match="50"):
        passing(deny=(50,))
    for settings in ({"genres": ("Horror",)}, {"year_to": 1990}):
        with pytest.raises(ConfigError, match="this model knows none"):
            Filters(**settings).allowed(IDS, None)
    assert Filters(deny=(10,)).allowed(IDS, None) is not None


TRAIN, HELD = planted()
GENRES = [["even"] if item % 2 == 0 else ["odd"] for item in range(40)]
CATALOGUE = pl.DataFrame(
    {
        "item_id": TRAIN.item_ids.series,
        "title": [f"Film {item}" for item in range(40)],
        "year": pl.Series([1980 + item for item in range(40)], dtype=pl.Int32),
        "genres": GENRES,
    }
)
NOBODY = TRAIN.take(np.empty(0, np.int64))


@pytest.fixture(scope="module")
def service() -> Service:
    model = MODELS["mf"](dim=8, epochs=5, batch_size=64).fit(TRAIN, seed=0, threads=1)
    return Service(Run(Path("run"), {}, model, Split(TRAIN, HELD, None), NOBODY, NOBODY, CATALOGUE))


filters = st.builds(
    Filters,
    genres=st.sets(st.sampled_from(["even", "odd"])).map(tuple),
    year_from=st.none() | st.integers(1970, 2000),
    year_to=st.none() | st.integers(2000, 2030),
    allow=st.none() | st.sets(st.integers(100, 139)).map(tuple),
    deny=st.sets(st.integers(100, 139), max_size=30).map(tuple),
)


def passes(item: int, wanted: Filters) -> bool:
    """Says the same as Filters, an item at a time."""
    year = 1980 + item
    return (
        (not wanted.genres or GENRES[item][0] in wanted.genres)
        and (wanted.year_from is None or year >= wanted.year_from)
        and (wanted.year_to is None or year <= wanted.year_to)
        and (wanted.allow is None or item + 100 in wanted.allow)
        and item + 100 not in wanted.deny
    )


@given(wanted=filters, k=st.integers(1, 40), user=st.integers(0, 59))
def test_a_list_is_the_ranking_of_what_passes_and_is_not_known(
    service: Service, wanted: Filters, k: int, user: int
) -> None:
    scores = np.asarray(service.model.score([user]))[0]
    known = {*TRAIN.items[TRAIN.users == user].tolist(), *HELD.items[HELD.users == user].tolist()}
    left = [item for item in range(40) if item not in known and passes(item, wanted)]
    expected = sorted(left, key=lambda item: -scores[item])[:k]
    answer = service.recommend([f"u{user}"], k, filters=wanted, threads=1)[0]
    assert [item.item_id - 100 for item in answer.items] == expected  # type: ignore[operator]


@given(wanted=filters, k=st.integers(1, 39), item=st.integers(0, 39))
def test_similar_items_are_the_ranking_of_what_passes(service: Service, wanted: Filters, k: int, item: int) -> None:
    affinities = service.model.affinities(np.array([item]))
    assert affinities is not None
    left = [other for other in range(40) if other != item and passes(other, wanted)]
    expected = sorted(left, key=lambda other: -affinities[0, other])[:k]
    found = service.similar(item + 100, k, filters=wanted)
    assert [other.item_id - 100 for other in found.items] == expected  # type: ignore[operator]


def test_histories_the_fallback_and_files_are_filtered_too(service: Service, tmp_path: Path) -> None:
    even = Filters(genres=("even",))
    people = service.histories([[100, 104], []])
    for answer in service.recommend_histories(people, 40, filters=even):
        assert {item.genres for item in answer.items} == {("even",)}
    assert len(service.recommend_histories(people, 40, filters=even)[1].items) == 20
    write_recommendations(service, tmp_path / "all.parquet", 5, filters=even, threads=1)
    found = pl.read_parquet(tmp_path / "all.parquet")
    assert (found["item_id"] % 2 == 0).all()
    assert found.group_by("user_id").len()["len"].to_list() == [5] * 60


def test_what_filters_hold_may_be_arrays_and_must_be_in_a_row() -> None:
    assert Filters(allow=np.array([1, 2])) == Filters(allow=(1, 2))  # type: ignore[arg-type]
    wrong: list[dict[str, Any]] = [{"deny": 5}, {"genres": "Comedy"}, {"allow": "x"}, {"year_from": "1990"}]
    for fields in wrong:
        with pytest.raises(ConfigError, match=f"`{next(iter(fields))}` must be"):
            Filters(**fields)
