"""Folders as the papers publish them: parts, order in time, given lists; hand-made ones and the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neucf.data.dataset import Dataset
from neucf.data.interactions import Interactions
from neucf.data.readers import read_dataset
from neucf.errors import DataError


def folder_of(root: Path, files: dict[str, str], name: str = "set") -> Path:
    folder = root / name
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_text(content, "latin-1")
    return folder


def externals(data: Interactions | None) -> list[tuple[int | str, int | str]]:
    assert data is not None
    return [(data.user_ids[u], data.item_ids[i]) for u, i in zip(data.users, data.items, strict=True)]


def lists_of(data: Dataset) -> dict[tuple[int | str, int | str], list[int | str]]:
    assert data.fixed is not None
    assert data.fixed.candidates is not None
    given = data.fixed.candidates
    users, items = data.interactions.user_ids, data.interactions.item_ids
    return {
        (users[u], items[p]): [items[n] for n in row if n >= 0]
        for u, p, row in zip(given.users, given.positives, given.negatives, strict=True)
    }


NCF = {
    "s.train.users": "0 1 2 3\n1 5\n",
    "s.test.rating": "0\t4\t5\t100\n1\t1\t5\t100\n",
    # User 0's list repeats 8 and holds its own positive 4; user 1's holds a train positive, 5.
    "s.test.negative": "(0,4)\t8\t9\t4\t8\n(1,1)\t9\t5\t7\t8\n",
    "s.chrono.users": "0 3 4 1 2\n1 1 5\n",
    "item_map.csv": "ncf_item,movielens_movie_id\n" + "".join(f"{item},{100 + item}\n" for item in range(10)),
    "movies.dat": "101::One (2001)::Drama|War\n105::Caf\xe9: Five (2005)::Comedy\n",
}


def test_ncf_with_history_and_titles(tmp_path: Path) -> None:
    data = read_dataset(folder_of(tmp_path, NCF))
    assert data.fixed is not None
    assert data.fixed.valid is None
    # All of chrono.users, in its order, the position in the history as time.
    assert externals(data.interactions) == [(0, 3), (0, 4), (0, 1), (0, 2), (1, 1), (1, 5)]
    assert data.interactions.timestamps is not None
    assert data.interactions.timestamps.tolist() == [0, 1, 2, 3, 0, 1]
    assert externals(data.fixed.train) == [(0, 3), (0, 1), (0, 2), (1, 5)]
    assert data.fixed.train.timestamps is not None
    assert data.fixed.train.timestamps.tolist() == [0, 2, 3, 1]
    assert externals(data.fixed.test) == [(0, 4), (1, 1)]
    assert list(data.interactions.item_ids) == list(range(10))
    assert data.items is not None
    assert data.items.row(1) == (1, "One", 2001, ["Drama", "War"])
    assert data.items.row(5) == (5, "Caf\xe9: Five", 2005, ["Comedy"])
    assert data.items.row(0) == (0, None, None, [])
    assert lists_of(data) == {(0, 4): [8, 9], (1, 1): [9, 7, 8]}
    assert (data.report.negatives_positive, data.report.negatives_repeated) == (2, 1)


def test_ncf_pairs_as_the_paper_publishes_them(tmp_path: Path) -> None:
    files = {
        "s.train.rating": "0\t1\t5\t30\n0\t2\t5\t10\n1\t5\t3\t20\n",
        "s.test.rating": NCF["s.test.rating"],
        "s.test.negative": NCF["s.test.negative"],
    }
    folder = folder_of(tmp_path, files)
    for data in (read_dataset(folder), read_dataset(folder / "s.train.rating", format="ncf")):
        assert data.fixed is not None
        assert externals(data.fixed.train) == [(0, 1), (0, 2), (1, 5)]
        assert data.fixed.train.timestamps is not None
        assert data.fixed.train.timestamps.tolist() == [30, 10, 20]
        assert externals(data.fixed.test) == [(0, 4), (1, 1)]
        # Items of the test and negative files belong to the vocabulary.
        assert list(data.interactions.item_ids) == [1, 2, 5, 4, 8, 9, 7]
        assert lists_of(data) == {(0, 4): [8, 9], (1, 1): [9, 7, 8]}
    one = read_dataset(folder / "s.train.rating").interactions
    assert externals(one) == [(0, 1), (0, 2), (1, 5)]


@pytest.mark.parametrize(
    ("file", "content", "rule"),
    [
        ("s.test.negative", "(0,4)\t8\n[1,1]\t9\n", r"s.test.negative, row 2: a line must be \(user,item\)"),
        ("s.test.negative", "(0,4)\t8\n(1,1)\n", r"s.test.negative, row 2: a line must be"),
        ("s.test.negative", "(0,4)\t8\n(1,2)\t9\n", "row 2: the pair that begins a line must be a row of"),
        ("s.train.users", "0 1 7\n", "each pair must stand in .*chrono.users; user 0, item 7 does not"),
        ("s.test.rating", "0\t4\t5\n1\t1\n", "s.test.rating, row 2: a row must have 3 fields"),
        ("s.chrono.users", "\n", "is empty"),
        ("t.train.users", "0 1\n", "holds several data sets"),
        ("item_map.csv", "a,b\n1,1\n1,2\n", "an item must stand once"),
    ],
)
def test_ncf_files_that_contradict(tmp_path: Path, file: str, content: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        read_dataset(folder_of(tmp_path, NCF | {file: content}))


def test_lightgcn(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"train.txt": "0 2 1\n1 3 \n2\n", "test.txt": "0 5\n3 1\n"})
    data = read_dataset(folder)
    assert data.fixed is not None
    assert externals(data.fixed.train) == [(0, 2), (0, 1), (1, 3)]
    assert externals(data.fixed.test) == [(0, 5), (3, 1)]
    assert len(data.interactions) == 5
    # A user without items is known, and so are users and items of the test file alone.
    assert list(data.interactions.user_ids) == [0, 1, 2, 3]
    assert list(data.interactions.item_ids) == [2, 1, 3, 5]
    assert data.interactions.timestamps is None
    assert data.fixed.candidates is None
    assert data.name == "set"
    assert read_dataset(folder, k_core=2).fixed is None


def test_parts_stay_disjoint_where_files_overlap(tmp_path: Path) -> None:
    data = read_dataset(folder_of(tmp_path, {"train.txt": "0 1 2 2\n", "test.txt": "0 2 3\n"}))
    assert data.fixed is not None
    assert externals(data.fixed.train) == [(0, 1)]
    assert externals(data.fixed.test) == [(0, 2), (0, 3)]
    assert data.report.duplicates == 2


def test_other_items_order_moves_the_given_lists(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, NCF)
    (tmp_path / "items.csv").write_text("item,title\n9,Nine\n8,Eight\n")
    data = read_dataset(folder, items=tmp_path / "items.csv")
    assert list(data.interactions.item_ids)[:3] == [9, 8, 0]
    assert lists_of(data) == {(0, 4): [8, 9], (1, 1): [9, 7, 8]}


def test_grouped_file(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"a.users": "ann tea jam\nbob tea\n", "b.txt": "0 1 2\n1 3\n"})
    assert externals(read_dataset(folder / "a.users").interactions) == [("ann", "tea"), ("ann", "jam"), ("bob", "tea")]
    assert externals(read_dataset(folder / "b.txt", format="grouped").interactions) == [(0, 1), (0, 2), (1, 3)]


def test_movielens_and_recbole_folders(tmp_path: Path) -> None:
    flags = "|".join(["0"] * 5 + ["1"] + ["0"] * 13)
    folders = [
        folder_of(
            tmp_path,
            {
                "ratings.csv": "userId,movieId,rating,timestamp\n1,20,5,9\n1,10,4,8\n",
                "movies.csv": "movieId,title,genres\n10,A,War\n20,Caf\xe9 (1999),Comedy\n".encode().decode("latin-1"),
            },
            "csv",
        ),
        folder_of(
            tmp_path,
            {"u.data": "1\t20\t5\t9\n1\t10\t4\t8\n", "u.item": f"10|A||||{flags}\n20|Caf\xe9 (1999)||||{flags}\n"},
            "tab",
        ),
        folder_of(
            tmp_path,
            {"ratings.dat": "1::20::5::9\n1::10::4::8\n", "movies.dat": "10::A::War\n20::Caf\xe9 (1999)::Comedy\n"},
            "dat",
        ),
        folder_of(
            tmp_path,
            {
                "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t20\t5\t9\n1\t10\t4\t8\n",
                "x.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
                "10\tA\t\tWar\n20\tCaf\xe9\t1999\tComedy\n".encode().decode("latin-1"),
            },
            "recbole",
        ),
    ]
    for folder in folders:
        data = read_dataset(folder)
        assert externals(data.interactions) == [(1, 20), (1, 10)]
        assert list(data.interactions.item_ids) == [10, 20]
        assert data.interactions.timestamps is not None
        assert data.interactions.timestamps.tolist() == [9, 8]
        assert data.items is not None
        assert data.items.row(1) == (20, "Caf\xe9", 1999, ["Comedy"])


@pytest.mark.data
def test_ncf_ml_1m(data_dir: Path) -> None:
    for source in ("ncf-ml-1m", data_dir / "ncf-ml-1m"):
        data = read_dataset(source)
        assert data.fixed is not None
        assert data.fixed.test is not None
        assert len(data.fixed.train) == 994_169
        assert len(data.fixed.test) == 6_040
        assert len(data.interactions) == 1_000_209
        assert (data.interactions.num_users, data.interactions.num_items) == (6_040, 3_706)
    assert data.fixed.candidates is not None
    negatives = data.fixed.candidates.negatives
    assert negatives.shape == (6_040, 99)
    lost = (negatives < 0).sum(axis=1)
    assert (lost == 1).sum() == 156
    assert lost.sum() == data.report.negatives_positive == 156
    assert data.report.negatives_repeated == 0
    assert not (negatives == data.fixed.candidates.positives[:, None]).any()
    assert data.items is not None
    assert data.items.row(0) == (0, "One Flew Over the Cuckoo's Nest", 1975, ["Drama"])
    assert data.items["title"].null_count() == 0
    # The train rows are those of the published file, whatever their order.
    line = (data_dir / "ncf-ml-1m" / "ml-1m.train.users").read_text().splitlines()[17].split()
    mine = data.fixed.train.items[data.fixed.train.users == data.interactions.user_ids.index(int(line[0]))]
    assert sorted(map(int, line[1:])) == sorted(data.interactions.item_ids[item] for item in mine)
    assert data.fixed.train.timestamps is not None
    steps = np.diff(data.fixed.train.timestamps)[np.diff(data.fixed.train.users) == 0]
    assert (steps > 0).all()


@pytest.mark.data
def test_gowalla(data_dir: Path) -> None:
    data = read_dataset("gowalla")
    assert data.fixed is not None
    assert data.fixed.test is not None
    assert (data.interactions.num_users, data.interactions.num_items) == (29_858, 40_981)
    assert (len(data.fixed.train), len(data.fixed.test)) == (810_128, 217_242)
    assert len(data.interactions) == 810_128 + 217_242
    line = (data_dir / "gowalla" / "test.txt").read_text().splitlines()[0].split()
    assert externals(data.fixed.test.take(data.fixed.test.users == 0)) == [(0, int(item)) for item in line[1:]]
