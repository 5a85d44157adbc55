"""Recipes that tune: a study of each such model, then its best settings trained by every seed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_up import FULL, POPULARITY, TUNED, Watcher, lines, write

from neucf import split
from neucf.artifacts import open_run
from neucf.data.readers import read_dataset
from neucf.experiment import Recipe, Result, run
from neucf.experiment.budget import Budget
from neucf.experiment.studies import Trial
from neucf.experiment.tuning import tune
from neucf.recommender import EpochRecord

Call = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("made_up_sets")


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
