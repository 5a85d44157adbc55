"""`neucf quickstart`: on a named set, and where none can be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from neucf.artifacts import open_run
from neucf.cli import quickstart
from neucf.data.dataset import Dataset
from neucf.data.synthetic import synthetic
from neucf.errors import DownloadError

Call = Callable[..., Any]
SIZE = {"num_users": 60, "num_items": 80, "num_interactions": 1_500}


@pytest.fixture(scope="module")
def movielens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a made-up set in the files of ml-latest-small."""
    root = tmp_path_factory.mktemp("data")
    dataset = synthetic(**SIZE, seed=1).dataset
    assert dataset.items is not None
    data = dataset.interactions
    (root / "ml-latest-small").mkdir()
    ratings = {
        "userId": data.users + 1,
        "movieId": data.items + 1,
        "rating": [5.0 if row % 4 else 2.5 for row in range(len(data))],
        "timestamp": data.timestamps,
    }
    pl.DataFrame(ratings).write_csv(root / "ml-latest-small" / "ratings.csv")
    dataset.items.select(
        pl.col("item_id").alias("movieId"),
        pl.format("{} ({})", "title", "year").alias("title"),
        pl.col("genres").list.join("|"),
    ).write_csv(root / "ml-latest-small" / "movies.csv")
    return root


def test_from_a_named_set_to_titles(
    movielens: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUCF_DATA", str(movielens))
    monkeypatch.chdir(tmp_path)
    done = neucf("quickstart", "--threads", 1)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[-1] == "Data used: ml-latest-small"
    assert "SYNTHETIC" not in done.out
    assert max(map(len, lines)) <= 80
    assert "full ranking, test part" in done.out
    assert "What user 30 rated highest" in done.out
    assert "suggests to user 30, being the best on validation" in done.out
    folders = [Path("runs/quickstart") / name for name in quickstart.MODELS_SHOWN]
    assert [open_run(folder).model.name for folder in folders] == list(quickstart.MODELS_SHOWN)
    assert all(str(folder) in done.out for folder in folders)
    rated = done.out.partition("rated highest")[2].partition("suggests")[0].splitlines()
    assert [line.split()[0] for line in rated if line.startswith("      ") and line.strip()] == ["5"] * 5
    # Called again, it replaces its own runs.
    assert neucf("quickstart", "--threads", 1).code == 0


def test_says_so_where_no_set_can_be_reached(tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable(name: str, **_: object) -> Dataset:
        asked.append(name)
        raise DownloadError(f"{name} could not be downloaded.")

    monkeypatch.setattr("neucf.cli.reading.read", unreachable)
    monkeypatch.setattr(quickstart, "SYNTHETIC_SIZE", SIZE)
    done = neucf("quickstart", "--out", tmp_path / "made-up", "--threads", 1)
    assert done.code == 0, done.err
    assert asked == ["ml-latest-small", "ml-100k"]
    assert [f"{name} could not be downloaded." in done.err for name in asked] == [True, True]
    assert done.out.lstrip().startswith("SYNTHETIC DATA")
    assert done.out.splitlines()[-1] == "Data used: synthetic data, made up"
    assert (tmp_path / "made-up" / "bpr-mf" / "manifest.json").is_file()


def test_takes_the_next_set_where_the_first_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    made = synthetic(**SIZE, seed=1).dataset

    def reachable(name: str, **options: object) -> Dataset:
        if name == "ml-latest-small":
            raise DownloadError("no network")
        assert options == {"min_rating": 4.0}
        return made

    monkeypatch.setattr("neucf.cli.reading.read", reachable)
    assert quickstart.find_data() == (made, "ml-100k")
