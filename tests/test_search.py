from __future__ import annotations

from contextlib import suppress

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucf.data.vocabulary import Vocabulary
from neucf.errors import DataError, UnknownIdError
from neucf.serving import Catalogue, match_item, search_titles
from neucf.serving.search import plain

TITLES: list[tuple[str | None, int | None]] = [
    ("Toy Story", 1995),
    ("Toy Story 2", 1999),
    ("Sabrina", 1954),
    ("Sabrina", 1995),
    ("Matrix, The", 1999),
    ("Seven (a.k.a. Se7en)", 1995),
    ("Am\u00e9lie (Fabuleux destin d'Am\u00e9lie Poulain, Le)", 2001),
    ("Lion", 2016),
    ("Loon", 2017),
    (None, None),
    ("Casablanca", 1942),
]


def catalogue(
    ids: list[int] | list[str] | None = None, films: list[tuple[str | None, int | None]] = TITLES
) -> Catalogue:
    names = pl.DataFrame(films, schema={"title": pl.String, "year": pl.Int32}, orient="row")
    return Catalogue(Vocabulary(ids or list(range(100, 100 + len(films))), "item"), names)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("Toy Story (1995)", 0),
        ("toy story", 0),
        ("Toy Stroy (1995)", 0),  # two letters changed places: one error
        ("Toi Stori", 0),  # nine letters, two errors
        ("Toy Story 2", 1),
        ("The Matrix", 4),
        ("matrix, the (1999)", 4),
        ("Metrix", 4),
        ("seven", 5),
        ("Amelie", 6),
        ("100", 0),
        ("Casablanka", 10),
        ("Sabrina (1954)", 2),
        ("Sabrrina (1995)", 3),
    ],
)
def test_names_and_small_misspellings_are_understood(text: str, item: int) -> None:
    assert match_item(catalogue(), text) == item


FILMS: list[tuple[str | None, int | None]] = [
    ("Kill Bill: Vol. 1", 2003),
    ("Kill Bill: Vol. 2", 2004),
    ("Wild Bill", 1995),
    ("L\u00e9on: The Professional (a.k.a. The Professional) (L\u00e9on)", 1994),
    ("Lion", 2016),
    ("Silence of the Lambs, The", 1991),
    ("Blade Runner 2049", 2017),
    ("Seven (a.k.a. Se7en)", 1995),
    ("Postino, Il (Postman, The)", 1994),
    ("Postman, The", 1997),
    ("(Untitled)", 2009),
    ("$", 1971),
]


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("leon", 3),  # 'Lion' is one letter away
        ("The Professional", 3),
        ("Leonn", 3),
        ("se7en", 7),
        ("postman", 9),  # the title of one wins over the brackets of another
        ("The Postman (1994)", 8),
        ("Silence of the", 5),
        ("Kill Bill (2003)", 0),
        ("Wild Bil", 2),
        ("untitled", 10),
        ("$", 11),
    ],
)
def test_what_stands_in_brackets_and_beginnings_are_names(text: str, item: int) -> None:
    assert match_item(catalogue(films=FILMS), text) == item


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Kill Bill", ["Kill Bill: Vol. 1 (2003)", "Kill Bill: Vol. 2 (2004)"]),
        ("Kill Bill (1995)", ["Kill Bill: Vol. 1 (2003)"]),
        ("Blade Runner", ["Blade Runner 2049 (2017)"]),
        ("Silence of th", ["Silence of the Lambs"]),
    ],
)
def test_what_begins_other_titles_is_not_taken_for_a_misspelling(text: str, named: list[str]) -> None:
    with pytest.raises((DataError, UnknownIdError)) as error:
        match_item(catalogue(films=FILMS), text)
    for each in named:
        assert each in str(error.value)


def test_an_id_wins_over_a_title() -> None:
    ids = ["sabrina" if index == 7 else f"x{index}" for index in range(len(TITLES))]
    assert match_item(catalogue(ids), "sabrina") == 7


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Sabrina", ["Sabrina (1954), item 102", "Sabrina (1995), item 103"]),  # the same title
        ("Lon", []),  # too short to be misspelt
        ("Loin", ["Lion (2016), item 107", "Loon (2017), item 108"]),  # one error from each
    ],
)
def test_what_cannot_be_told_apart_is_listed_and_not_guessed(text: str, named: list[str]) -> None:
    with pytest.raises((DataError, UnknownIdError)) as error:
        match_item(catalogue(), text)
    assert isinstance(error.value, DataError if named else UnknownIdError)
    for each in named:
        assert each in str(error.value)


@pytest.mark.parametrize("text", ["Toy Story 3", "Toy Story (1996)", "Casa", "zzz", "", "(1995)", "999"])
def test_a_wrong_number_or_too_little_is_no_misspelling(text: str) -> None:
    with pytest.raises(UnknownIdError):
        match_item(catalogue(), text)


def test_the_error_names_what_is_nearest() -> None:
    with pytest.raises(UnknownIdError, match=r"Nearest existing: 'Casablanca \(1942\)'"):
        match_item(catalogue(), "Casa")


def test_without_titles_only_ids_are_names() -> None:
    nameless = Catalogue(Vocabulary([5, 6], "item"), None)
    assert match_item(nameless, "6") == 1
    with pytest.raises(UnknownIdError):
        match_item(nameless, "Sabrina")
    assert search_titles(nameless, "Sabrina") == []


@given(
    item=st.sampled_from([0, 4, 10]),
    place=st.integers(0, 5),
    letter=st.sampled_from("bcdfghjkqvwx"),
    way=st.sampled_from(["replaced", "added", "left out"]),
)
def test_any_single_error_in_a_long_name_is_overlooked(item: int, place: int, letter: str, way: str) -> None:
    title = plain(TITLES[item][0] or "")
    after = place if way == "added" else place + 1
    wrong = title[:place] + ("" if way == "left out" else letter) + title[after:]
    assert match_item(catalogue(), wrong) == item


def test_search_finds_parts_and_puts_beginnings_first() -> None:
    def found(query: str, limit: int = 10) -> list[str]:
        return [each.title for each in search_titles(catalogue(), query, limit)]

    assert found("toy")[:2] == ["Toy Story (1995)", "Toy Story 2 (1999)"]
    assert found("sab", 1) == ["Sabrina (1954)"]
    assert found("sabrina (1995)") == ["Sabrina (1995)"]
    assert found("blanca") == ["Casablanca (1942)"]
    assert found("casablnca")[0] == "Casablanca (1942)"
    assert found("amelie poulain")[0].startswith("Am\u00e9lie")
    assert found("") == found("!!") == found("toy", 0) == []


@given(st.text(max_size=30))
def test_any_text_is_answered(text: str) -> None:
    found = search_titles(catalogue(), text, 3)
    assert len(found) <= 3
    assert all(60 <= each.score <= 100 for each in found)
    with suppress(DataError, UnknownIdError):
        assert 0 <= match_item(catalogue(), text) < len(TITLES)


def test_a_name_that_is_a_part_of_what_was_asked_is_no_fit() -> None:
    items = pl.DataFrame({"item_id": [1, 2, 3], "title": ["M", "The War", "Star Wars"], "year": [1931, 1994, 1977]})
    catalogue = Catalogue(Vocabulary([1, 2, 3], "item"), items)
    assert search_titles(catalogue, "Amelie") == []
    assert search_titles(catalogue, "sat wars")[0].item == 2
