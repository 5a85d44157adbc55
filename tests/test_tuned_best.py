"""The best settings of a study, trained as ever and tested once; and a neumf of tuned halves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from stub_model import DATA, METRIC, MF, PARTS, study

from neucf import MODELS, evaluate
from neucf.artifacts import open_run
from neucf.errors import ConfigError
from neucf.experiment.records import Records
from neucf.experiment.studies import Trial
from neucf.experiment.tuning import Tuned, times_on_test, train_best
from neucf.plan import Plan

pytestmark = pytest.mark.usefixtures("stub_model")


@pytest.mark.parametrize("refit", [False, True])
def test_the_best_is_trained_as_ever_and_meets_test_once(
    tmp_path: Path, refit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(MF, refit=refit)
    tuned = study(plan, tmp_path, 6)
    record = train_best(plan, DATA, PARTS, tmp_path, tuned)
    run = open_run(tmp_path / "best")
    assert [fit["stage"] for fit in run.manifest["fits"]] == ["fit", "refit"][: 1 + refit]
    assert len(run.model.train) == len(PARTS.train) + (len(PARTS.valid) if refit else 0)
    settings = {**MF.settings, **tuned.best.settings}
    first = MODELS["mf"](**settings).fit(PARTS.train, PARTS.valid, seed=0, threads=1)
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(run.first_model.arrays()[name], array)
    assert record["valid_metrics"]["metrics"][METRIC]["mean"] == tuned.best.value
    on_test = evaluate(run.model, PARTS, "test", "full", (10,))
    assert record["metrics"]["metrics"][METRIC]["mean"] == on_test.mean(METRIC)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("judged or trained again")

    monkeypatch.setattr("neucf.experiment.runs.evaluate", never)
    monkeypatch.setattr("neucf.experiment.runs.fit_into", never)
    assert train_best(plan, DATA, PARTS, tmp_path, tuned) == record
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1


def test_the_best_is_trained_anew_where_titles_are_others(tmp_path: Path) -> None:
    tuned = study(MF, tmp_path, 1)
    train_best(MF, DATA, PARTS, tmp_path, tuned)
    ids = DATA.interactions.item_ids.series.alias("item_id")
    titles = pl.DataFrame(ids).with_columns(title=pl.lit("Film"), year=pl.lit(2000), genres=pl.lit(["Drama"]))
    other = replace(DATA, items=titles)
    # The study itself goes on: no trial knows of titles.
    assert study(MF, tmp_path, 1, data=other).trials == tuned.trials
    train_best(MF, other, PARTS, tmp_path, tuned)
    items = open_run(tmp_path / "best").items
    assert items is not None
    assert set(items["title"]) == {"Film"}


def test_an_earlier_budget_meets_test_no_second_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(0, "complete", {}, 0.1, [], 0.0, None)
    few = Tuned(METRIC, (trial,), {})
    more = Tuned(METRIC, (trial, replace(trial, number=1, settings={"lr": 0.05}, value=0.2)), {})
    first = train_best(MF, DATA, PARTS, tmp_path, few)
    train_best(MF, DATA, PARTS, tmp_path, more)
    assert times_on_test(tmp_path) == 2
    monkeypatch.setattr("neucf.experiment.runs.evaluate", None)
    assert train_best(MF, DATA, PARTS, tmp_path, few) == first
    assert times_on_test(tmp_path) == 2
    assert open_run(tmp_path / "best").manifest["fingerprint"] == first["fingerprint"]


def test_test_can_wait_or_be_missing(tmp_path: Path) -> None:
    tuned = study(MF, tmp_path, 2)
    assert train_best(MF, DATA, PARTS, tmp_path, tuned, on_test=False)["metrics"] is None
    assert train_best(MF, DATA, PARTS, tmp_path, tuned)["metrics"]["on"] == "test"
    # Once judged it stays so.
    assert train_best(MF, DATA, PARTS, tmp_path, tuned, on_test=False)["metrics"] is not None
    assert Records(tmp_path / "results.jsonl").find({"settings": tuned.best.settings}) is not None
    parts = replace(PARTS, test=None)
    tuned = study(MF, tmp_path / "none", 1, parts=parts)
    assert train_best(MF, DATA, parts, tmp_path / "none", tuned)["metrics"] is None


def train_half(name: str, folder: Path, seed: int = 0) -> None:
    shape = {"gmf": {"dim": 4}, "mlp": {"tower": "8-4"}}[name]
    plan = Plan(name, {**shape, "epochs": 2, "metric": METRIC}, split=MF.split, seed=seed, threads=1, ks=(10,))
    tuned = Tuned(METRIC, (Trial(0, "complete", {}, 0.1, [], 0.0, None),), {})
    train_best(plan, DATA, PARTS, folder / name, tuned, on_test=False)


def joined(folder: Path) -> Plan:
    for name in ("gmf", "mlp"):
        train_half(name, folder)
    settings = {"dim": 4, "tower": "8-4", "epochs": 1, "metric": METRIC}
    return replace(MF, model="neumf", settings=settings, halves=(folder / "gmf" / "best", folder / "mlp" / "best"))


def test_halves_are_opened_once_and_their_weight_is_looked_for(tmp_path: Path) -> None:
    plan = joined(tmp_path)
    tuned = study(plan, tmp_path / "neumf", 3)
    assert all("alpha" in trial.settings and "dim" not in trial.settings for trial in tuned.trials)
    record = train_best(plan, DATA, PARTS, tmp_path / "neumf", tuned, on_test=False)
    assert record["config"]["alpha"] == tuned.best.settings["alpha"]
    assert record["valid_metrics"]["metrics"][METRIC]["mean"] == tuned.best.value


def test_a_study_goes_on_only_with_the_halves_it_began_with(tmp_path: Path) -> None:
    plan = joined(tmp_path)
    study(plan, tmp_path / "neumf", 1)
    train_half("mlp", tmp_path, seed=1)
    with pytest.raises(ConfigError, match="asked for something else: `halves` was"):
        study(plan, tmp_path / "neumf", 2)
