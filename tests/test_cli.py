"""The commands, end to end on files small enough to be worked out by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from neucf.artifacts import load_checkpoint, open_run, save_checkpoint
from neucf.cli.progress import TrainingBar

# Positives from 4 on: ann a b, bob a b d, cid a d, dee none; so a 3, b 2, d 2, c 0, e 0.
RATED = """user_id,item_id,rating
ann,b,4.5
ann,a,5
ann,c,1
bob,a,4
bob,b,5
bob,d,4
cid,a,5
cid,d,5
cid,e,2
dee,a,1
"""
ITEMS = """item_id,title,year,genres
a,Alpha,2001,Drama|War
b,Beta [remix],2002,
c,Gamma,2003,Drama
d,Delta,2004,Comedy
e,Epsilon,2005,Comedy
"""
# In order of time; by halves and quarters: train a a a b, validation b b, test c b.
TIMED = """user,item,time
ann,a,1
bob,a,2
cid,a,3
ann,b,4
bob,b,5
cid,b,6
bob,c,7
dee,b,8
"""

Call = Callable[..., Any]


@pytest.fixture
def rated(tmp_path: Path, neucf: Call) -> Path:
    """A popularity run on RATED."""
    (tmp_path / "ratings.csv").write_text(RATED)
    (tmp_path / "items.csv").write_text(ITEMS)
    run = tmp_path / "rated"
    done = neucf(
        "train", tmp_path / "ratings.csv", "--model", "popularity", "--out", run, "--split", "none", "--min-rating", 4,
        "--items", tmp_path / "items.csv",
    )  # fmt: skip
    assert done.code == 0, done.err
    return run


@pytest.fixture
def timed(tmp_path: Path, neucf: Call) -> Path:
    """A popularity run on TIMED."""
    (tmp_path / "timed.csv").write_text(TIMED)
    run = tmp_path / "timed"
    arguments = ("--model", "popularity", "--out", run, "--split", "temporal:0.5/0.25/0.25")
    done = neucf("train", tmp_path / "timed.csv", *arguments)
    assert done.code == 0, done.err
    return run


@pytest.fixture
def clusters(tmp_path: Path) -> Path:
    """Users of two kinds, each choosing eight of the ten items of their kind."""
    rng = np.random.default_rng(0)
    rows = [(user, 10 * (user % 2) + item) for user in range(30) for item in rng.permutation(10)[:8]]
    path = tmp_path / "clusters.csv"
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_csv(path)
    return path


def listed(answer: dict[str, Any]) -> list[tuple[Any, float]]:
    return [(item["item_id"], item["score"]) for item in answer["items"]]


def test_recommend_hides_positives_and_low_ratings(rated: Path, neucf: Call) -> None:
    answer = json.loads(neucf("recommend", rated, "--user", "ann", "-k", 3, "--json").out)
    assert answer["user_id"] == "ann"
    assert answer["fallback"] is None
    assert answer["matched"] == []
    assert listed(answer) == [("d", 2.0), ("e", 0.0)]
    assert answer["items"][0] == {
        "item_id": "d", "title": "Delta (2004)", "year": 2004, "genres": ["Comedy"], "score": 2.0, "placed": None,
        "because": [],
    }  # fmt: skip


def test_recommend_masks(rated: Path, neucf: Call) -> None:
    positives = json.loads(neucf("recommend", rated, "--user", "ann", "-k", 5, "--mask", "positives", "--json").out)
    nothing = json.loads(neucf("recommend", rated, "--user", "ann", "-k", 5, "--mask", "none", "--json").out)
    assert listed(positives)[0] == ("d", 2.0)
    assert {item for item, _ in listed(positives)[1:]} == {"c", "e"}
    assert listed(nothing)[0] == ("a", 3.0)
    assert {item for item, _ in listed(nothing)[1:3]} == {"b", "d"}


def test_recommend_shows_ratings_best_first_then_suggestions(rated: Path, neucf: Call) -> None:
    shown = neucf("recommend", rated, "--user", "ann", "-k", 2)
    assert shown.err == ""
    places = [shown.out.index(text) for text in ("Alpha (2001)", "Beta [remix] (2002)", "Gamma (2003)", "Delta (2004)")]
    assert places == sorted(places)
    assert "4.5" in shown.out
    assert "Drama, War" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_recommend_falls_back_for_a_user_without_positives(rated: Path, neucf: Call) -> None:
    answer = json.loads(neucf("recommend", rated, "--user", "dee", "-k", 2, "--json").out)
    assert answer["fallback"] == "popularity"
    assert {item for item, _ in listed(answer)} == {"b", "d"}
    assert "most popular" in neucf("recommend", rated, "--user", "dee", "-k", 2).out


def test_recommend_by_what_somebody_likes(rated: Path, neucf: Call) -> None:
    shown = neucf("recommend", rated, "--liked", "ALPHA (2001)", "b", "-k", 1, "--json")
    answer = json.loads(shown.out)
    assert answer["user_id"] is None
    assert answer["matched"] == [
        {"item_id": "a", "title": "Alpha (2001)"},
        {"item_id": "b", "title": "Beta [remix] (2002)"},
    ]
    assert listed(answer) == [("d", 2.0)]
    assert "Alpha (2001), item a" in neucf("recommend", rated, "--liked", "alpha", "-k", 1).out


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_recommend_to_everyone(rated: Path, neucf: Call, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"all.{suffix}"
    done = neucf("recommend", rated, "--all-users", "--out", file, "-k", 1, "--json")
    assert json.loads(done.out) == {"out": str(file), "num_users": 4, "num_rows": 4}
    read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "jsonl": pl.read_ndjson}[suffix]
    table: pl.DataFrame = read(file)
    assert table.columns == ["user_id", "item_id", "rank", "score", "fallback"]
    assert table["user_id"].to_list() == ["ann", "bob", "cid", "dee"]
    assert table["item_id"].to_list()[0] == "d"
    assert table["rank"].to_list() == [1, 1, 1, 1]
    assert table["fallback"].to_list() == [None, None, None, "popularity"]


def test_evaluate_on_test(timed: Path, neucf: Call) -> None:
    # Masking train and validation: bob's c is first of what is left; dee, cold, has a before b.
    found = json.loads(neucf("evaluate", timed, "-k", 1, "-k", 2, "--json").out)
    assert {key: found[key] for key in ("protocol", "on", "split", "split_seed", "seed", "num_users")} == {
        "protocol": "full", "on": "test", "split": "temporal:0.5/0.25/0.25", "split_seed": 1, "seed": 0, "num_users": 2,
    }  # fmt: skip
    assert found["num_cold_users"] == 1
    assert found["metrics"]["recall@1"]["mean"] == 0.5
    assert found["metrics"]["hit@2"]["mean"] == 1.0
    assert found["metrics"]["mrr@2"]["mean"] == 0.75
    low, high = found["metrics"]["recall@1"]["ci95"]
    assert 0 <= low <= 0.5 <= high <= 1


def test_evaluate_says_protocol_and_part(timed: Path, neucf: Call) -> None:
    shown = neucf("evaluate", timed, "--on", "valid", "-k", 1)
    assert shown.code == 0
    assert "full ranking, validation part" in shown.out
    assert "2 users" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_train_prints_validation_and_never_test(tmp_path: Path, neucf: Call) -> None:
    (tmp_path / "timed.csv").write_text(TIMED)
    run = tmp_path / "run"
    shown = neucf(
        "train", tmp_path / "timed.csv", "--model", "popularity", "--out", run, "--split", "temporal:0.5/0.25/0.25"
    )  # fmt: skip
    assert "validation part" in shown.out
    assert "test part" not in shown.out
    assert "neucf recommend" in shown.out
    assert "8 positives of 8 rows" in shown.err
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics) == {"valid"}
    assert metrics["valid"]["on"] == "valid"


def test_a_net_trains_logs_and_finds_the_kinds(clusters: Path, tmp_path: Path, neucf: Call) -> None:
    run = tmp_path / "run"
    settings = ("--set", "dim=4", "--set", "epochs=12", "--set", "eval_every=2", "--set", "lr=0.05", "--threads", 1)
    done = neucf("train", clusters, "--model", "mf", "--out", run, *settings, "--seed", 3)
    assert done.code == 0, done.err
    assert not (tmp_path / "run.partial").exists()
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == list(range(1, len(log) + 1))
    assert [line["epoch"] for line in log if line["valid_metrics"]] == list(range(2, len(log) + 1, 2))
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["model"]["config"]["dim"] == 4
    assert manifest["seed"] == 3
    assert [fit["stage"] for fit in manifest["fits"]] == ["fit"]
    assert manifest["fits"][0]["epochs"] == [manifest["model"]["best_epoch"]]
    similar = json.loads(neucf("similar", run, "10", "-k", 5, "--json").out)
    assert similar["item_id"] == 10
    assert sum(item["item_id"] >= 10 for item in similar["items"]) >= 4


def test_refit_trains_on_train_and_validation_up_to_the_epoch_chosen(
    clusters: Path, tmp_path: Path, neucf: Call
) -> None:
    run = tmp_path / "run"
    done = neucf("train", clusters, "--model", "mf", "--out", run, "--refit", "--set", "dim=4", "--set", "epochs=4")
    assert done.code == 0, done.err
    opened = open_run(run)
    first, second = opened.manifest["fits"]
    assert (first["stage"], second["stage"]) == ("fit", "refit")
    assert opened.split.valid is not None
    assert second["rows"] == first["rows"] + len(opened.split.valid)
    assert second["epochs"] == first["epochs"]
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log if line["stage"] == "refit"] == list(range(1, first["epochs"][0] + 1))
    assert len(opened.model.train) == second["rows"]
    # Validation judges what was never trained on it.
    again = json.loads(neucf("evaluate", run, "--on", "valid", "--json").out)
    assert again["metrics"]["ndcg@20"]["mean"] == opened.manifest["metrics"]["valid"]["metrics"]["ndcg@20"]["mean"]


def interrupted(after: int, monkeypatch: pytest.MonkeyPatch, train: Callable[[], Any]) -> list[int]:
    """Interrupts a training once it has shown so many epochs, and returns these."""
    seen: list[int] = []

    def interrupt(_: TrainingBar, record: Any) -> None:
        seen.append(record.epoch)
        if len(seen) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingBar, "__call__", interrupt)
        assert train().code == 130
    return seen


def test_an_interrupted_training_resumes_to_the_same_weights(
    clusters: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--model", "mf", "--set", "dim=4", "--set", "epochs=6", "--threads", 1)
    assert neucf("train", clusters, "--out", tmp_path / "whole", *settings).code == 0

    def interrupt(_: TrainingBar, record: Any) -> None:
        if record.epoch == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingBar, "__call__", interrupt)
        stopped = neucf("train", clusters, "--out", tmp_path / "run", *settings)
    assert stopped.code == 130
    assert "--resume" in stopped.err
    assert (tmp_path / "run.partial").is_dir()
    assert neucf("train", clusters, "--out", tmp_path / "run", *settings).code == 2
    other = neucf("train", clusters, "--out", tmp_path / "run", *settings, "--seed", 9, "--resume")
    assert other.code == 2
    assert "`--seed`" in other.err
    done = neucf("train", clusters, "--out", tmp_path / "run", *settings, "--resume")
    assert done.code == 0, done.err
    assert not (tmp_path / "run.partial").exists()
    whole, resumed = (open_run(tmp_path / name).model.arrays() for name in ("whole", "run"))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in log] == list(range(1, len(log) + 1))


def test_an_interrupted_refit_goes_on_without_the_first_fit(
    clusters: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--model", "mf", "--refit", "--set", "dim=4", "--set", "epochs=4", "--set", "lr=0.05", "--threads", 1)
    assert neucf("train", clusters, "--out", tmp_path / "whole", *settings).code == 0
    fits = open_run(tmp_path / "whole").manifest["fits"]
    assert fits[0]["epochs"][0] >= 2
    seen = interrupted(6, monkeypatch, lambda: neucf("train", clusters, "--out", tmp_path / "run", *settings))
    assert seen == [1, 2, 3, 4, 1, 2]
    assert neucf("train", clusters, "--out", tmp_path / "run", *settings, "--resume").code == 0
    whole, resumed = open_run(tmp_path / "whole"), open_run(tmp_path / "run")
    assert resumed.manifest["fits"][0]["seconds"] > 0
    assert resumed.manifest["metrics"] == whole.manifest["metrics"]
    for name, array in whole.model.arrays().items():
        assert np.array_equal(array, resumed.model.arrays()[name])
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    stages = [(line["stage"], line["epoch"]) for line in log]
    assert stages == [("fit", epoch) for epoch in range(1, 5)] + [
        ("refit", epoch) for epoch in range(1, fits[0]["epochs"][0] + 1)
    ]


@pytest.mark.parametrize(("stop", "stage"), [(2, 0), (6, 1)])
def test_the_seconds_of_earlier_sittings_count(
    stop: int, stage: int, clusters: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--model", "mf", "--refit", "--set", "dim=4", "--set", "epochs=4", "--set", "lr=0.05", "--threads", 1)
    interrupted(stop, monkeypatch, lambda: neucf("train", clusters, "--out", tmp_path / "run", *settings))
    left = load_checkpoint(tmp_path / "run.partial")
    assert left is not None
    assert left["seconds"] > 0
    save_checkpoint(tmp_path / "run.partial", {**left, "seconds": 1000.0})
    done = neucf("train", clusters, "--out", tmp_path / "run", *settings, "--resume")
    assert done.code == 0, done.err
    seconds = [fit["seconds"] for fit in open_run(tmp_path / "run").manifest["fits"]]
    assert 1000 < seconds.pop(stage) < 1100
    assert 0 < seconds.pop() < 100


def test_a_run_stopped_once_trained_is_not_trained_again(
    clusters: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--model", "mf", "--refit", "--set", "dim=4", "--set", "epochs=4", "--set", "lr=0.05", "--threads", 1)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    # A checkpoint every epoch, as where an epoch takes long.
    monkeypatch.setattr("neucf.artifacts.monitor.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr("neucf.artifacts.monitor.CHECKPOINT_SHARE", 0)
    with monkeypatch.context() as patched:
        patched.setattr("neucf.fitting.write_run", interrupt)
        assert neucf("train", clusters, "--out", tmp_path / "run", *settings).code == 130
    log = (tmp_path / "run.partial" / "log.jsonl").read_text()
    monkeypatch.setattr(TrainingBar, "__call__", interrupt)
    done = neucf("train", clusters, "--out", tmp_path / "run", *settings, "--resume")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "log.jsonl").read_text() == log
    assert [fit["stage"] for fit in open_run(tmp_path / "run").manifest["fits"]] == ["fit", "refit"]
    assert not (tmp_path / "run" / "first-fit.json").exists()


@pytest.mark.parametrize("left", ["", "[1", "{}"])
def test_a_first_fit_whose_record_was_cut_is_done_anew(
    left: str, clusters: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--model", "mf", "--refit", "--set", "dim=4", "--set", "epochs=4", "--set", "lr=0.05", "--threads", 1)
    assert neucf("train", clusters, "--out", tmp_path / "whole", *settings).code == 0
    interrupted(6, monkeypatch, lambda: neucf("train", clusters, "--out", tmp_path / "run", *settings))
    (tmp_path / "run.partial" / "first-fit.json").write_text(left)
    done = neucf("train", clusters, "--out", tmp_path / "run", *settings, "--resume")
    assert done.code == 0, done.err
    whole, resumed = (open_run(tmp_path / name).model.arrays() for name in ("whole", "run"))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_what_the_system_refuses_ends_in_a_sentence(neucf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "run/users.parquet")

    monkeypatch.setattr("neucf.cli.app", refuse)
    done = neucf("data", "list")
    assert (done.code, done.err) == (1, "Error: No space left on device (run/users.parquet).\n")


def test_data_list_goes_on_past_a_folder_that_lacks_files(
    tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ml-1m").mkdir()
    monkeypatch.setenv("NEUCF_DATA", str(tmp_path))
    done = neucf("data", "list")
    assert done.code == 0
    assert "lacks files of ml-1m" in done.err.replace("\n", " ")
    assert "gowalla" in done.out


def test_starts_from_another_run(clusters: Path, tmp_path: Path, neucf: Call) -> None:
    settings = ("--model", "mf", "--set", "dim=4", "--set", "epochs=3", "--set", "lr=0.05")
    assert neucf("train", clusters, "--out", tmp_path / "first", *settings).code == 0
    still = ("--model", "mf", "--set", "dim=4", "--set", "epochs=1", "--set", "lr=1e-12", "--seed", 5)
    done = neucf("train", clusters, "--out", tmp_path / "second", *still, "--init-from", tmp_path / "first")
    assert done.code == 0, done.err
    first, second = (open_run(tmp_path / name).model.arrays() for name in ("first", "second"))
    assert all(np.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_force_replaces_a_run(timed: Path, tmp_path: Path, neucf: Call) -> None:
    before = (timed / "manifest.json").read_text()
    arguments = ("train", tmp_path / "timed.csv", "--model", "popularity", "--out", timed)
    assert neucf(*arguments).code == 2
    assert (timed / "manifest.json").read_text() == before
    assert neucf(*arguments, "--split", "none", "--force").code == 0
    assert json.loads((timed / "manifest.json").read_text())["split"] == "none"


def test_describe_counts_what_was_dropped(tmp_path: Path, neucf: Call) -> None:
    (tmp_path / "ratings.csv").write_text(RATED + "ann,a,5\n")
    shown = neucf("data", "describe", tmp_path / "ratings.csv", "--min-rating", 4).out.splitlines()
    found = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in shown if "  " in line.strip())
    assert found["rows read"] == "11"
    assert found["positives"].startswith("7")
    assert found["below the threshold"] == "3"
    assert found["merged duplicates"] == "1"
    assert found["users"] == "4, 1 without a positive"
    assert found["items"] == "5, 2 without a positive"


def test_models_lists_names_and_settings(neucf: Call) -> None:
    names = neucf("models").out
    assert "popularity" in names
    assert "bpr-mf" in names
    settings = neucf("models", "bpr-mf").out
    assert "patience" in settings
    assert "lazy-adam" in settings
    assert "number > 0" in settings
    assert max(map(len, settings.splitlines())) <= 80
    assert neucf("models", "bprmf").code == 2


def test_data_list_names_every_set(neucf: Call) -> None:
    shown = neucf("data", "list").out
    for name in ("ml-latest-small", "ml-100k", "ncf-ml-1m", "gowalla"):
        assert name in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_version(neucf: Call) -> None:
    from neucf import __version__

    assert neucf("--version") == (0, f"neucf {__version__}\n", "")
