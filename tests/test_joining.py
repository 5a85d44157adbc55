"""Training on a file and the events together."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from neucf.artifacts import open_run
from neucf.data.readers import read_dataset
from neucf.data.splitting import split
from neucf.errors import DataError
from neucf.serving.database import default_url
from neucf.serving.events import Event, EventStore

Call = Callable[..., Any]
ROWS = pl.DataFrame(
    {"user_id": [1, 1, 2, 3], "item_id": [10, 20, 10, 30], "rating": [5.0, 2.0, 4.0, 3.0], "time": [100, 200, 300, 400]}
)


def events(*rows: tuple[str, str, float | None, int]) -> pl.DataFrame:
    schema = {"user_id": pl.String, "item_id": pl.String, "value": pl.Float64, "timestamp": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def triples(data: Any) -> list[tuple[Any, Any, float]]:
    """Returns (user id, item id, rating) of each row, in order."""
    users, items, ratings = (getattr(data, name) for name in ("users", "items", "ratings"))
    return [
        (data.user_ids[user], data.item_ids[item], float(rating))
        for user, item, rating in zip(users, items, ratings, strict=True)
    ]


def test_events_follow_the_rows_and_meet_the_threshold() -> None:
    joined = read_dataset(
        ROWS, min_rating=3, events=events(("9", "20", None, 500), ("2", "30", 1.0, 501), ("9", "10", 4.5, 502))
    )
    assert triples(joined.interactions) == [(1, 10, 5), (2, 10, 4), (3, 30, 3), (9, 20, 3), (9, 10, 4.5)]
    assert triples(joined.below_threshold) == [(1, 20, 2), (2, 30, 1)]
    assert list(joined.interactions.user_ids) == [1, 2, 3, 9]
    assert list(joined.interactions.item_ids) == [10, 20, 30]
    assert joined.interactions.timestamps is not None
    assert joined.interactions.timestamps.tolist() == [100, 300, 400, 500, 502]
    assert (joined.report.rows, joined.report.events, joined.report.events_unknown) == (7, 3, 0)


def test_an_event_wins_over_an_older_row_of_the_pair_and_loses_to_a_later_one() -> None:
    joined = read_dataset(ROWS, events=events(("1", "10", 1.0, 150), ("2", "10", 1.0, 250)))
    assert triples(joined.interactions) == [(1, 20, 2), (2, 10, 4), (3, 30, 3), (1, 10, 1)]


def test_an_event_without_a_value_gets_the_median_where_there_is_no_threshold() -> None:
    joined = read_dataset(ROWS, events=events(("4", "10", None, 500)))
    assert triples(joined.interactions)[-1] == (4, 10, 3.5)


def test_a_user_who_is_no_number_makes_all_user_ids_texts() -> None:
    joined = read_dataset(ROWS, events=events(("ann", "10", None, 500)))
    assert list(joined.interactions.user_ids) == ["1", "2", "3", "ann"]
    assert list(joined.interactions.item_ids) == [10, 20, 30]


def test_events_of_unknown_items_are_left_out_and_their_users_too() -> None:
    joined = read_dataset(ROWS, events=events(("8", "99", None, 1), ("9", "10", None, 1)))
    assert list(joined.interactions.user_ids) == [1, 2, 3, 9]
    assert (joined.report.events, joined.report.events_unknown) == (1, 1)


def test_an_item_of_the_item_file_alone_is_known(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n10,A\n40,Nobody's\n")
    joined = read_dataset(ROWS, items=items, events=events(("1", "40", 5.0, 500)))
    assert triples(joined.interactions)[-1] == (1, 40, 5)


@pytest.mark.parametrize("kind", [pl.Int64, pl.Categorical, pl.String])
def test_ids_of_events_may_be_of_any_type(kind: Any) -> None:
    told = events(("9", "20", None, 500)).with_columns(pl.col("user_id", "item_id").cast(kind))
    assert triples(read_dataset(ROWS, events=told).interactions)[-1][:2] == (9, 20)
    nothing = pl.DataFrame({name: [] for name in told.columns})
    assert len(read_dataset(ROWS, events=nothing).interactions) == len(ROWS)


def test_events_of_other_data_are_an_error() -> None:
    with pytest.raises(DataError, match="none of the 2 is, such as of item '98'"):
        read_dataset(ROWS, events=events(("1", "98", None, 1), ("1", "99", None, 1)))


def test_a_frame_without_a_column_is_an_error() -> None:
    with pytest.raises(DataError, match=r"must have the columns .*; value is absent"):
        read_dataset(ROWS, events=events().drop("value"))


def test_an_empty_store_changes_nothing() -> None:
    without, joined = read_dataset(ROWS), read_dataset(ROWS, events=events())
    assert joined.interactions.sha256() == without.interactions.sha256()
    assert joined.report == without.report


@pytest.mark.parametrize(
    ("ticks", "day"), [(1, 946_684_800), (1_000, 946_684_800), (1_000_000, 946_684_800), (1_000_000_000, 946_684_800)]
)
def test_times_take_the_unit_of_the_source(ticks: int, day: int) -> None:
    rows = ROWS.with_columns(time=(pl.col("time") + day) * ticks)
    joined = read_dataset(rows, events=events(("1", "30", None, day + 777)))
    assert joined.interactions.timestamps is not None
    assert joined.interactions.timestamps[-1] == (day + 777) * ticks


def test_rows_without_ratings_times_or_with_weights_take_events_too() -> None:
    plain = read_dataset(ROWS.select("user_id", "item_id"), events=events(("4", "10", 1.0, 5)))
    assert plain.interactions.ratings is None
    assert plain.interactions.timestamps is None
    assert len(plain.interactions) == 5
    weighed = read_dataset(ROWS.rename({"rating": "weight"}), weight_col="weight", events=events(("4", "10", 3.0, 5)))
    assert weighed.interactions.weights is not None
    assert weighed.interactions.weights.tolist() == [5, 2, 4, 3, 1]
    counted = read_dataset(ROWS, weight="count", events=events(("1", "10", None, 500), ("1", "10", None, 501)))
    assert counted.interactions.weights is not None
    assert counted.interactions.weights.tolist() == [1, 1, 1, 3]


def test_a_published_split_refuses_events(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("1 10 20\n2 10\n")
    (tmp_path / "test.txt").write_text("1 30\n2 20\n")
    joined = read_dataset(tmp_path, events=events(("1", "10", None, 5)))
    with pytest.raises(DataError, match=r"`split` fixed needs .* with events joined to it"):
        split(joined, "fixed", 1)
    assert len(split(joined, "none", 1).train) == 5


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    file = tmp_path / "ratings.csv"
    ROWS.write_csv(file)
    return file


def trained(neucf: Call, out: Path, ratings: Path, *more: object) -> dict[str, Any]:
    done = neucf("train", ratings, "--model", "popularity", "--split", "none", "--out", out, *more)
    assert done.code == 0, done.err
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def test_train_takes_the_events_of_a_store(neucf: Call, tmp_path: Path, ratings: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.sqlite'}"
    with EventStore(url) as store:
        for key, (user_id, item_id) in enumerate([("9", "10"), ("2", "30"), ("9", "99")]):
            store.add(Event(user_id, item_id, str(key), timestamp=1000 + key))
    without = trained(neucf, tmp_path / "without", ratings)
    manifests = [trained(neucf, tmp_path / name, ratings, "--events", url) for name in ("first", "second")]
    data = [manifest["data"] for manifest in (without, *manifests)]
    assert data[0]["sha256"] != data[1]["sha256"] == data[2]["sha256"]
    assert (data[1]["report"]["events"], data[1]["report"]["events_unknown"]) == (2, 1)

    run = open_run(tmp_path / "first")
    assert list(run.model.user_ids) == [1, 2, 3, 9]
    assert np.bincount(run.split.train.items).tolist() == [3, 1, 2]
    assert not any(b"sqlite" in file.read_bytes() for file in (tmp_path / "first").iterdir())


def test_train_takes_the_default_store(
    neucf: Call, tmp_path: Path, ratings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with EventStore(default_url(ratings.stem)) as store:
        store.add(Event("9", "10", "k"))
    assert trained(neucf, tmp_path / "run", ratings, "--events", "default")["num_users"] == 4


def test_train_says_what_was_joined(neucf: Call, tmp_path: Path, ratings: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.sqlite'}"
    with EventStore(url) as store:
        store.add(Event("9", "10", "k"))
        store.add(Event("9", "99", "l"))
    done = neucf(
        "train", ratings, "--model", "popularity", "--out", tmp_path / "run", "--split", "none", "--events", url
    )
    assert "5 positives of 5 rows, 1 of them events; 1 events of unknown items left out" in done.err


def test_train_without_such_a_store_makes_none(neucf: Call, tmp_path: Path, ratings: Path) -> None:
    absent = tmp_path / "typo.sqlite"
    done = neucf(
        "train", ratings, "--model", "popularity", "--out", tmp_path / "run", "--events", f"sqlite:///{absent}"
    )
    assert done.code == 2
    assert "typo.sqlite" in done.err
    assert not absent.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.postgres
def test_a_password_stands_nowhere_in_the_run(neucf: Call, tmp_path: Path, ratings: Path) -> None:
    url = os.environ.get("NEUCF_TEST_POSTGRES")
    if not url:
        pytest.skip("NEUCF_TEST_POSTGRES is not set: scripts/with-postgres sets it")
    with EventStore(url) as store:
        for user_id in list(store.users()):
            store.erase(user_id)
        store.add(Event("9", "10", "k"))
    assert trained(neucf, tmp_path / "run", ratings, "--events", url)["num_users"] == 4
    password = url.partition("://")[2].partition("@")[0].partition(":")[2].encode()
    assert password
    assert not any(password in file.read_bytes() for file in (tmp_path / "run").iterdir())
