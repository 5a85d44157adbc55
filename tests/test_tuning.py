"""Tuning: what is tried, what is kept of it, and what ends a trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from stub_model import METRIC, MF, PARTS, Stub, last_epoch, stub, study, without_time

from neucf import MODELS, evaluate
from neucf.data.splits import Split
from neucf.errors import ConfigError, TrainingError
from neucf.experiment import trying
from neucf.experiment.tuning_plots import draw

pytestmark = pytest.mark.usefixtures("stub_model")


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


def test_what_cannot_be_tuned_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must have settings left to look for; got popularity"):
        study(replace(stub(), model="popularity"), tmp_path)
    with pytest.raises(ConfigError, match="must hold out validation"):
        study(stub(), tmp_path, parts=replace(PARTS, valid=None))
    assert not list(tmp_path.iterdir())


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
