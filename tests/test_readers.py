"""Reading: every kind of source, ids, order of merging, threshold and k-core, vocabularies, titles; the real sets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array

from neucf.data import encoding
from neucf.data.dataset import Dataset
from neucf.data.filtering import core
from neucf.data.interactions import Interactions
from neucf.data.readers import read, read_dataset
from neucf.data.titles import split_year
from neucf.errors import DataError, NeucfError

ROWS = [("ann", "tea", 4.5, 30), ("bob", "tea", 2.0, 10), ("ann", "jam", 3.0, 20)]


@settings(deadline=None)
@given(
    ids=st.lists(st.lists(st.integers(-128, 127), min_size=1), min_size=1, max_size=4),
    shift=st.sampled_from(
        [(0, pl.Int8), (2**63 - 128, pl.Int64), (2**64 - 128, pl.UInt64), (-(2**63) + 128, pl.Int64)]
    ),
    room=st.sampled_from([0, 1 << 20]),
    kind=st.sampled_from(["integers", "texts", "categories"]),
)
def test_ids_are_numbered_by_first_appearance(ids, shift, room, kind):
    by, dtype = shift
    chunks = [pl.Series("id", [value + by for value in chunk], dtype=dtype) for chunk in ids]
    series = pl.concat(chunks, rechunk=False)
    if kind != "integers":
        series = series.cast(pl.String)
    if kind == "categories":
        series = series.cast(pl.Categorical(pl.Categories.random()))
    expected: dict[str, int] = {}
    numbers = [expected.setdefault(str(value), len(expected)) for value in series.to_list()]
    with pytest.MonkeyPatch.context() as patch:
        # Both ways, by a table and by joins; and joins in more than one block.
        patch.setattr(encoding, "_ROOM", room)
        patch.setattr(encoding, "_BLOCK", 3)
        found, distinct = encoding.encode(series)
    assert (found.tolist(), found.dtype, distinct.to_list()) == (numbers, np.int32, list(expected))


def externals(data: Interactions) -> list[tuple[Any, Any]]:
    return [(data.user_ids[u], data.item_ids[i]) for u, i in zip(data.users, data.items, strict=True)]


def check_rows(data: Dataset) -> None:
    """Whether the three rows above were read, whatever the source."""
    got = data.interactions
    assert externals(got) == [("ann", "tea"), ("bob", "tea"), ("ann", "jam")]
    assert got.ratings is not None
    assert got.timestamps is not None
    assert got.ratings.tolist() == [4.5, 2.0, 3.0]
    assert got.timestamps.tolist() == [30, 10, 20]
    assert (got.users.dtype, got.ratings.dtype, got.timestamps.dtype) == (np.int32, np.float64, np.int64)
    assert list(got.user_ids) == ["ann", "bob"]
    assert list(got.item_ids) == ["tea", "jam"]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def writer(content: str, name: str = "ratings.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
        return path

    return writer


@pytest.mark.parametrize(
    ("name", "sep", "header"),
    [
        ("a.csv", ",", ["userId", "movieId", "rating", "timestamp"]),
        ("a.csv.gz", ",", ["user_id", "item_id", "rating", "timestamp"]),
        ("a.tsv", "\t", ["User ID", "Item ID", "Rating", "Time"]),
        ("a.inter", "\t", ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]),
        ("a.dat", "::", ["uid", "iid", "stars", "ts"]),
        ("a.txt", ";", ["reviewerID", "asin", "overall", "unixReviewTime"]),
        ("a", "|", ["user", "item", "score", "date"]),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_text_files(write: Callable[..., Path], name: str, sep: str, header: list[str], ending: str) -> None:
    lines = [sep.join(header), *(sep.join(map(str, row)) for row in ROWS)]
    check_rows(read_dataset(write(ending.join(lines) + ending, name)))
    check_rows(read_dataset(write("\ufeff" + ending.join(lines) + ending * 3, name)))


def test_columns_in_other_order_among_others(write: Callable[..., Path]) -> None:
    path = write('when,note,what,who,mark\n30,a,tea,ann,4.5\n10,,tea,bob,2\n20,"x,""y""",jam,ann,3\n')
    data = read_dataset(path, user_col="who", item_col="what", rating_col="mark", time_col="when")
    check_rows(data)
    assert data.name == "ratings"
    assert data.settings["user_col"] == "who"


def test_empty_last_column_is_no_short_row(write: Callable[..., Path]) -> None:
    check_rows(read_dataset(write("user,item,rating,time,note\nann,tea,4.5,30,\nbob,tea,2,10,x\nann,jam,3,20,\n")))
    quoted = 'user,item,rating,time,note\nann,tea,4.5,30,\n\nbob,"tea",2,10,x\nann,jam,3,20,\n'
    check_rows(read_dataset(write(quoted)))


def test_blank_lines_and_quoted_line_breaks(write: Callable[..., Path]) -> None:
    check_rows(read_dataset(write("user, item ,rating,time\n\n\nann,tea,4.5,30\n\nbob,tea,2,10\nann,jam,3,20\n\n")))
    path = write('user,item,note\n\nann,tea,"a\nb"\nbob,"tea\ncup",""\n')
    assert externals(read(path)) == [("ann", "tea"), ("bob", "tea\ncup")]


def test_columns_by_position_mean_no_header(write: Callable[..., Path]) -> None:
    path = write("30,ann,tea,4.5\n10,bob,tea,2\n20,ann,jam,3\n")
    check_rows(read_dataset(path, user_col="2", item_col="3", rating_col="4", time_col="1"))
    path = write("ann tea 4.5 30\nbob tea 2 10\nann jam 3 20\n")
    check_rows(read_dataset(path, format="no-header"))


def test_movielens_files_have_no_header(write: Callable[..., Path]) -> None:
    for content, name in (("7\t3\t5\t88\n8\t3\t1\t90\n", "u.data"), ("7::3::5::88\n8::3::1::90\n", "ratings.dat")):
        data = read_dataset(write(content, name)).interactions
        assert externals(data) == [(7, 3), (8, 3)]
        assert data.ratings is not None
        assert data.ratings.tolist() == [5, 1]


def test_parquet_and_frames(tmp_path: Path) -> None:
    frame = pl.DataFrame(ROWS, schema=["user", "item", "rating", "time"], orient="row")
    frame.write_parquet(tmp_path / "a.parquet")
    check_rows(read_dataset(tmp_path / "a.parquet"))
    check_rows(read_dataset(str(tmp_path / "a.parquet"), format="table"))
    check_rows(read_dataset(frame))
    check_rows(read_dataset(frame.lazy()))
    check_rows(read_dataset(frame.with_columns(pl.col("user", "item").cast(pl.Categorical))))
    plain = frame.to_dict(as_series=False)
    check_rows(read_dataset(pd.DataFrame(plain)))
    check_rows(read_dataset(pd.DataFrame(plain, index=[9, 9, 9]).astype({"user": "category", "rating": "Float64"})))
    check_rows(read_dataset(pa.table(plain)))


def test_sparse_matrix() -> None:
    dense = np.array([[0, 2.0, 0], [1, 0, 0], [0, 0, 0]])
    for matrix in (csr_array(dense), coo_array(dense)):
        data = read(matrix)
        assert externals(data) == [(0, 1), (1, 0)]
        assert data.weights is not None
        assert data.weights.tolist() == [2, 1]
        assert (data.num_users, data.num_items) == (3, 3)
    assert read(csr_array((dense > 0).astype(float))).weights is None


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["7", "-3", "0"], [7, -3, 0]),
        (["7", "007"], ["7", "007"]),
        (["7", "+7"], ["7", "+7"]),
        (["7", "-0"], ["7", "-0"]),
        (["7", "7.0"], ["7", "7.0"]),
        (["7", " 8", "9 "], [7, 8, 9]),
        (["a", " a b "], ["a", "a b"]),
        (["9223372036854775807", "1"], [9223372036854775807, 1]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["7", "\u0667"], ["7", "\u0667"]),
        (["nan", "null", "None"], ["nan", "null", "None"]),
    ],
)
def test_ids_are_integers_only_where_all_are_canonical(
    write: Callable[..., Path], ids: list[str], kept: list[int | str]
) -> None:
    data = read(write("user,item\n" + "".join(f"{name},x\n" for name in ids)))
    assert list(data.user_ids) == kept


def test_large_unsigned_ids_of_a_frame_stay_exact() -> None:
    ids = [2**64 - 1, 5]
    frame = pl.DataFrame({"user": ids, "item": [1, 2]}, schema={"user": pl.UInt64, "item": pl.Int8})
    assert list(read(frame).user_ids) == ["18446744073709551615", "5"]


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=20))
def test_ids_round_trip(pairs: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(pairs, schema=["user", "item"], orient="row")
    data = read(frame)
    distinct = list(dict.fromkeys(reversed(pairs)))[::-1]
    assert [(str(user), str(item)) for user, item in externals(data)] == distinct


def test_duplicates_merge_before_the_threshold(write: Callable[..., Path]) -> None:
    path = write(
        "user,item,rating,time\n"
        "1,10,5,100\n"  # superseded in time by row 4
        "1,11,2,100\n"  # superseded on a tie by row 6
        "2,10,4,100\n"
        "1,10,1,200\n"  # the latest, so the pair is no positive
        "1,10,5,150\n"
        "1,11,4,100\n"
    )
    data = read_dataset(path, min_rating=4)
    assert externals(data.interactions) == [(2, 10), (1, 11)]
    assert externals(data.below_threshold) == [(1, 10)]
    assert data.below_threshold.ratings is not None
    assert data.below_threshold.ratings.tolist() == [1]
    report = data.report
    assert (report.rows, report.duplicates, report.below_threshold, report.positives) == (6, 3, 1, 2)


def test_without_times_the_later_row_stays(write: Callable[..., Path]) -> None:
    data = read(write("user,item,rating\n1,10,5\n2,10,3\n1,10,4\n"))
    assert externals(data) == [(2, 10), (1, 10)]
    assert data.ratings is not None
    assert data.ratings.tolist() == [3, 4]


def test_weights(write: Callable[..., Path]) -> None:
    path = write("user,item,plays\n1,10,5\n2,10,3\n1,10,4\n1,10,2\n1,11,1\n")
    given_weights = read(path, weight_col="plays").weights
    assert given_weights is not None
    assert given_weights.tolist() == [3, 2, 1]
    counts = read(path, weight="count").weights
    assert counts is not None
    assert counts.tolist() == [1, 3, 1]
    assert read(path).weights is None


def test_threshold_meets_the_exact_value(write: Callable[..., Path]) -> None:
    path = write("user,item,rating\n1,10,3.5\n1,11,3.4999999999\n1,12,4\n")
    assert externals(read(path, min_rating=3.5)) == [(1, 10), (1, 12)]
    assert externals(read(path, min_rating=3.4999999999)) == [(1, 10), (1, 11), (1, 12)]


def test_k_core_comes_last_and_vocabularies_keep_everyone(write: Callable[..., Path]) -> None:
    # User 3 falls (one positive), then item 12 (one positive left), then user 4.
    pairs = ["1,10", "1,11", "2,10", "2,11", "3,12", "4,12", "4,10"]
    path = write("user,item,rating\n" + "".join(f"{pair},5\n" for pair in pairs) + "9,10,1\n9,11,1\n")
    data = read_dataset(path, min_rating=2, k_core=2)
    assert externals(data.interactions) == [(1, 10), (1, 11), (2, 10), (2, 11)]
    assert list(data.interactions.user_ids) == [1, 2, 3, 4, 9]
    assert list(data.interactions.item_ids) == [10, 11, 12]
    assert (data.report.below_threshold, data.report.below_k_core, data.report.positives) == (2, 3, 4)
    assert data.below_threshold.user_ids is data.interactions.user_ids


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), unique=True), st.integers(1, 4))
def test_core_is_the_largest_with_enough(pairs: list[tuple[int, int]], k: int) -> None:
    left = list(pairs)
    while True:  # the plain definition, one row at a time
        users, items = [user for user, _ in left], [item for _, item in left]
        poor = next((p for p in left if users.count(p[0]) < k or items.count(p[1]) < k), None)
        if poor is None:
            break
        left.remove(poor)
    array = np.array(pairs, np.int32).reshape(-1, 2)
    remains = core(array[:, 0], array[:, 1], k)
    assert [pair for pair, stays in zip(pairs, remains, strict=True) if stays] == left


def test_times_of_all_kinds(write: Callable[..., Path]) -> None:
    def times(*values: str) -> list[int]:
        data = read(write("user,item,time\n" + "".join(f"{row},1,{value}\n" for row, value in enumerate(values))))
        assert data.timestamps is not None
        return data.timestamps.tolist()

    assert times("5", "-3") == [5, -3]
    assert times("881250949.0", "5.0") == [881250949, 5]
    assert times("0.5", "2") == [500_000, 2_000_000]
    assert times("1970-01-01 00:00:01", "1970-01-02 00:00:00") == [1_000_000, 86_400_000_000]
    assert times("1970-01-01T00:00:01Z", "1970-01-02T00:00:00Z") == [1_000_000, 86_400_000_000]
    assert times("2020/01/02", "2020/01/03")[0] == 1_577_923_200_000_000
    stamps = pd.DataFrame({"user": [1], "item": [1], "time": pd.to_datetime(["1970-01-01 00:00:01"])})
    assert read(stamps).timestamps.tolist() == [1_000_000]  # type: ignore[union-attr]
    assert read(stamps, time_col="").timestamps is None


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (["1600000000000000.5", "1600000000000001.5"], 1),
        (["1", "9223372036854775808.5"], 2),
        (["02/01/2020", "03/01/2020"], 1),
    ],
)
def test_times_that_nobody_could_tell_are_refused(values: list[str], row: int, write: Callable[..., Path]) -> None:
    file = write("user,item,time\n" + "".join(f"{at},1,{value}\n" for at, value in enumerate(values)))
    with pytest.raises(DataError, match=rf"row {row + 1}: the time \('time'\) must be a number or an ISO date"):
        read(file)


def test_a_plan_whose_rows_have_no_order_keeps_pairs_together() -> None:
    numbers = np.arange(5000)
    plan = pl.LazyFrame({"user": numbers, "item": numbers}).unique()
    data = read(plan)
    assert len(data) == 5000
    assert all(user == item for user, item in externals(data))


def test_ratings_of_32_bits_meet_the_threshold_as_their_decimals_do(tmp_path: Path) -> None:
    ratings = [2.3, 3.3, 4.1, 4.3, 2.2]
    frame = pl.DataFrame({"user": range(5), "item": range(5), "rating": ratings}).cast({"rating": pl.Float32})
    frame.write_parquet(tmp_path / "x.PARQUET")
    for threshold in ratings:
        expected = [rating for rating in ratings if rating >= threshold]
        assert read(tmp_path / "x.PARQUET", min_rating=threshold).ratings.tolist() == expected  # type: ignore[union-attr]


def test_columns_by_position_take_the_first_row_for_a_row(write: Callable[..., Path]) -> None:
    file = write("2,1,web\n7,3,app\n8,4,web\n")
    for one, two in (("1", "2"), (1, 2)):
        assert externals(read(file, user_col=one, item_col=two)) == [(2, 1), (7, 3), (8, 4)]


def test_weights_are_used_when_asked_for(write: Callable[..., Path]) -> None:
    file = write("user,item,weight\na,b,3\n")
    assert read(file).weights is None
    assert read(file, weight_col="weight").weights.tolist() == [3]  # type: ignore[union-attr]


def test_categories_are_the_texts_they_stand_for() -> None:
    frame = pl.DataFrame({"user": ["a"], "item": ["b"], "rating": ["4"], "time": ["5"]}).cast(pl.Categorical)
    data = read(frame)
    assert (data.ratings.tolist(), data.timestamps.tolist()) == ([4], [5])  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", ["", "   ", "\t", "\r\n ", "\n\n", " \n"])
@pytest.mark.parametrize("sep", [",", "\t", "::"])
def test_a_file_ends_as_it_likes(write: Callable[..., Path], sep: str, ending: str) -> None:
    path = write(f"user{sep}item\nann{sep}tea\nbob{sep}jam\n{ending}")
    if sep in ending:
        with pytest.raises(DataError, match="row 4"):
            read(path)
        return
    assert externals(read(path)) == [("ann", "tea"), ("bob", "jam")]


def test_only_blanks_outside_of_quotation_marks_hide_one(write: Callable[..., Path]) -> None:
    # In a column that nobody takes it does no harm.
    assert externals(read(write('user,item,note\nann,tea, "nice"\n'))) == [("ann", "tea")]
    assert externals(read(write('user,item\nbob," ""jam"" "\n'))) == [("bob", '"jam"')]


def test_blanks_around_fields_belong_to_no_id(write: Callable[..., Path]) -> None:
    data = read(write("user, item, rating\n1, 10, 5 \n1 ,11,4\n"))
    assert externals(data) == [(1, 10), (1, 11)]
    assert data.ratings.tolist() == [5, 4]  # type: ignore[union-attr]


def test_header_cells_that_are_empty_name_nothing(write: Callable[..., Path]) -> None:
    assert externals(read(write("user,item,,\na,b,,\n"))) == [("a", "b")]


def test_positives_below_the_k_core_are_kept_apart() -> None:
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("a", "z")]
    data = read_dataset(pl.DataFrame(rows, schema=["user", "item"], orient="row"), k_core=2)
    assert externals(data.interactions) == rows[:4]
    assert externals(data.below_k_core) == rows[4:]
    assert len(data.below_threshold) == 0


def test_times_of_other_types() -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": [1, 1], "time": [2**63, 5]}, schema_overrides={"time": pl.UInt64})
    with pytest.raises(DataError, match="must be a number"):
        read(frame)
    exact = frame.with_columns(time=pl.Series(["1.5", "2"]).cast(pl.Decimal(10, 2)))
    assert read(exact).timestamps.tolist() == [1_500_000, 2_000_000]  # type: ignore[union-attr]


def test_item_file_is_the_catalogue_in_its_order(write: Callable[..., Path]) -> None:
    ratings = write("user,item\n1,30\n1,99\n2,10\n2,98\n", "pairs.csv")
    items = write(
        'movieId,title,genres\n10,"Tea, The (1995)",Drama|War\n20,Jam,(no genres listed)\n30,Rye (2001) ,War\n'
    )
    data = read_dataset(ratings, items=items)
    # Items the file lacks follow in order of first appearance.
    assert list(data.interactions.item_ids) == [10, 20, 30, 99, 98]
    assert externals(data.interactions) == [(1, 30), (1, 99), (2, 10), (2, 98)]
    assert data.items is not None
    assert data.items.rows() == [
        (10, "Tea, The", 1995, ["Drama", "War"]),
        (20, "Jam", None, []),
        (30, "Rye", 2001, ["War"]),
        (99, None, None, []),
        (98, None, None, []),
    ]


def test_item_file_from_parquet_with_a_year(tmp_path: Path, write: Callable[..., Path]) -> None:
    frame = pl.DataFrame({"item_id": [2, 1], "title": ["B", "A"], "year": [1999, None], "genres": [["x"], None]})
    frame.write_parquet(tmp_path / "items.parquet")
    data = read_dataset(write("user,item\n5,1\n"), items=tmp_path / "items.parquet")
    assert data.items is not None
    assert data.items.rows() == [(2, "B", 1999, ["x"]), (1, "A", None, [])]


@pytest.mark.parametrize(("text", "year"), [("1999.0", 1999), (" 1999", 1999), ("99999999999", None), ("²", None)])
def test_only_what_may_be_a_year_is_one(text: str, year: int | None, write: Callable[..., Path]) -> None:
    data = read_dataset(write("user,item\n5,1\n"), items=write(f"item_id,title,year\n1,A,{text}\n2,B,x\n", "i.csv"))
    assert data.items is not None
    assert data.items["year"].to_list() == [year, None]


def test_a_blank_title_is_none(write: Callable[..., Path]) -> None:
    data = read_dataset(write("user,item\n5,1\n"), items=write('item_id,title,year\n1," ",1960\n2,"",\n', "i.csv"))
    assert data.items is not None
    assert data.items["title"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Toy Story (1995) ", "Toy Story", 1995),
        ("City of Lost Children, The (Cité, La) (1995)", "City of Lost Children, The (Cité, La)", 1995),
        ("Land Before Time III (1995) (V)", "Land Before Time III", 1995),
        ("Death Note (2006\u20132007)", "Death Note", 2006),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("1984", "1984", None),
        ("Babylon 5", "Babylon 5", None),
    ],
)
def test_year_is_parsed_out_of_the_title(text: str, title: str, year: int | None) -> None:
    assert split_year(text) == (title, year)


@pytest.mark.data
def test_ml_latest_small(data_dir: Path) -> None:
    data = read_dataset("ml-latest-small")
    assert data.report.rows == 100_836
    assert data.report.positives == len(data.interactions) == 48_580
    assert (data.interactions.num_users, data.interactions.num_items) == (610, 9_742)
    first = (data_dir / "ml-latest-small" / "ratings.csv").read_text().splitlines()[1].split(",")
    assert externals(data.interactions)[0] == (int(first[0]), int(first[1]))
    assert data.items is not None
    assert data.items.row(0)[1:] == ("Toy Story", 1995, ["Adventure", "Animation", "Children", "Comedy", "Fantasy"])
    # The path means the file as it is; the name brings the threshold of the lecture.
    assert len(read(data_dir / "ml-latest-small")) == 100_836
    assert len(read("ml-latest-small", min_rating=0.5)) == 100_836


@pytest.mark.data
def test_ml_100k(data_dir: Path) -> None:
    data = read_dataset("ml-100k")
    assert len(data.interactions) == 100_000
    assert (data.interactions.num_users, data.interactions.num_items) == (943, 1_682)
    assert externals(data.interactions)[0] == (196, 242)
    assert data.items is not None
    assert data.items.row(0) == (1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"])
    assert len(read(data_dir / "ml-100k" / "ua.base")) == 90_570


@pytest.mark.parametrize("kind", ["object", "category", "Float64"])
def test_ids_that_gaps_made_fractions_of_are_refused(kind: str) -> None:
    frame = pd.DataFrame({"user": pd.Series([52.0, 53.0], dtype=kind), "item": ["a", "b"], "rating": [4.0, 3.5]})
    with pytest.raises(DataError, match="must hold integers or texts; got Float64"):
        read(frame)
    ratings = read(frame.rename(columns={"user": "rating", "rating": "user"}).astype({"user": str})).ratings
    assert ratings is not None
    assert ratings.tolist() == [52, 53]


@pytest.mark.parametrize("ids", [[b"a", b"b"], [(1,), (2,)], [True, "b"], [1.5, "b"]])
def test_objects_that_are_no_ids_are_not_written_as_texts(ids: list[Any]) -> None:
    with pytest.raises(DataError, match="the column 'user' must"):
        read(pd.DataFrame({"user": pd.Series(ids, dtype=object), "item": ["a", "b"]}))


def test_a_place_stored_twice_is_added_up_in_every_form() -> None:
    twice = csr_array((np.ones(3), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 3))
    for matrix in (twice, twice.tocoo()):
        for data in (read(matrix), Interactions.from_csr(matrix)):
            assert data.csr().toarray().tolist() == [[0, 2, 0], [1, 0, 0]]
    assert twice.nnz == 3


@pytest.mark.parametrize(
    ("source", "options", "rule"),
    [
        (None, {"min_rating": "4"}, "`min_rating` must be a finite number; got '4'"),
        (None, {"k_core": 2.5}, "`k_core` must be at least 1; got 2.5"),
        (None, {"items": pl.DataFrame()}, "`items` must be the path of a file; got DataFrame"),
        (None, {"events": []}, "`events` must be a polars DataFrame"),
        (pd.Series([1]), {}, "the frame cannot be read"),
        (coo_array(np.array([1, 2])), {}, r"`matrix` must be a SciPy sparse matrix \(U, I\); got shape \(2,\)"),
    ],
)
def test_what_is_of_another_type_is_named(source: Any, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(NeucfError, match=rule):
        read_dataset(pl.DataFrame({"user": [1], "item": [2], "rating": [3]}) if source is None else source, **options)
