"""`neucf run`: recipes trained on made-up files, taken over, broken, interrupted, and tabled."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
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
    PUBLISHED,
    TUNED,
    write,
)

from neucf import MODELS, evaluate, split
from neucf.artifacts import open_run
from neucf.data.readers import read_dataset
from neucf.errors import ArtifactError, ConfigError
from neucf.experiment import Leaderboard, Recipe, Result, provenance, run, write_leaderboard
from neucf.experiment.budget import Budget
from neucf.experiment.leaderboard_files import to_markdown
from neucf.experiment.plots import _drawn
from neucf.experiment.runs import held, made_folder
from neucf.experiment.studies import Trial
from neucf.experiment.tuning import tune
from neucf.recommender import EpochRecord

Call = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("made_up_sets")


class Watcher:
    """Counts what is trained, and interrupts after so many epochs."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.trained: list[str] = []
        self.ended: list[Result] = []
        self.epochs: list[int] = []
        self._stop_after = stop_after

    @contextmanager
    def training(self, name: str, metric: str | None) -> Iterator[Callable[[EpochRecord], None]]:
        del metric
        self.trained.append(name)
        yield self._epoch

    def _epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record.epoch)
        if len(self.epochs) == self._stop_after:
            raise KeyboardInterrupt


def execute(recipe: Recipe, folder: Path, watcher: Watcher | None = None, num_seeds: int = 1) -> list[Result]:
    watcher = watcher or Watcher()
    dataset = read_dataset(recipe.data.source)
    return run(
        recipe,
        dataset,
        folder / "out",
        num_seeds=num_seeds,
        threads=1,
        training=watcher.training,
        done=watcher.ended.append,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "results.jsonl").read_text().splitlines()]


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


def test_the_table_goes_to_the_terminal_and_into_files(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, FULL, POPULARITY, MF, PUBLISHED)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    assert done.code == 0, done.err
    shown = [line.rstrip() for line in done.out.splitlines()]
    assert shown[1].startswith("tiny: full ranking, test part; ml-latest-small; split random:0.6/0.2/0.2")
    place = next(number for number, line in enumerate(shown) if line.startswith(" mf "))
    assert shown[place + 1].split() == ["Ann", "2001", "0.5"]
    assert "leaderboard.md gives the sources of the numbers of others." in shown
    assert max(map(len, shown)) <= 80 or shown[-1].startswith("Written:")
    for name in ("curves.png", "time.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    table = text.partition("## Beyond accuracy, and the cold, test part\n\n")[2].splitlines()
    heads, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (table[0], table[2]))
    found = json.loads(neucf("evaluate", tmp_path / "out" / "mf-seed0", "-k", 5, "--json", "--threads", 1).out)
    assert heads[1:6] == ["coverage@5", "Gini@5", "mean popularity@5", "genre diversity@5", "cold users"]
    assert cells[1] == f"{found['beyond_accuracy']['coverage@5']:.4f}"
    assert cells[5:7] == [str(found["num_cold_users"]), str(found["num_cold_items"])]
    assert (heads[8], cells[8]) == ("nDCG@5, warm items", f"{found['warm_items']['metrics']['ndcg@5']['mean']:.4f}")
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.json"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_sixteen_models_look_different_in_a_plot() -> None:
    labels = [f"model {number}" for number in range(16)]
    rows = [SimpleNamespace(label=label, num_seeds=1) for label in labels]
    board: Any = SimpleNamespace(results=[SimpleNamespace(label=label) for label in labels], rows=rows)
    found = _drawn(board)
    assert len({(colour, dash) for _, colour, (dash, _) in found}) == 16
    assert len({(colour, dash) for _, colour, (_, dash) in found}) == 16


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


class TuningWatcher(Watcher):
    """Counts trials too."""

    def __init__(self) -> None:
        super().__init__()
        self.studies: list[str] = []
        self.num_trials: list[int] = []

    @contextmanager
    def tuning(self, label: str, metric: str, budget: Budget) -> Iterator[TuningWatcher]:
        self.studies.append(f"{label} by {metric}, {budget}")
        yield self

    def __call__(self, record: EpochRecord) -> None:
        pass

    def trials(self, trials: Sequence[Trial]) -> None:
        self.num_trials.append(len(trials))


def execute_tuned(recipe: Recipe, folder: Path, watcher: TuningWatcher, num_seeds: int = 1) -> list[Result]:
    return run(
        recipe,
        read_dataset(recipe.data.source),
        folder / "out",
        num_seeds=num_seeds,
        threads=1,
        training=watcher.training,
        tuning=watcher.tuning,
    )


def test_a_model_is_tuned_once_on_validation_and_then_trained_by_every_seed(tmp_path: Path) -> None:
    recipe, watcher = write(tmp_path, FULL, TUNED, POPULARITY), TuningWatcher()
    results = execute_tuned(recipe, tmp_path, watcher, num_seeds=2)
    assert [result.error for result in results] == [None] * 4
    assert watcher.studies == ["mf-tuned by ndcg@5, 3 trials"]
    assert watcher.num_trials == [1, 2, 3]
    assert watcher.trained == ["mf-tuned, seed 0", "popularity, seed 0", "mf-tuned, seed 1", "popularity, seed 1"]
    parts = split(read_dataset("ml-latest-small"), "random:0.6/0.2/0.2", seed=1)
    plan = recipe.plan(recipe.models[0], threads=1)
    dataset = read_dataset("ml-latest-small")
    found = tune(plan, dataset, parts, tmp_path / "alone", Budget(3), "ndcg@5")
    for result in (results[0], results[2]):
        config = open_run(result.run).model.config.model_dump()
        assert {name: config[name] for name in found.best.settings} == found.best.settings
        assert (config["epochs"], config["negatives"]) == (2, 2)
    assert results[0].valid_metrics["metrics"]["ndcg@5"]["mean"] == found.best.value
    assert lines(tmp_path)[0]["tuned"] == {"budget": "3 trials", "settings": found.best.settings}
    assert (tmp_path / "out" / "mf-tuned-split1-tune" / "history.png").exists()


def test_a_finished_study_is_taken_over_and_a_larger_budget_adds_to_it(tmp_path: Path) -> None:
    first = execute_tuned(write(tmp_path, FULL, TUNED), tmp_path, TuningWatcher())
    watcher = TuningWatcher()
    again = execute_tuned(write(tmp_path, FULL, TUNED), tmp_path, watcher)
    assert (watcher.trained, watcher.num_trials) == ([], [3])
    assert [result.to_json() for result in again] == [result.to_json() for result in first]
    watcher = TuningWatcher()
    execute_tuned(write(tmp_path, FULL, TUNED.replace("trials = 3", "trials = 4")), tmp_path, watcher)
    assert watcher.num_trials == [3, 4]


def test_tuned_halves_give_their_shapes_and_runs_to_the_neumf(tmp_path: Path) -> None:
    tuned = "tune = { trials = 2 }\n"
    gmf = '[[models]]\nlabel = "gmf-tuned"\nmodel = "gmf"\nepochs = 1\n' + tuned
    mlp = '[[models]]\nlabel = "mlp-tuned"\nmodel = "mlp"\nepochs = 1\n' + tuned
    joined = '[[models]]\nlabel = "neumf-tuned"\nmodel = "neumf"\nhalves = ["gmf-tuned", "mlp-tuned"]\nepochs = 1\n'
    watcher = TuningWatcher()
    results = execute_tuned(write(tmp_path, FULL, joined + tuned, gmf, mlp), tmp_path, watcher)
    assert [result.error for result in results] == [None] * 3
    assert [name.partition(" ")[0] for name in watcher.studies] == ["gmf-tuned", "mlp-tuned", "neumf-tuned"]
    neumf, half, other = (open_run(result.run).model.config for result in results)
    assert (neumf.dim, neumf.tower) == (half.dim, other.tower)
    assert "alpha" in lines(tmp_path)[2]["tuned"]["settings"]
    again = TuningWatcher()
    execute_tuned(write(tmp_path, FULL, joined + tuned, gmf, mlp), tmp_path, again)
    assert again.trained == []


def test_tuning_that_fails_is_a_result_and_the_others_go_on(tmp_path: Path) -> None:
    broken = TUNED.replace("epochs = 2", 'epochs = 2\nloss = "bce"\noptimizer = "sgd"\nlr = 1e30')
    failed, popularity = execute_tuned(write(tmp_path, FULL, broken, POPULARITY), tmp_path, TuningWatcher())
    assert "A trial of mf must complete; none did." in failed.error
    assert popularity.error is None


def test_the_leaderboard_says_who_was_tuned_and_by_how_much(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, FULL, TUNED, POPULARITY)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    assert done.code == 0, done.err
    assert "mf-tuned, trial 2: " in done.err
    assert "Tuned on validation by 3 trials: mf-tuned." in done.out
    assert "Not tuned: popularity." in done.out


def test_without_optuna_a_recipe_that_tunes_is_refused(
    tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, FULL, POPULARITY, TUNED)
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out")
    assert done.code == 2
    assert "pip install 'neucf[tune]'" in done.err
    assert not (tmp_path / "out").exists()


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


def made_up(label: str, seed: int, valid: float, test: float, error: str | None = None) -> Result:
    """A result with the figures given."""
    model = "mf" if label.startswith("mf") else label
    if error is not None:
        return Result(label, model, seed, error=error)

    def document(on: str, value: float) -> dict[str, Any]:
        names = ("recall", "precision", "ndcg", "hit", "mrr", "map")
        metrics = {f"{name}@5": {"mean": value, "ci95": [0.0, 1.0]} for name in names}
        return {"protocol": "full", "on": on, "ties": "hash", "metrics": metrics}

    return Result(label, model, seed, "run", 10.0 + seed, document("test", test), document("valid", valid))


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    alone = '[published."Bob | 2002"]\nmetrics = { "hit@5" = 0.25 }\nsource = "Another"\nselected_on_test = true\n'
    recipe = write(tmp_path, FULL, POPULARITY, MF, BROKEN, PUBLISHED, alone)
    results = [
        made_up("popularity", 0, 0.2, 0.9),
        made_up("mf", 0, 0.3, 0.1),
        made_up("mf-broken", 0, 0, 0, error="No luck."),
        made_up("popularity", 1, 0.2, 0.9),
        made_up("mf", 1, 0.5, 0.3),
        made_up("mf-broken", 1, 0, 0, error="No luck again."),
    ]
    return Leaderboard.of(recipe, results)


def test_rows_are_ordered_by_validation_and_averaged_over_seeds(board: Leaderboard) -> None:
    assert [row.label for row in board.rows] == ["mf", "popularity", "mf-broken"]
    mf, popularity, broken = board.rows
    assert mf.valid["ndcg@5"].mean == pytest.approx(0.4)
    assert mf.test["ndcg@5"].mean == pytest.approx(0.2)
    # Of .1 and .3: each .1 from the mean, and one degree of freedom.
    assert mf.test["ndcg@5"].deviation == pytest.approx(0.2 / 2**0.5)
    assert mf.train_seconds == pytest.approx(10.5)
    assert popularity.test["ndcg@5"].deviation == 0
    assert (broken.num_seeds, broken.test, len(broken.errors)) == (0, {}, 2)
    assert board.failed


def test_the_title_says_protocol_part_data_split_and_seeds(board: Leaderboard) -> None:
    assert board.title == (
        "tiny: full ranking, test part; ml-latest-small; split random:0.6/0.2/0.2, seed 1; 2 seeds of training"
    )


def test_markdown_shows_published_numbers_beside(board: Leaderboard) -> None:
    text = to_markdown(board).splitlines()
    assert text[0] == f"# {board.title}"
    assert text[2] == "| model | nDCG@5, validation | nDCG@5 | Recall@5 | training |"
    assert text[4] == "| mf | 0.4000 ±.1414 | 0.2000 ±.1414 | 0.2000 ±.1414 | 10.5 s |"
    assert text[5] == "| &emsp;*Ann 2001* |  | *0.5* |  |  |"
    assert text[7] == "| mf-broken | failed |  |  |  |"
    assert text[8] == "| *Bob \\| 2002†* |  |  |  |  |"
    assert "mf-broken failed: seed 1: No luck again.  " in text
    assert "| Hit@5 | 0.2000 ±.1414 | 0.9000 ±.0000 |" in text
    assert "- Ann 2001: A paper" in text
    assert not any("leaderboard.md" in line for line in text)


def test_csv_and_json_hold_every_metric(board: Leaderboard, tmp_path: Path) -> None:
    write_leaderboard(board, tmp_path)
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["mf", "popularity", "mf-broken", "Ann 2001", "Bob | 2002"]
    assert float(rows["mf"]["test hit@5"]) == pytest.approx(0.2)
    assert float(rows["mf"]["valid map@5 deviation"]) == pytest.approx(0.2 / 2**0.5)
    assert (rows["mf"]["seeds"], rows["Ann 2001"]["source"]) == ("2", "A paper")
    assert (rows["Ann 2001"]["test ndcg@5"], rows["Ann 2001"]["test hit@5"]) == ("0.5", "")
    assert rows["mf-broken"]["error"] == "seed 0: No luck. seed 1: No luck again."
    document = json.loads((tmp_path / "leaderboard.json").read_text())
    assert document["rows"][0]["test"]["mrr@5"]["mean"] == pytest.approx(0.2)
    assert len(document["models"]) == 6


def test_without_matplotlib_a_sentence_says_so(tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FULL, POPULARITY)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "pip install 'neucf[plots]'" in done.err
    assert not (tmp_path / "out" / "time.png").exists()


@pytest.mark.parametrize("recipe", ["nothing", "nothing.toml"])
def test_an_unknown_recipe_is_a_wrong_request(recipe: str, neucf: Call) -> None:
    done = neucf("run", recipe)
    assert done.code == 2
    assert done.err.startswith("Error: `recipe` must be a TOML file, or one of ")
    assert done.out == ""
