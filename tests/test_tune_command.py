"""`neucf tune` on the command line: its document, its tables, going on, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neucf.artifacts import open_run
from neucf.models import MODELS

Call = Callable[..., Any]

QUICK = ("--model", "mf", "--set", "epochs=2", "--set", "batch_size=64", "--threads", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up file: users of two kinds, each with items of its own."""
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "events.csv"
    rows = [(user, int(item) * 2 + user % 2) for user in range(40) for item in rng.permutation(15)[:10]]
    file.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    return file


def test_json_is_one_document_and_best_is_a_run(data: Path, tmp_path: Path, neucf: Call) -> None:
    done = neucf("tune", data, *QUICK, "--trials", 4, "--metric", "recall@5", "--out", tmp_path / "study", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found) == {"best", "trials", "run"}
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    keys = {"number", "state", "settings", "value", "epochs", "seconds", "reason"}
    assert all(set(trial) == keys for trial in found["trials"])
    best = found["best"]
    assert set(best) == {"trial", "settings", "metric", "value", "valid_metrics", "metrics"}
    assert best["value"] == max(trial["value"] for trial in found["trials"] if trial["value"] is not None)
    assert found["trials"][best["trial"]]["settings"] == best["settings"]
    assert best["metric"] == "recall@5"
    assert best["valid_metrics"]["metrics"]["recall@5"]["mean"] == best["value"]
    assert json.loads((tmp_path / "study" / "tune.json").read_text()) == found

    run = tmp_path / "study" / "best"
    assert found["run"] == str(run)
    config = open_run(run).model.config.model_dump()
    assert {name: config[name] for name in best["settings"]} == best["settings"]
    assert (config["epochs"], config["metric"]) == (2, "recall@5")
    evaluated = neucf("evaluate", run, "-k", 5, "-k", 10, "-k", 20, "--json", "--threads", 1)
    assert json.loads(evaluated.out) == best["metrics"]
    assert neucf("recommend", run, "--user", 3, "-k", 2).code == 0


def test_the_protocol_is_named_with_its_ties(data: Path, tmp_path: Path, neucf: Call) -> None:
    sampled = ("--protocol", "sampled", "--metric", "hit@10", "--split", "leave-last-out")
    done = neucf("tune", data, *QUICK, "--trials", 1, *sampled, "--no-test", "--out", tmp_path / "study")
    assert done.code == 0, done.err
    assert "Best run, sampled candidates (average ties), validation part: Hit@10" in done.out


def test_the_command_that_gives_the_best_again_reads_alike(data: Path, tmp_path: Path, neucf: Call) -> None:
    reading = ("--user-col", "item", "--item-col", "user", "--k-core", 2)
    done = neucf("tune", data, *QUICK, "--trials", 1, "--no-test", "--out", tmp_path / "study", *reading)
    again = next(line for line in done.out.splitlines() if "neucf train" in line).split()
    assert neucf(*again[1:-1], tmp_path / "again", "--threads", 1).code == 0
    compared = neucf("compare", tmp_path / "study" / "best", tmp_path / "again", "--on", "valid")
    assert "must have the same" not in compared.err


def test_the_terminal_shows_trials_and_the_same_command_goes_on(data: Path, tmp_path: Path, neucf: Call) -> None:
    command = ("tune", data, *QUICK, "--out", tmp_path / "study", "--trials")
    done = neucf(*command, 3)
    assert done.code == 0, done.err
    assert "mf: the best of 3 trials (3 complete)" in done.out
    assert "(defaults)" in done.out
    assert "full ranking, test part: nDCG@20 0." in " ".join(done.out.split())
    settings = json.loads((tmp_path / "study" / "tune.json").read_text())["best"]["settings"]
    shown = " ".join(done.out.split())
    assert f"neucf train {data} --model mf --set epochs=2 --set batch_size=64 " in shown
    default = MODELS["mf"]().config
    for name in ("lr", "reg"):
        assert (f"--set {name}={settings[name]} " in shown) is (settings[name] != getattr(default, name))
    for name in ("history.png", "study.db", "tune.json", "results.jsonl", "best"):
        assert (tmp_path / "study" / name).exists()
    assert [line for line in done.err.splitlines() if line.startswith("mf, trial 2: nDCG@20 0.")]
    again = neucf(*command, 3)
    assert again.code == 0, again.err
    assert "mf: 3 trials stand already; best nDCG@20 0." in again.err
    assert "epoch" not in again.err
    more = neucf(*command, 4)
    assert "3 trials stand already" in more.err
    assert "mf, trial 3: " in more.err
    assert "mf: the best of 4 trials" in more.out


def test_the_test_part_waits_where_it_is_asked_to(data: Path, tmp_path: Path, neucf: Call) -> None:
    done = neucf("tune", data, *QUICK, "--trials", 1, "--no-test", "--out", tmp_path / "study")
    assert done.code == 0, done.err
    assert "validation part" in done.out
    assert "test part" not in done.out
    held_out = neucf(
        "tune", data, *QUICK, "--trials", 1, "--split", "random:0.8/0.2/0", "--out", tmp_path / "b", "--json"
    )
    assert json.loads(held_out.out)["best"]["metrics"] is None


def test_failed_trials_are_shown_with_their_reason(data: Path, tmp_path: Path, neucf: Call) -> None:
    wild = (
        "--set",
        "loss=bce",
        "--set",
        "optimizer=sgd",
        "--set",
        "lr=1e30",
        "--trials",
        2,
        "--out",
        tmp_path / "study",
    )
    done = neucf("tune", data, *QUICK, *wild)
    assert done.code == 1
    assert done.err.strip().splitlines()[-1].startswith("Error: A trial of mf must complete; none did. The last: ")
    assert "mf, trial 1: failed, " in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "mf"], "`--trials` or `--minutes` must say how much may be tried"),
        (["--model", "mf", "--minutes", -1], "`--minutes` must be above 0; got -1.0."),
        (["--model", "mff", "--trials", 1], "Did you mean 'mf'?"),
        (["--model", "popularity", "--trials", 1], "`--model` must have settings left to look for; got popularity"),
        (["--model", "mf", "--trials", 1, "--metric", "ndgc@20"], "Did you mean 'ndcg@20'?"),
        (["--model", "mf", "--trials", 1, "--metric", "ndcg@0"], "`--metric` must be a metric of the full protocol"),
        (["--model", "mf", "--trials", 1, "--protocol", "sampled", "--metric", "recall@20"], "of the sampled protocol"),
        (["--model", "mf", "--trials", 1, "--set", "dmi=3"], "Did you mean 'dim'?"),
        (["--model", "mf", "--trials", 1, "--split", "random:0.8/0/0.2"], "`--split` must hold out validation"),
        (["--model", "mf", "--trials", 1, "--split", "none"], "`--split` must hold out validation"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    data: Path, tmp_path: Path, neucf: Call, arguments: list[Any], said: str
) -> None:
    done = neucf("tune", data, *arguments, "--out", tmp_path / "study")
    assert done.code == 2, done.err
    assert said in done.err
    assert done.out == ""
    assert not (tmp_path / "study").exists()


def test_another_study_is_refused(data: Path, tmp_path: Path, neucf: Call) -> None:
    command = ("tune", data, *QUICK, "--trials", 1, "--no-test", "--out", tmp_path / "study")
    assert neucf(*command).code == 0
    done = neucf(*command, "--split-seed", 2)
    assert done.code == 2
    assert "holds a study that was asked for something else: `--split-seed` was 1 and is now 2." in done.err


def test_without_optuna_or_matplotlib_a_sentence_says_so(
    data: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "matplotlib", None)
        done = neucf("tune", data, *QUICK, "--trials", 1, "--no-test", "--out", tmp_path / "study")
        assert done.code == 0, done.err
        assert "pip install 'neucf[plots]'" in done.err
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = neucf("tune", data, *QUICK, "--trials", 1, "--out", tmp_path / "other")
    assert done.code == 2
    assert "Tuning needs Optuna, which is not installed. Install it: pip install 'neucf[tune]'." in done.err


def test_who_interrupts_is_told_how_to_go_on(
    data: Path, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    command = ("tune", data, *QUICK, "--trials", 2, "--out", tmp_path / "study")
    with monkeypatch.context() as patched:
        patched.setattr("neucf.cli.progress.TrainingBar.__call__", interrupt)
        stopped = neucf(*command)
    assert stopped.code == 130
    assert "The same command goes on from here." in stopped.err
    done = neucf(*command, "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)["trials"]) == 2
