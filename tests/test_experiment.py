"""`neucf run`: recipes trained on made-up files, taken over, broken and interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from made_up import (
    BROKEN,
    FIXED,
    FULL,
    GMF,
    JOINED,
    LIKED,
    MF,
    MLP,
    NUM_USERS,
    POPULARITY,
    Watcher,
    execute,
    lines,
    write,
)

from neucf import MODELS, evaluate, split
from neucf.artifacts import open_run
from neucf.data.readers import read_dataset
from neucf.errors import ArtifactError, ConfigError
from neucf.experiment import provenance, run
from neucf.experiment.runs import held, made_folder

Call = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("made_up_sets")


def test_results_are_those_of_the_library(tmp_path: Path) -> None:
    results = execute(write(tmp_path, FULL, POPULARITY, MF), tmp_path)
    parts = split(read_dataset("ml-latest-small"), "random:0.6/0.2/0.2", seed=1)
    mf = MODELS["mf"](dim=4, epochs=3, lr=0.05, metric="ndcg@5").fit(parts.train, parts.valid, seed=0, threads=1)
    popularity = MODELS["popularity"]().fit(parts.train)
    for result, model in zip(results, (popularity, mf), strict=True):
        for on, found in (("test", result.metrics), ("valid", result.valid_metrics)):
            expected = evaluate(model, parts, on, "full", (5,))
            assert {name: value["mean"] for name, value in found["metrics"].items()} == pytest.approx(
                {name: expected.mean(name) for name in expected.values}
            )
            assert (found["on"], found["protocol"], found["split"]) == (on, "full", "random:0.6/0.2/0.2")


def test_json_is_one_document_with_an_entry_a_label_and_seed(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, FULL, POPULARITY, MF)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--seeds", 2, "--threads", 1, "--json")
    assert done.code == 0, done.err
    entries = json.loads(done.out)["models"]
    assert [(entry["label"], entry["model"], entry["seed"]) for entry in entries] == [
        ("popularity", "popularity", 0), ("mf", "mf", 0), ("popularity", "popularity", 1), ("mf", "mf", 1)
    ]  # fmt: skip
    keys = {"label", "model", "seed", "train_seconds", "run", "metrics", "valid_metrics"}
    assert all(set(entry) == keys and entry["train_seconds"] >= 0 for entry in entries)
    evaluated = json.loads(neucf("evaluate", entries[1]["run"], "-k", 5, "--json", "--threads", 1).out)
    assert entries[1]["metrics"] == evaluated


def test_one_command_at_a_time_works_in_a_folder(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, FULL, POPULARITY)
    command = ("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    with held(made_folder(tmp_path / "out")):
        done = neucf(*command)
    assert (done.code, done.out) == (2, "")
    assert f"{tmp_path / 'out'} is in use by another process. Wait for it, or choose another." in done.err
    assert not (tmp_path / "out" / "leaderboard.md").exists()
    assert neucf(*command).code == 0


def test_what_is_there_is_taken_over_and_added_to(tmp_path: Path) -> None:
    recipe, watcher = write(tmp_path, FULL, POPULARITY, MF), Watcher()
    first = execute(recipe, tmp_path)
    again = execute(recipe, tmp_path, watcher, num_seeds=2)
    assert watcher.trained == ["popularity, seed 1", "mf, seed 1"]
    assert [result.to_json() for result in again[:2]] == [result.to_json() for result in first]
    assert [result.reused for result in again] == [True, True, False, False]
    assert [(line["label"], line["seed"]) for line in lines(tmp_path)] == [
        ("popularity", 0), ("mf", 0), ("popularity", 1), ("mf", 1)
    ]  # fmt: skip
    # The same folder moved is the same study.
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "out")
    assert all(result.reused for result in execute(recipe, tmp_path, num_seeds=2))


def test_only_what_differs_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(write(tmp_path, FULL, POPULARITY, MF), tmp_path)
    changes = {
        "settings": (write(tmp_path, FULL, POPULARITY, MF.replace("dim = 4", "dim = 3")), ["mf, seed 0"]),
        "split": (
            write(tmp_path, FULL.replace("0.6/0.2/0.2", "0.6/0.3/0.1"), POPULARITY, MF),
            ["popularity, seed 0", "mf, seed 0"],
        ),
    }
    for recipe, trained in changes.values():
        watcher = Watcher()
        execute(recipe, tmp_path, watcher)
        assert watcher.trained == trained
        assert all(result.reused for result in execute(recipe, tmp_path))
    monkeypatch.setattr(provenance, "source_hash", lambda: "changed")
    watcher = Watcher()
    execute(recipe, tmp_path, watcher)
    assert watcher.trained == ["popularity, seed 0", "mf, seed 0"]


def test_what_is_known_of_the_data_makes_a_run_another(tmp_path: Path) -> None:
    recipe = write(tmp_path, FULL, POPULARITY)
    dataset = read_dataset("ml-latest-small")
    assert dataset.items is not None
    others = [
        dataset,
        replace(dataset, items=dataset.items.with_columns(title=pl.lit("A new title"))),
        replace(dataset, items=dataset.items.with_columns(genres=pl.lit(["Noir"]))),
        replace(dataset, items=None),
        replace(dataset, name="mine"),
        replace(dataset, settings={**dataset.settings, "min_rating": 4.0}),
        replace(dataset, below_threshold=dataset.interactions.take(np.array([0]))),
    ]
    for other in others:
        (result,) = run(recipe, other, tmp_path / "out", threads=1)
        assert not result.reused
        assert run(recipe, other, tmp_path / "out", threads=1)[0].reused
        items = open_run(tmp_path / "out" / "popularity-seed0").items
        assert (None if items is None else items["title"].to_list()) == (
            None if other.items is None else other.items["title"].to_list()
        )


def test_other_list_lengths_need_no_training(tmp_path: Path) -> None:
    execute(write(tmp_path, FULL, POPULARITY), tmp_path)
    watcher = Watcher()
    (longer,) = execute(write(tmp_path, FULL.replace("[5]", "[2, 5]"), POPULARITY), tmp_path, watcher)
    assert watcher.trained == []
    assert {"hit@2", "hit@5"} <= set(longer.metrics["metrics"]) & set(longer.valid_metrics["metrics"])
    assert len(lines(tmp_path)) == 2


def test_the_fingerprint_covers_everything_asked_and_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"model": "mf", "config": {"dim": 4}, "seed": 0}
    marks = [provenance.fingerprint({**asked, **change}) for change in ({}, {"seed": 1}, {"config": {"dim": 5}})]
    assert provenance.fingerprint(dict(reversed(asked.items()))) == marks[0]
    monkeypatch.setattr("neucf.__version__", "9.9")
    marks.append(provenance.fingerprint(asked))
    monkeypatch.setattr(provenance, "source_hash", lambda: "changed")
    marks.append(provenance.fingerprint(asked))
    assert len(set(marks)) == 5


def test_a_failing_model_is_shown_and_the_others_go_on(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, FULL, BROKEN, POPULARITY)
    command = ("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    done = neucf(*command, "--json")
    assert done.code == 1
    broken, popularity = json.loads(done.out)["models"]
    assert "finite" in broken["error"]
    assert (broken["run"], broken["metrics"], broken["train_seconds"]) == (None, None, None)
    assert popularity["metrics"]["num_users"] > 0
    shown = neucf(*command)
    assert shown.code == 1
    assert "mf-broken" in shown.out
    assert "finite" in " ".join(shown.out.split())
    table = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "| mf-broken | failed |" in table
    assert not (tmp_path / "out" / "errors.log").exists()


def test_a_neumf_whose_half_failed_says_so(tmp_path: Path) -> None:
    broken = GMF.replace("epochs = 2", 'loss = "bce"\noptimizer = "sgd"\nlr = 1e30\nepochs = 2')
    results = execute(write(tmp_path, FULL, broken, MLP, JOINED), tmp_path)
    assert [result.error is None for result in results] == [False, True, False]
    assert results[2].error == "neumf-joined starts from gmf, which failed."


def test_an_error_nobody_foresaw_leaves_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("made up")

    recipe = write(tmp_path, FULL, POPULARITY)
    monkeypatch.setattr("neucf.experiment.runs.fit_into", fail)
    (result,) = execute(recipe, tmp_path)
    assert result.error is not None
    assert result.error.startswith("ZeroDivisionError: made up")
    log = (tmp_path / "out" / "errors.log").read_text()
    assert log.startswith("popularity-seed0\nTraceback")
    assert "in fail" in log


def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path) -> None:
    recipe = write(tmp_path, FULL, POPULARITY, MF)
    whole = execute(recipe, tmp_path)
    (tmp_path / "out").rename(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        execute(recipe, tmp_path, Watcher(stop_after=2))
    assert (tmp_path / "out" / "mf-seed0.partial").exists()
    watcher = Watcher()
    resumed = execute(recipe, tmp_path, watcher)
    assert watcher.epochs == [2, 3]
    assert resumed[0].reused
    assert resumed[1].metrics == whole[1].metrics
    assert len(lines(tmp_path)) == 2


def test_who_interrupts_is_told_how_to_go_on(tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FULL, POPULARITY, MF)
    command = ("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("neucf.cli.progress.TrainingBar.__call__", interrupt)
        stopped = neucf(*command)
    assert stopped.code == 130
    assert "The same command goes on from here." in stopped.err
    assert "popularity, seed 0" in stopped.err
    done = neucf(*command)
    assert done.code == 0, done.err
    assert "taken over" in done.err


def test_an_unfinished_run_of_other_settings_is_dropped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(write(tmp_path, FULL, MF), tmp_path, Watcher(stop_after=2))
    watcher = Watcher()
    (result,) = execute(write(tmp_path, FULL, MF.replace("dim = 4", "dim = 3")), tmp_path, watcher)
    assert result.error is None
    assert watcher.epochs == [1, 2, 3]
    assert open_run(result.run).model.config.dim == 3


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out" / "popularity-seed0").mkdir(parents=True)
    (tmp_path / "out" / "popularity-seed0" / "thesis.tex").write_text("years of work")
    (result,) = execute(write(tmp_path, FULL, POPULARITY), tmp_path)
    assert result.error is not None
    assert "is left alone" in result.error
    assert (tmp_path / "out" / "popularity-seed0" / "thesis.tex").read_text() == "years of work"


def test_the_paper_protocol_refits_and_pretrains_by_the_recipes_own_halves(tmp_path: Path) -> None:
    # A rate this small leaves what was joined.
    joined = JOINED.replace("epochs = 1", 'epochs = 1\noptimizer = "sgd"\nlr = 1e-12')
    gmf, mlp, neumf = execute(write(tmp_path, FIXED, GMF, MLP, joined), tmp_path)
    assert [result.error for result in (gmf, mlp, neumf)] == [None] * 3
    assert neumf.train_seconds > gmf.train_seconds + mlp.train_seconds
    assert set(neumf.metrics["metrics"]) == {"hit@3", "ndcg@3", "mrr"}
    opened = {result.model: open_run(result.run) for result in (gmf, mlp, neumf)}
    for stage, rows in (("first_model", NUM_USERS * (LIKED - 2)), ("model", NUM_USERS * (LIKED - 1))):
        arrays = {name: getattr(run, stage).arrays() for name, run in opened.items()}
        assert len(getattr(opened["neumf"], stage).train) == rows
        assert np.allclose(
            arrays["neumf"]["gmf_item_embedding.weight"], arrays["gmf"]["item_embedding.weight"], atol=1e-9
        )
        assert np.allclose(
            arrays["neumf"]["h"], np.concatenate([arrays["gmf"]["h"], arrays["mlp"]["h"]]) / 2, atol=1e-7
        )
    on_valid = evaluate(opened["gmf"].first_model, opened["gmf"].split, "valid", "sampled", (3,))
    assert gmf.valid_metrics["metrics"]["hit@3"]["mean"] == pytest.approx(on_valid.mean("hit@3"))


def test_a_changed_half_changes_the_neumf_too(tmp_path: Path) -> None:
    execute(write(tmp_path, FULL, GMF, MLP, JOINED), tmp_path)
    watcher = Watcher()
    execute(write(tmp_path, FULL, GMF, MLP.replace("epochs = 2", "epochs = 1"), JOINED), tmp_path, watcher)
    assert watcher.trained == ["mlp, seed 0", "neumf-joined, seed 0"]


def test_lines_say_where_they_come_from_and_survive_a_crash(tmp_path: Path) -> None:
    recipe = write(tmp_path, FULL, POPULARITY, MF)
    execute(recipe, tmp_path)
    file = tmp_path / "out" / "results.jsonl"
    popularity, mf = lines(tmp_path)
    assert mf["recipe"] == "tiny"
    assert mf["config"]["dim"] == 4
    assert mf["fits"][0]["stage"] == "fit"
    assert mf["commit"] == provenance.commit()
    assert {"date", "version", "fingerprint", "metrics", "valid_metrics"} <= set(popularity)
    # The last line was cut: it is judged again, and written whole after what is left of it.
    text = file.read_text()
    file.write_text(text[:-40])
    watcher = Watcher()
    execute(recipe, tmp_path, watcher)
    assert watcher.trained == []
    written = file.read_text().splitlines()
    assert len(written) == 3
    assert json.loads(written[2])["metrics"] == mf["metrics"]


def test_what_cannot_be_run_is_refused_before_training(tmp_path: Path) -> None:
    recipe = write(tmp_path, FULL, POPULARITY)
    dataset = read_dataset("ml-latest-small")
    with pytest.raises(ConfigError, match="`seeds` must be at least 1; got 0"):
        run(recipe, dataset, tmp_path / "out", num_seeds=0)
    with pytest.raises(ConfigError, match="`device`"):
        run(recipe, dataset, tmp_path / "out", device="abacus")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="`out` must be a folder"):
        run(recipe, dataset, tmp_path / "file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", ["nothing", "nothing.toml"])
def test_an_unknown_recipe_is_a_wrong_request(recipe: str, neucf: Call) -> None:
    done = neucf("run", recipe)
    assert done.code == 2
    assert done.err.startswith("Error: `recipe` must be a TOML file, or one of ")
    assert done.out == ""
