"""Every bad input gets one sentence with file, row and rule; row is the 1-based line of the file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from neucf.data import text
from neucf.data.readers import read_dataset
from neucf.errors import ConfigError, DataError, NeucfError

HEADER = "userId,movieId,rating,timestamp\n"


def refusal(source: Any, error: type[Exception] = DataError, **options: Any) -> str:
    """The message of the refusal, after checking that it is one sentence and that no other error caused it to leak."""
    with pytest.raises(error) as caught:
        read_dataset(source, **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"[.!?] [A-Z`]", message), message
    return message


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes, str], Path]:
    def writer(content: str | bytes, name: str = "ratings.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return writer


@pytest.mark.parametrize(
    ("content", "row", "rule"),
    [
        ("1,10,4.0,5\n1,11,3.0\n", 3, "must have 4 fields.*got 3, too few"),
        ("1,10,4.0,5\n2,11\n3,11,3.0,7\n", 3, "got 2, too few"),
        ("1,10,4.0,5\n1,11,3.0,5,9\n", 3, "got 5, too many"),
        ("1,10,4.0,5\n\n\n1,11,3.0\n", 5, "too few"),
        ("1,10,4.0,5\n,11,3.0,5\n", 3, r"user id \('userId'\) must not be empty"),
        ("1,10,4.0,5\n1,,3.0,5\n", 3, r"item id \('movieId'\) must not be empty"),
        ("1,10,4.0,5\n1,12,,5\n", 3, "rating .* must be a finite number; got nothing"),
        ("1,10,4.0,5\n1,12,good,5\n", 3, "rating .* must be a finite number; got 'good'"),
        ("1,10,4.0,5\n1,12,4.0x,5\n", 3, "rating .* must be a finite number; got '4.0x'"),
        ("1,10,4.0,5\n1,12,nan,5\n", 3, "rating .* must be a finite number; got 'nan'"),
        ("1,10,4.0,5\n1,12,-inf,5\n", 3, "rating .* must be a finite number; got '-inf'"),
        ("1,10,4.0,5\n1,12,1e999,5\n", 3, "rating .* must be a finite number; got '1e999'"),
        ("1,10,4.0,5\n1,12,4.0,soon\n", 3, "time .* must be a number or an ISO date.*got 'soon'"),
        ("1,10,4.0,5\n1,12,4.0,\n", 3, "time .* got nothing"),
        ("1,10,4.0,5\n\n1,12,4.0,never\n", 4, "time .* got 'never'"),
        ('1,"1\n0",4.0,5\n1,12,bad,5\n', 4, "rating .* got 'bad'"),
        ('1,"10,4.0,5\n1,12,3.0,5\n', 2, "cannot be read"),
        ('1,1"0,4.0,5\n1,12,3.0,5\n', 2, "quotation marks"),
        ('1,"1",4.0,5\n1,a",3.0,5\n', 3, "quotation marks"),
        # A stray mark that joins two rows into one of the right width.
        ('1,"1\n2,"3",4.0,5\n4,5",4.0,5\n', 2, "cannot be read"),
        ("\n\n1,10,4.0\n", 4, "too few"),
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 8])
def test_row_is_named(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, content: str, row: int, rule: str, block: int
) -> None:
    monkeypatch.setattr(text, "_BLOCK", block)
    path = write(HEADER + content)
    message = refusal(path)
    assert message.startswith(f"{path}, row {row}: ")
    assert re.search(rule, message), message


def test_header_with_a_stray_mark(write: Callable[..., Path]) -> None:
    assert "row 1: quotation marks must come in pairs" in refusal(write('us"er,item\n1,"2"\n3,4\n'))


@given(
    st.lists(st.sampled_from([b",", b'"', b"\n", b"\r", b"\xff", b"\0", b"\t", b"::", b"1", b"x"]), max_size=4),
    st.data(),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_file_is_read_or_refused(
    write: Callable[..., Path], insertions: list[bytes], data: st.DataObject
) -> None:
    content = b'userId,movieId,rating,timestamp\n1,10,4.0,5\n2,"a,b",3.0,6\n'
    for inserted in insertions:
        at = data.draw(st.integers(0, len(content)))
        content = content[:at] + inserted + content[at:]
    path = write(content)
    outcome = outcome_of(path)
    assert outcome.startswith(str(path))
    assert "\n" not in outcome
    assert not outcome.endswith(": []")
    # In small blocks it ends the same way, but that another of several faults may be named.
    # What a file looks like is told by its first block, so NUL is left out.
    if b"\0" not in content:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text, "_BLOCK", 8)
            again = outcome_of(path)
        assert again == outcome or not (again.endswith("]") or outcome.endswith("]"))


def outcome_of(path: Path) -> str:
    """What reading a file ends in: its rows, or the refusal."""
    try:
        read = read_dataset(path).interactions
    except NeucfError as error:
        return str(error)
    extra = [column.tolist() for column in (read.ratings, read.timestamps) if column is not None]
    named = [
        (read.user_ids[u], read.item_ids[i], *rest) for u, i, *rest in zip(read.users, read.items, *extra, strict=True)
    ]
    return f"{path}: {named}"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_row_is_named_far_down_a_file(write: Callable[..., Path], ending: str) -> None:
    lines = [HEADER.strip(), *(f"{row},7,3.5,{row}" for row in range(50_000))]
    lines[40_001] = "5,7,3.5"
    assert f"row {40_002}: a row must have 4 fields" in refusal(write(ending.join(lines)))


def test_double_colon_file_names_the_row(write: Callable[..., Path]) -> None:
    path = write("1::10::4::5\n1::11::4\n", "ratings.dat")
    assert f"{path}, row 2: a row must have 4 fields, as row 1 has; got 3" in refusal(path)


def test_bytes_that_are_not_utf8(write: Callable[..., Path]) -> None:
    path = write(b"user,item\nann,caf\xc3\xa9\nbob,caf\xe9\n")
    assert f"{path}, row 3: the text must be UTF-8; got the byte 0xe9" in refusal(path)
    path = write(b"us\xe9r,item\nann,1\n")
    assert f"{path}, row 1: the text must be UTF-8" in refusal(path)


def test_empty_file_and_header_only(write: Callable[..., Path]) -> None:
    assert "is empty" in refusal(write(""))
    assert "is empty" in refusal(write("\n\n"))
    assert "holds a header and no row" in refusal(write(HEADER))
    assert "is empty" in refusal(write("", "ratings.parquet"))
    assert "is empty" in refusal(write(b"", "ratings.csv.gz"))
    assert "is empty" in refusal(write(gzip.compress(b"", mtime=0), "ratings.csv.gz"))


def test_gzip_that_is_truncated_or_none(write: Callable[..., Path]) -> None:
    packed = gzip.compress((HEADER + "1,10,4.0,5\n" * 1000).encode())
    assert "truncated or damaged gzip" in refusal(write(packed[:-20], "ratings.csv.gz"))
    assert "truncated or damaged gzip" in refusal(write(packed[: len(packed) // 2], "ratings.csv.gz"))
    assert "is not the gzip file its name says" in refusal(write(HEADER + "1,2,3,4\n", "ratings.csv.gz"))


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (gzip.compress(b"user,item\n1,2\n", mtime=0), "a.csv", "a gzip file"),
        (b"PAR1 and more PAR1", "a.csv", "a Parquet file"),
        (b"PK\x03\x04 and more", "a.tsv", "a zip archive or a workbook"),
        (b"\xff\xfeu\x00s\x00", "a.csv", "UTF-16 text"),
        (b"<!DOCTYPE html><html>", "a.csv", "an HTML page"),
        (b'{"user": 1}\n', "a.csv", "JSON"),
        (b"\x01\x02\x00\x03\n", "a.csv", "a binary file"),
    ],
)
def test_text_file_that_is_something_else(write: Callable[..., Path], content: bytes, name: str, kind: str) -> None:
    assert kind in refusal(write(content, name))


def test_parquet_that_is_none(write: Callable[..., Path], tmp_path: Path) -> None:
    assert "is not the Parquet file its name says" in refusal(write(HEADER + "1,2,3,4\n", "ratings.parquet"))
    pl.DataFrame({"user": [1, 2], "item": [3, 4]}).write_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert "truncated Parquet" in refusal(write(whole[:-30], "cut.parquet"))
    damaged = whole[:8] + bytes(len(whole) - 16) + whole[-8:]
    assert "damaged Parquet" in refusal(write(damaged, "damaged.parquet"))


def test_parquet_values_name_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    good = {"user": ["a", "b", "c"], "item": [1, 2, 3], "rating": [1.0, 2.0, 3.0]}
    cases: list[tuple[dict[str, list[Any]], str]] = [
        ({"user": ["a", None, "c"]}, "row 2: the user id"),
        ({"user": ["a", "b", ""]}, "row 3: the user id"),
        ({"item": [1, 2, None]}, "row 3: the item id"),
        ({"rating": [1.0, float("nan"), 3.0]}, "row 2: the rating .* got nan"),
        ({"rating": [1.0, float("inf"), 3.0]}, "row 2: the rating .* got inf"),
        ({"rating": [None, 2.0, 3.0]}, "row 1: the rating .* got nothing"),
        ({"item": [1.0, 2.0, 3.0]}, "item column 'item' must hold integers or texts; got Float64"),
        ({"rating": [[1.0], [2.0], [3.0]]}, "rating column 'rating' must hold numbers"),
    ]
    for change, rule in cases:
        pl.DataFrame(good | change, strict=False).write_parquet(path)
        message = refusal(path)
        assert re.search(rule, message), message
    pl.DataFrame(good).clear().write_parquet(path)
    assert "no row" in refusal(path)


def test_columns(write: Callable[..., Path]) -> None:
    path = write("person,movieId\n1,2\n")
    assert "no column with a usual user name among person, movieId; name it with `user_col`" in refusal(path)
    assert "`user_col` must be a column of" in refusal(path, user_col="nobody")
    assert "must differ" in refusal(path, ConfigError, user_col="movieId")
    assert "column names must be distinct; got 'user' twice" in refusal(write("user,user,item\n1,2,3\n"))
    assert "no column with a usual item name" in refusal(write("userId\n1\n"))


def test_positions_need_a_file_without_a_header_line(write: Callable[..., Path]) -> None:
    path = write("Benutzer;Artikel;Note\n1;10;4\n2;11;5\n")
    message = refusal(path, user_col="1", item_col="2")
    assert message.startswith(f"{path}, row 1: ")
    assert "Benutzer, Artikel, Note" in message
    assert len(read_dataset(path, user_col="1", item_col="2", format="no-header").interactions) == 3


def test_a_mark_after_a_blank_is_named(write: Callable[..., Path]) -> None:
    assert "row 3: a quotation mark must follow" in refusal(write('user, item\n1, 9\n1, "10"\n'))


def test_a_mark_that_a_title_begins_with_is_no_mistake(write: Callable[..., Path]) -> None:
    items = write('item_id,title\n10,"""Heroes"" we, and others"\n', "items.csv")
    data = read_dataset(write("user,item\n1,10\n"), items=items)
    assert data.items is not None
    assert data.items["title"].to_list() == ['"Heroes" we, and others']


def test_an_item_file_of_other_items(write: Callable[..., Path]) -> None:
    items = write("item_id,title\n010,Alpha\n", "items.csv")
    message = refusal(write("user,item\n1,10\n"), items=items)
    assert "none of its 1 ids is among them, such as '010' beside '10'" in message


def test_numbers_without_a_header_are_not_guessed(write: Callable[..., Path]) -> None:
    message = refusal(write("1,10,4.0\n2,11,3.0\n"))
    assert "row 1: a header line is needed" in message
    assert "user_col=1" in message


def test_paths_and_names(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none.csv'} does not exist" in refusal(tmp_path / "none.csv")
    assert "none.csv does not exist" in refusal("none.csv")
    assert "the nearest name is ml-100k" in refusal("ml-100")
    assert "the names are ml-latest-small" in refusal("zzz")
    (tmp_path / "folder").mkdir()
    message = refusal(tmp_path / "folder")
    assert "is a folder of no known format" in message
    assert "ratings.csv" in message


def test_options(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(HEADER + "1,10,4.0,5\n")
    unrated = write("user,item\n1,10\n", "pairs.csv")
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (unrated, {"min_rating": 4}, "`min_rating` needs a column of ratings"),
        (path, {"min_rating": float("nan")}, "`min_rating` must be a finite number; got nan"),
        (path, {"k_core": 0}, "`k_core` must be at least 1; got 0"),
        (path, {"weight": "sum"}, "`weight` must be `count` or left out; got 'sum'"),
        (path, {"weight": "count", "weight_col": "rating"}, "exclude each other"),
        (path, {"sep": ",,"}, "`sep` must be"),
        (path, {"format": "excel"}, "`format` of a file must be one of table, .*; got 'excel'"),
        (tmp_path, {"format": "excel"}, "`format` of a folder must be one of .*; got 'excel'"),
        (path, {"format": "grouped", "user_col": "a"}, "`user_col` has no meaning for the format grouped"),
        (csr_array(np.eye(2)), {"user_col": "a"}, "`user_col` has no meaning for a sparse matrix"),
        (pl.DataFrame({"user": [1], "item": [2]}), {"sep": ","}, "`sep` has no meaning for data in memory"),
    ]
    for source, options, rule in cases:
        assert re.search(rule, refusal(source, ConfigError, **options))


def test_frames_and_matrices() -> None:
    assert "the frame, row 2: the user id" in refusal(pl.DataFrame({"user": [1, None], "item": [1, 2]}))
    assert "the frame, row 2: the user id" in refusal(pd.DataFrame({"user": ["a", None], "item": [1, 2]}))
    assert "the frame, row 1: the rating" in refusal(pd.DataFrame({"user": [1], "item": [1], "rating": [np.nan]}))
    assert "the frame holds no row" in refusal(
        pl.DataFrame({"user": [], "item": []}, schema={"user": int, "item": int})
    )
    assert "the frame cannot be read" in refusal(object())
    assert "the matrix at (1, 0): a stored value must be above 0" in refusal(csr_array(np.array([[1.0, 0], [-2, 1]])))
    assert "the matrix at (0, 1): a stored value" in refusal(csr_array(np.array([[1.0, np.nan], [0, 1]])))


def test_weights_are_above_zero(write: Callable[..., Path]) -> None:
    path = write("user,item,plays\n1,10,3\n1,11,0\n")
    assert "row 3: the weight ('plays') must be above 0; got 0;" in refusal(path, weight_col="plays")


def test_item_files(write: Callable[..., Path]) -> None:
    ratings = write("user,item\n1,10\n", "pairs.csv")
    assert "an item must stand once; got the item id '10'" in refusal(
        ratings, items=write("item,title\n10,A\n10,B\n", "items.csv")
    )
    assert "row 3: the item id" in refusal(ratings, items=write("item,title\n10,A\n,B\n", "items.csv"))
    assert "row 3: a row must have 2 fields" in refusal(ratings, items=write("item,title\n1,A\n2\n", "items.csv"))
    assert "no column with a usual item name" in refusal(ratings, items=write("a,b\n10,A\n", "items.csv"))
    assert "does not exist" in refusal(ratings, items="absent.csv")
    assert "movies.dat, row 2: a row must have 3 fields" in refusal(
        ratings, items=write("1::A::B\n2::C\n", "movies.dat")
    )
    assert "u.item, row 1: a row must have 24 fields" in refusal(ratings, items=write("1|A|B\n", "u.item"))
