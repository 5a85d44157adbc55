"""A study on disk: interrupted, taken up again, held, or of something else."""

from __future__ import annotations

import fcntl
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stub_model import Stub, Watcher, stub, study, without_time

from neucf.data.synthetic import synthetic
from neucf.errors import ArtifactError, ConfigError

pytestmark = pytest.mark.usefixtures("stub_model")


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
