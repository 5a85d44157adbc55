"""What a study may spend: trials, minutes, or both."""

from __future__ import annotations

from pathlib import Path

import pytest
from stub_model import Stub, stub, study, without_time

from neucf.errors import ConfigError
from neucf.experiment import trying
from neucf.experiment.budget import Budget

pytestmark = pytest.mark.usefixtures("stub_model")


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
