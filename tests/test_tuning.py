"""Tuning: what is tried, what is kept of it, what ends it, and the run it ends with."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import polars as pl
import pytest
from pydantic import Field
from sqlalchemy import event
from sqlalchemy.engine import Engine

from neucf import MODELS, evaluate, split
from neucf.artifacts import open_run
from neucf.data.splits import Split
from neucf.data.synthetic import synthetic
from neucf.errors import ArtifactError, ConfigError, TrainingError
from neucf.experiment import trying
from neucf.experiment.budget import Budget
from neucf.experiment.records import Records
from neucf.experiment.studies import Trial
from neucf.experiment.tuning import Tuned, times_on_test, train_best, tune
from neucf.experiment.tuning_plots import draw
from neucf.models.config import Config, Tunable
from neucf.models.popularity import Popularity
from neucf.plan import Plan
from neucf.recommender import EpochRecord

DATA = synthetic(num_users=60, num_items=50, num_interactions=1_200, seed=0).dataset
PARTS = split(DATA, "random:0.6/0.2/0.2", seed=1)
METRIC = "ndcg@10"


class StubConfig(Config):
    """Settings of a model that only pretends to learn."""

    quality: Annotated[float, Tunable(0.0, 1.0)] = Field(0.5, ge=0, le=1)
    epochs: Annotated[int, Tunable(4, 30, log=True)] = Field(10, ge=1)
    kind: Annotated[str, Tunable(choices=("plain", "odd"))] = Field("plain")
    oddity: Annotated[float, Tunable(0.1, 1.0, when=("kind", "odd"))] = Field(0.5)
    trouble: str = Field("")
    # Whether a fit with an odd number of epochs stops half-way.
    stops: bool = Field(False)
    metric: str = Field(METRIC)
    metric_protocol: str = Field("full")


def last_epoch(epochs: int, stops: bool) -> int:
    return epochs // 2 if stops and epochs % 2 else epochs


class Stub(Popularity):
    """Popularity with noise; what it reports rises straight to its quality."""

    name: ClassVar[str] = "stub"
    config_class: ClassVar[type[Config]] = StubConfig
    # For each fit, the value reported at each epoch.
    reported: ClassVar[list[dict[int, float]]] = []

    def fit(self, train: Any, *_: Any, monitor: Any = None, **__: Any) -> Self:
        super().fit(train)
        config: Any = self.config
        noise = np.random.default_rng(0).normal(size=train.num_items)
        self._counts = (config.quality * self._counts + (1 - config.quality) * 9 * noise).astype(np.float32)
        self.reported.append({})
        for epoch in range(1, last_epoch(config.epochs, config.stops) + 1):
            value = config.quality * epoch / config.epochs
            self.reported[-1][epoch] = value
            self._stumble(epoch)
            monitor.epoch(EpochRecord(epoch, config.epochs, 0.5, 0.1, 0.0, 10, valid_metrics={METRIC: value}))
        self.best_epoch = config.epochs
        return self

    def _stumble(self, epoch: int) -> None:
        trouble, quality = self.config.trouble, self.config.quality  # type: ignore[attr-defined]
        if trouble == "combination" and quality > 0.6:
            raise ConfigError("`quality` does not go with that.")
        if trouble == "divergence" and (quality < 0.4 or quality == 0.5) and epoch == 2:
            raise TrainingError("The loss is not finite.")
        if trouble == "bug" and quality > 0.6:
            raise ZeroDivisionError("made up")


@pytest.fixture(autouse=True)
def _stub_in_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("neucf.models", fromlist=["_HOMES"])._HOMES, "stub", f"{__name__}:Stub")
    monkeypatch.setattr(Stub, "reported", [])


@pytest.fixture(autouse=True)
def _disk_is_not_waited_for() -> Iterator[None]:
    """Commits to SQLite return before the disk has them: a test survives no power cut anyway."""

    def connected(connection: Any, _: Any) -> None:
        connection.execute("pragma synchronous=off")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


class Watcher:
    """Keeps what it sees, and interrupts at an epoch of the trial of a number."""

    def __init__(self, interrupt: int | None = None) -> None:
        self.seen: list[int] = []
        self._interrupt = interrupt

    def __call__(self, record: EpochRecord) -> None:
        if self.seen[-1:] == [self._interrupt] and record.epoch == 2:
            raise KeyboardInterrupt

    def trials(self, trials: Sequence[Trial]) -> None:
        self.seen.append(len(trials))


def stub(**settings: Any) -> Plan:
    return Plan("stub", settings, split="random:0.6/0.2/0.2", threads=1)


MF = Plan("mf", {"metric": METRIC, "dim": 4, "batch_size": 64}, split="random:0.6/0.2/0.2", threads=1, ks=(10,))


def study(plan: Plan, folder: Path, trials: int | None = 12, minutes: float | None = None, **more: Any) -> Tuned:
    parts = more.pop("parts", PARTS)
    return tune(
        plan, more.pop("data", DATA), parts, folder, Budget(trials, minutes), more.pop("metric", METRIC), **more
    )


def without_time(tuned: Tuned) -> list[dict[str, Any]]:
    return [{**asdict(trial), "seconds": None} for trial in tuned.trials]


def test_the_first_trial_is_the_defaults_and_all_stay_where_they_are_looked_for(tmp_path: Path) -> None:
    tuned = study(stub(), tmp_path, 14)
    assert [trial.number for trial in tuned.trials] == list(range(14))
    assert tuned.trials[0].settings == {"quality": 0.5, "epochs": 10, "kind": "plain"}
    assert {trial.settings["kind"] for trial in tuned.trials} == {"plain", "odd"}
    for trial in tuned.trials:
        assert 0 <= trial.settings["quality"] <= 1
        assert 4 <= trial.settings["epochs"] <= 30
        # What has an effect only with another's value is drawn only with it.
        assert ("oddity" in trial.settings) == (trial.settings["kind"] == "odd")


def test_settings_given_stay(tmp_path: Path) -> None:
    tuned = study(stub(kind="odd", quality="0.9"), tmp_path, 4)
    assert all(set(trial.settings) == {"epochs", "oddity"} for trial in tuned.trials)


def test_values_are_those_of_the_library_and_the_best_is_the_highest(tmp_path: Path) -> None:
    tuned = study(MF, tmp_path, 7)
    complete = [trial for trial in tuned.trials if trial.state == "complete"]
    assert len(complete) >= 5
    for trial in complete:
        model = MODELS["mf"](**MF.settings, **trial.settings).fit(PARTS.train, PARTS.valid, seed=0, threads=1)
        assert trial.value == evaluate(model, PARTS, "valid", "full", (10,)).mean(METRIC)
        assert trial.epochs == [model.best_epoch]
    assert tuned.best.value == max(trial.value for trial in complete)


def test_the_test_part_is_never_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = study(MF, tmp_path / "honest", 6)

    def judged(model: Any, parts: Split, on: str, *rest: Any, **more: Any) -> Any:
        assert on == "valid"
        assert parts.test is None
        return evaluate(model, parts, on, *rest, **more)

    monkeypatch.setattr(trying, "evaluate", judged)
    # As if the test part held every item that is best to recommend on validation, and nothing else.
    poisoned = replace(PARTS, test=PARTS.valid)
    assert without_time(study(MF, tmp_path / "poisoned", 6, parts=poisoned)) == without_time(honest)
    assert honest.best.number == study(MF, tmp_path / "poisoned", 6, parts=poisoned).best.number


def test_the_same_seed_gives_the_same_trials_and_another_others(tmp_path: Path) -> None:
    first, again = (study(MF, tmp_path / name, 5) for name in ("first", "again"))
    assert without_time(first) == without_time(again)
    other = study(replace(MF, seed=1), tmp_path / "other", 5)
    assert other.trials[0].settings == first.trials[0].settings
    assert all(one.settings != two.settings for one, two in zip(first.trials[1:], other.trials[1:], strict=True))


@pytest.mark.parametrize("number", [0, 11])
def test_an_interrupted_study_becomes_what_it_would_have_been(tmp_path: Path, number: int) -> None:
    whole = study(stub(), tmp_path / "whole", 13)
    watcher = Watcher(interrupt=number)
    watcher.seen.append(0)
    with pytest.raises(KeyboardInterrupt):
        study(stub(), tmp_path / "part", 13, watcher=watcher)
    assert watcher.seen[-1] == number
    assert without_time(study(stub(), tmp_path / "part", 13)) == without_time(whole)


def test_a_study_in_sqlite_goes_on_and_a_spent_budget_tries_nothing(tmp_path: Path) -> None:
    first = study(stub(), tmp_path, 6)
    with sqlite3.connect(tmp_path / "study.db") as file:
        states = [state for (state,) in file.execute("select state from trials")]
    file.close()
    assert len(states) == 6
    Stub.reported.clear()
    watcher = Watcher()
    again = study(stub(), tmp_path, 6, watcher=watcher)
    assert Stub.reported == []
    assert watcher.seen == [6]
    assert again.trials == first.trials
    more = study(stub(), tmp_path, 9)
    assert more.trials[:6] == first.trials
    assert len(Stub.reported) == 3


def test_a_study_may_lie_where_a_name_means_something_in_a_url(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%20e"
    study(stub(), folder, 2)
    assert (folder / "study.db").exists()
    assert len(study(stub(), folder, 3).trials) == 3


OTHER_DATA = synthetic(num_users=60, num_items=50, num_interactions=1_100, seed=1).dataset


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plan": replace(stub(), model="mf")}, "`model` was 'stub' and is now 'mf'"),
        ({"plan": replace(stub(), split_seed=2)}, "`split_seed` was 1 and is now 2"),
        ({"plan": replace(stub(), split="random:0.8/0.1/0.1")}, "`split` was"),
        ({"plan": replace(stub(), valid="random:0.2")}, "`valid` was None and is now 'random:0.2'"),
        ({"plan": replace(stub(), protocol="sampled")}, "`protocol` was 'full' and is now 'sampled'"),
        ({"plan": replace(stub(), seed=5)}, "`seed` was 0 and is now 5"),
        ({"plan": stub(trouble="bug")}, "`config.trouble` was '' and is now 'bug'"),
        ({"plan": stub(quality=0.3)}, "`config.quality` was None and is now 0.3"),
        ({"metric": "recall@10"}, "`metric` was 'ndcg@10' and is now 'recall@10'"),
        ({"data": OTHER_DATA}, "`data` was"),
    ],
)
def test_a_study_of_something_else_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    study(stub(), tmp_path, 1)
    with pytest.raises(ConfigError) as stopped:
        study(change.pop("plan", stub()), tmp_path, 2, **change)
    assert said in str(stopped.value)
    assert "holds a study that was asked for something else" in str(stopped.value)
    assert len(study(stub(), tmp_path, 1).trials) == 1


def test_a_study_is_held_against_others(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ArtifactError, match="is in use by another process"):
            study(stub(), tmp_path, 1)
    assert len(study(stub(), tmp_path, 1).trials) == 1


def test_a_file_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("years of work, no database at all")
    with pytest.raises(ArtifactError, match="must be a study of this neucf"):
        study(stub(), tmp_path, 1)
    assert (tmp_path / "study.db").read_text().startswith("years of work")


@pytest.mark.parametrize("stops", [False, True])
def test_pruning_follows_the_median_rule(tmp_path: Path, stops: bool) -> None:
    tuned = study(stub(kind="plain", stops=stops), tmp_path, 20)
    # By hand: at each new tenth of its epochs, from three tenths on, a trial ends if its best lies below the median of
    # what the complete ones reported at that tenth, or kept where they had ended before; five are complete before any
    # is pruned.
    complete: list[dict[int, float]] = []
    for trial in tuned.trials:
        quality, epochs = trial.settings["quality"], trial.settings["epochs"]
        at_tenth: dict[int, float] = {}
        pruned_at, last = None, last_epoch(epochs, stops)
        for epoch in range(1, last + 1):
            tenth = 10 * epoch // epochs
            if tenth in at_tenth or tenth == 10:
                continue
            at_tenth[tenth] = quality * epoch / epochs
            others = [reported[tenth] for reported in complete if tenth in reported]
            if len(complete) >= 5 and tenth >= 3 and others and max(at_tenth.values()) < median(others):
                pruned_at = epoch
                break
        assert trial.state == ("complete" if pruned_at is None else "pruned"), trial
        assert max(Stub.reported[trial.number]) == (pruned_at or last)
        if pruned_at is None:
            complete.append(at_tenth | dict.fromkeys(range(max(at_tenth) + 1, 10), trial.value))
        else:
            assert trial.reason is not None
            assert trial.reason.startswith(f"Below the median of earlier trials at epoch {pruned_at} of {epochs}: ")
    assert 3 <= sum(trial.state == "pruned" for trial in tuned.trials) <= 15


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("combination", "`quality` does not go with that."),
        ("divergence", "The loss is not finite."),
        ("bug", "ZeroDivisionError: made up"),
    ],
)
def test_a_failed_trial_counts_and_keeps_its_reason(tmp_path: Path, trouble: str, reason: str) -> None:
    tuned = study(stub(trouble=trouble), tmp_path, 10)
    assert len(tuned.trials) == 10
    failed = [trial for trial in tuned.trials if trial.state == "failed"]
    assert failed
    assert all(trial.reason.startswith(reason) and trial.value is None for trial in failed)
    assert tuned.best.state == "complete"
    assert (tmp_path / "errors.log").exists() == (trouble == "bug")
    # They are still there when the file is opened again.
    assert study(stub(trouble=trouble), tmp_path, 10).trials == tuned.trials


def test_a_real_divergence_is_a_failed_trial_and_none_complete_is_an_error(tmp_path: Path) -> None:
    broken = replace(MF, settings={**MF.settings, "loss": "bce", "optimizer": "sgd", "lr": 1e30, "epochs": 2})
    with pytest.raises(TrainingError, match=r"A trial of mf must complete; none did\. The last: .*finite"):
        study(broken, tmp_path, 3)


class Clock:
    """A clock on which every look takes ten seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


def test_minutes_are_respected_and_the_defaults_always_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "perf_counter", Clock())
    # The defaults look at the clock ten times in their epochs: longer than there is.
    tuned = study(stub(), tmp_path / "short", None, minutes=1)
    assert [trial.state for trial in tuned.trials] == ["complete"]
    tuned = study(stub(), tmp_path / "long", None, minutes=8)
    assert len(tuned.trials) > 1
    spent = [trial.seconds for trial in tuned.trials]
    assert sum(spent[:-1]) < 8 * 60
    # What is under way when time is up goes on for an epoch and no more.
    assert sum(spent) <= 8 * 60 + 40
    last = tuned.trials[-1]
    assert last.state == "complete" or "Time was up at epoch" in str(last.reason) or "median" in str(last.reason)
    again = study(stub(), tmp_path / "long", None, minutes=8)
    assert again.trials == tuned.trials


def test_more_minutes_give_what_they_would_have_given_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "perf_counter", Clock())
    plan = stub(epochs=20)
    first = study(plan, tmp_path / "part", 1)
    minutes = (first.trials[0].seconds + 60) / 60
    assert study(plan, tmp_path / "part", None, minutes=minutes).trials[-1].cut
    # Fewer trials are enough, and more minutes for as many are more time as well.
    for trials in (2, 14):
        part = study(plan, tmp_path / "part", trials)
        assert without_time(part) == without_time(study(plan, tmp_path / f"whole{trials}", trials))
        assert not any(trial.cut for trial in part.trials)


def test_a_trial_under_way_when_time_is_up_is_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "perf_counter", Clock())
    first = study(stub(epochs=20), tmp_path, 1)
    minutes = (first.trials[0].seconds + 60) / 60
    tuned = study(stub(epochs=20), tmp_path, None, minutes=minutes)
    assert [trial.state for trial in tuned.trials] == ["complete", "pruned"]
    assert tuned.trials[1].reason.startswith("Time was up at epoch ")
    assert len(Stub.reported[-1]) < 20
    assert tuned.best.number == 0


@pytest.mark.parametrize(
    ("trials", "minutes", "said"),
    [
        (None, None, "`trials` or `minutes` must say how much"),
        (0, None, "`trials` must be at least 1; got 0"),
        (None, 0.0, "`minutes` must be above 0; got 0"),
        (None, float("nan"), "`minutes` must be above 0"),
    ],
)
def test_a_budget_must_be_one(trials: int | None, minutes: float | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Budget(trials, minutes)


def test_a_smaller_budget_chooses_among_what_it_pays_for(tmp_path: Path) -> None:
    whole = study(stub(), tmp_path, 5)
    values = [trial.value or 0.0 for trial in whole.trials]
    for count in (1, 3, 5):
        part = study(stub(), tmp_path, count)
        assert len(part.trials) == count
        assert part.best.value == max(values[:count])
    seconds = [trial.seconds for trial in whole.trials]
    assert len(Budget(minutes=sum(seconds[:3]) / 60).within(whole.trials)) == 3
    assert len(Budget(trials=2, minutes=1e6).within(whole.trials)) == 2


def test_whichever_budget_is_spent_first_ends_it(tmp_path: Path) -> None:
    assert len(study(stub(), tmp_path / "a", 3, minutes=60).trials) == 3
    assert len(study(stub(), tmp_path / "b", 300, minutes=1e-6).trials) == 1
    assert str(Budget(3, 1.5)) == "3 trials or 1.5 minutes"


def test_what_cannot_be_tuned_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must have settings left to look for; got popularity"):
        study(replace(stub(), model="popularity"), tmp_path)
    with pytest.raises(ConfigError, match="must hold out validation"):
        study(stub(), tmp_path, parts=replace(PARTS, valid=None))
    assert not list(tmp_path.iterdir())


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


def test_what_mattered_is_found_and_drawn(tmp_path: Path) -> None:
    tuned = study(stub(kind="plain", trouble="divergence"), tmp_path, 30)
    assert set(tuned.importances) == {"quality", "epochs"}
    # Quality alone decides the value.
    assert tuned.importances["quality"] > tuned.importances["epochs"]
    assert sum(tuned.importances.values()) == pytest.approx(1)
    files = draw(tuned, "stub", tmp_path)
    assert [file.name for file in files] == ["history.png", "importance.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    # A smaller budget has none, nor the picture of another's.
    draw(study(stub(kind="plain", trouble="divergence"), tmp_path, 4), "stub", tmp_path)
    assert not (tmp_path / "importance.png").exists()
    few = study(stub(), tmp_path / "few", 2)
    assert few.importances == {}
    assert [file.name for file in draw(few, "stub", tmp_path / "few")] == ["history.png"]
