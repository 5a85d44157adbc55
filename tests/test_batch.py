from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from neucf.data.interactions import Interactions
from neucf.errors import ConfigError, UnknownIdError
from neucf.models import MODELS, Model
from neucf.serving import Service, batch, write_recommendations

SUFFIXES = ["parquet", "csv", "jsonl"]


def popularity(user_ids: Any = ("u", "v", "w"), item_ids: Any = (5, 2**53 + 1, 7)) -> Model:
    # Item 5 has two interactions, the next one, the last none; the third user has no history.
    train = Interactions.from_arrays([0, 1, 0], [0, 0, 1], user_ids=user_ids, item_ids=item_ids)
    return MODELS["popularity"]().fit(train)


EXPECTED = [
    ("u", 7, 1, 0.0, None),
    ("v", 2**53 + 1, 1, 1.0, None),
    ("v", 7, 2, 0.0, None),
    ("w", 5, 1, 2.0, "popularity"),
    ("w", 2**53 + 1, 2, 1.0, "popularity"),
]
COLUMNS = ["user_id", "item_id", "rank", "score", "fallback"]


@pytest.fixture(params=[1 << 20, 2, 1])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(batch, "TILE_ROWS", request.param)
    return int(request.param)


@pytest.mark.usefixtures("tile")
def test_parquet_keeps_the_types_of_the_ids(tmp_path: Path) -> None:
    assert write_recommendations(popularity(), tmp_path / "out.parquet", 2) == 5
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.rows() == EXPECTED
    assert found.schema == dict(zip(COLUMNS, [pl.String, pl.Int64, pl.Int32, pl.Float32, pl.String], strict=True))


@pytest.mark.usefixtures("tile")
def test_csv_has_one_header(tmp_path: Path) -> None:
    assert write_recommendations(popularity(), tmp_path / "out.csv", 2) == 5
    with open(tmp_path / "out.csv", newline="") as handle:
        header, *rows = csv.reader(handle)
    assert header == COLUMNS
    assert [
        (user, int(item), int(rank), float(score), fallback or None) for user, item, rank, score, fallback in rows
    ] == EXPECTED


@pytest.mark.usefixtures("tile")
def test_jsonl_writes_large_integers_as_texts(tmp_path: Path) -> None:
    assert write_recommendations(popularity(), tmp_path / "out.jsonl", 2) == 5
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [COLUMNS] * 5
    text = {2**53 + 1: str(2**53 + 1)}
    assert [tuple(line.values()) for line in lines] == [(u, text.get(i, i), *rest) for u, i, *rest in EXPECTED]


def test_jsonl_writes_integers_within_the_limit_as_numbers(tmp_path: Path) -> None:
    model = popularity(user_ids=[2**53, -(2**53), -1], item_ids=["ä", 'b"', "c\n"])
    write_recommendations(model, tmp_path / "out.jsonl", 1)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["user_id"], line["item_id"]) for line in lines] == [(2**53, "c\n"), (-(2**53), 'b"'), (-1, "ä")]
    wide = popularity(user_ids=[-(2**63), 2**63 - 1, 3])
    write_recommendations(wide, tmp_path / "out.jsonl", 1)
    users = [json.loads(line)["user_id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert users == [str(-(2**63)), str(2**63 - 1), 3]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tiles_change_nothing(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    train = Interactions.from_arrays(
        rng.integers(0, 40, 200), rng.integers(0, 30, 200), user_ids=range(50), item_ids=range(30)
    )
    model = MODELS["popularity"]().fit(train)
    whole, tiled = tmp_path / f"whole.{suffix}", tmp_path / f"tiled.{suffix}"
    write_recommendations(model, whole, 7)
    monkeypatch.setattr(batch, "TILE_ROWS", 21)
    write_recommendations(model, tiled, 7)
    if suffix == "parquet":
        assert pl.read_parquet(whole).equals(pl.read_parquet(tiled))
    else:
        assert whole.read_bytes() == tiled.read_bytes()


def test_a_file_says_what_single_answers_say(tmp_path: Path) -> None:
    service = Service(popularity())
    write_recommendations(service, tmp_path / "out.parquet", 3, mask="none")
    found = pl.read_parquet(tmp_path / "out.parquet")
    for answer in service.recommend(["u", "v", "w"], 3, mask="none"):
        rows = found.filter(user_id=answer.user_id)
        assert rows["item_id"].to_list() == [item.item_id for item in answer.items]
        assert rows["score"].to_list() == [item.score for item in answer.items]
        assert set(rows["fallback"]) == {answer.fallback}


def test_progress_counts_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "TILE_ROWS", 4)
    seen: list[tuple[int, int]] = []
    write_recommendations(
        popularity(), tmp_path / "out.csv", 2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(2, 3), (3, 3)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_users_give_a_file_without_rows(tmp_path: Path, suffix: str) -> None:
    model = MODELS["popularity"]().fit(Interactions.from_arrays([0], [0], item_ids=["a"]))
    path = tmp_path / f"out.{suffix}"
    assert write_recommendations(model, path, 1, user_ids=[]) == 0
    assert path.read_text() == ",".join(COLUMNS) + "\n" if suffix == "csv" else path.exists()
    if suffix == "parquet":
        assert pl.read_parquet(path).columns == COLUMNS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "TILE_ROWS", 2)
    path = tmp_path / f"out.{suffix}"
    path.write_text("yesterday's")

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recommendations(popularity(), path, 2, progress=interrupt)
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out", "out.txt", "out.csv.gz", "folder.csv"])
def test_another_suffix_or_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match=r"`out` must be a file that ends in \.parquet, \.csv, \.jsonl; got"):
        write_recommendations(popularity(), tmp_path / name, 2)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.csv"]


def test_k_and_the_place_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`k` must be in 1\.\.3"):
        write_recommendations(popularity(), tmp_path / "out.csv", 0)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="`out` must be writable"):
        write_recommendations(popularity(), tmp_path / "file" / "out.csv", 1)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_recommendations(popularity(), tmp_path / "a" / "b" / "out.csv", 1)
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["out.csv"]


@pytest.mark.usefixtures("tile")
def test_some_users_come_in_the_order_asked(tmp_path: Path) -> None:
    assert write_recommendations(popularity(), tmp_path / "out.parquet", 2, user_ids=["w", "u"]) == 3
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == [*EXPECTED[3:], EXPECTED[0]]
    with pytest.raises(UnknownIdError, match="nobody"):
        write_recommendations(popularity(), tmp_path / "out.parquet", 2, user_ids=["u", "nobody"])
