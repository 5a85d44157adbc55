"""`neucf compare`: existing run folders in one table, and the ones that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up import FULL, GMF, MF, MLP, POPULARITY, write

from neucf import save
from neucf.artifacts import open_run
from neucf.data.readers import read_dataset
from neucf.errors import ArtifactError, ConfigError
from neucf.experiment import Leaderboard, compare_runs, run

Call = Callable[..., Any]

COMPARED = FULL + 'reference = "popularity"\n'
JOINED = '[[models]]\nlabel = "neumf-joined"\nmodel = "neumf"\nhalves = ["gmf", "mlp"]\nepochs = 1\n'


pytestmark = pytest.mark.usefixtures("made_up_sets")


def train(neucf: Call, out: Path, *more: object, model: str = "popularity", data: str = "ml-latest-small") -> Path:
    split = () if "--split" in more else ("--split", "random:0.6/0.2/0.2")
    done = neucf("train", data, "--model", model, "--out", out, "--threads", 1, *split, *more)
    assert done.code == 0, done.err
    return out


def test_runs_of_a_recipe_give_the_recipes_table(tmp_path: Path, neucf: Call) -> None:
    recipe = write(tmp_path, COMPARED, POPULARITY, GMF, MLP, JOINED)
    results = run(recipe, read_dataset("ml-latest-small"), tmp_path / "out", num_seeds=2, threads=1)
    expected = Leaderboard.of(recipe, results)
    runs = [result.run for result in results]
    board = compare_runs(runs, reference="popularity", threads=1)
    assert board.comparisons == expected.comparisons
    assert [(row.label, row.num_seeds, row.test, row.valid) for row in board.rows] == [
        (row.label, row.num_seeds, row.test, row.valid) for row in expected.rows
    ]
    assert board.metrics == expected.metrics
    document = json.loads(neucf("compare", *runs, "--reference", "popularity", "--threads", 1, "--json").out)
    assert document["comparisons"] == json.loads(json.dumps(expected.comparisons.to_json()))


def test_the_first_run_is_the_reference_and_the_table_fits(tmp_path: Path, neucf: Call) -> None:
    first = train(neucf, tmp_path / "a")
    other = train(neucf, tmp_path / "b", "--set", "dim=4", "--set", "epochs=2", model="mf")
    done = neucf("compare", first, other, "--threads", 1)
    assert done.code == 0, done.err
    assert "Against popularity: nDCG@20, test part, paired by user" in done.out
    assert "Judging mf, seed 0" in done.err
    assert max(map(len, done.out.splitlines())) <= 100
    valid = json.loads(neucf("compare", first, other, "--on", "valid", "-k", 3, "--metric", "hit@3", "--json").out)
    evaluated = json.loads(neucf("evaluate", other, "--on", "valid", "-k", 3, "--json", "--threads", 1).out)
    (mf,) = valid["comparisons"]["models"]
    (reference,) = (row for row in valid["rows"] if row["label"] == "popularity")
    found = evaluated["metrics"]["hit@3"]["mean"] - reference["valid"]["hit@3"]["mean"]
    assert mf["metrics"]["hit@3"]["difference"] == pytest.approx(found)
    assert (valid["comparisons"]["on"], valid["comparisons"]["primary"]) == ("valid", "hit@3")
    assert all(row["test"] == {} for row in valid["rows"])
    assert "nDCG@20, validation part" in neucf("compare", first, other, "--on", "valid", "--threads", 1).out


def test_other_settings_of_one_model_are_called_by_their_folders(tmp_path: Path, neucf: Call) -> None:
    settings = ("--set", "epochs=1", "--set")
    narrow = [
        train(neucf, tmp_path / f"narrow{seed}", *settings, "dim=2", "--seed", seed, model="mf") for seed in (0, 1)
    ]
    wide = train(neucf, tmp_path / "wide", *settings, "dim=4", model="mf")
    assert {row.label: row.num_seeds for row in compare_runs([*narrow, train(neucf, tmp_path / "c")]).rows} == {
        "mf": 2,
        "popularity": 1,
    }
    assert {row.label for row in compare_runs([*narrow, wide]).rows} == {"narrow0", "narrow1", "wide"}


def test_a_folder_called_as_another_run_is_labelled_is_no_seed_of_it(tmp_path: Path, neucf: Call) -> None:
    popular = train(neucf, tmp_path / "pop0")
    named_so = train(neucf, tmp_path / "z" / "popularity", "--set", "reg=5", model="ease")
    other = train(neucf, tmp_path / "z" / "e500", "--set", "reg=500", model="ease")
    rows = {row.label: (row.model, row.num_seeds) for row in compare_runs([popular, named_so, other]).rows}
    assert rows == {"pop0": ("popularity", 1), str(named_so): ("ease", 1), "e500": ("ease", 1)}


def test_candidates_are_the_same_for_runs_of_other_seeds(tmp_path: Path, neucf: Call) -> None:
    runs = [
        train(neucf, tmp_path / f"k{seed}", "--set", f"neighbours={900 + seed}", "--seed", seed, model="item-knn")
        for seed in (0, 1)
    ]
    board = compare_runs(runs, on="valid", protocol="sampled", ks=[3], metric="ndcg@3")
    assert board.comparisons is not None
    (found,) = board.comparisons.rows
    assert found.metrics["ndcg@3"].difference == 0


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ((), "data"),
        (("--split", "random:0.5/0.3/0.2"), "--split"),
        (("--split-seed", 2), "--split-seed"),
    ],
)
def test_runs_of_other_data_or_splits_are_refused(
    tmp_path: Path, neucf: Call, options: tuple[Any, ...], key: str
) -> None:
    first, data = train(neucf, tmp_path / "a"), "ml-latest-small"
    if key == "data":
        file = tmp_path / "other.csv"
        file.write_text("user,item,rating\n" + "\n".join(f"{u},{i},5" for u in range(9) for i in range(u % 3, 9)))
        data = str(file)
    other = train(neucf, tmp_path / "b", *options, data=data)
    done = neucf("compare", first, other)
    assert done.code == 2
    assert f"must have the same {key}; {first} has " in done.err
    assert f" and {other} has " in done.err
    assert "Compare them apart, or train one of them as the other was." in done.err
    assert done.out == ""


def test_runs_of_other_protocols_are_refused_until_one_is_named(tmp_path: Path) -> None:
    dataset = read_dataset("ml-latest-small")
    full = write(tmp_path, FULL, POPULARITY)
    (first,) = run(full, dataset, tmp_path / "full", threads=1)
    sampled = write(tmp_path, FULL.replace("ks = [5]", 'protocol = "sampled"\nks = [5]'), MF)
    (other,) = run(sampled, dataset, tmp_path / "sampled", threads=1)
    with pytest.raises(ConfigError, match=r"must share their protocol .* has full, .* has sampled\. Judge all by one"):
        compare_runs([first.run, other.run])
    assert compare_runs([first.run, other.run], protocol="full").protocol == "full"
    assert set(compare_runs([first.run, other.run], protocol="sampled").metrics) == {"hit@5", "ndcg@5", "mrr"}


def test_rows_that_differ_under_the_same_name_are_refused(
    tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (train(neucf, tmp_path / name) for name in ("a", "b"))
    opened = {path: open_run(path) for path in (first, other)}
    shuffled = opened[other].split
    changed = type(shuffled)(train=shuffled.train, valid=shuffled.test, test=shuffled.valid)
    object.__setattr__(opened[other], "split", changed)
    monkeypatch.setattr("neucf.experiment.existing.open_run", lambda path: opened[path])
    with pytest.raises(ConfigError, match="must have the same valid rows"):
        compare_runs([first, other], threads=1)


def test_what_cannot_be_compared_is_a_wrong_request(tmp_path: Path, neucf: Call) -> None:
    first = train(neucf, tmp_path / "a")
    train(neucf, tmp_path / "b", "--seed", 1)
    save(open_run(first).model, tmp_path / "bare")
    cases = [
        (["a"], [], "at least two run folders; got 1"),
        (["a", "a"], [], "a stands twice"),
        (["a", "bare"], [], "record how they split"),
        (["a", "nothing"], [], "must be a run folder"),
        (["a", "b"], ["--reference", "ials"], "`--reference` must be"),
        (["a", "b"], ["--metric", "ndcg@7"], "`--metric` must be"),
    ]
    for names, options, message in cases:
        done = neucf("compare", *(tmp_path / name for name in names), *options)
        assert (done.code, done.out) == (2, "")
        assert message in done.err


def test_data_are_known_by_their_hash_and_not_by_their_name(made_up_data: Path, tmp_path: Path, neucf: Call) -> None:
    file = made_up_data / "ml-latest-small" / "ratings.csv"
    first = train(neucf, tmp_path / "a")
    other = train(neucf, tmp_path / "b", "--items", file.with_name("movies.csv"), "--min-rating", 4, data=str(file))
    done = neucf("compare", first, other, "--threads", 1)
    assert done.code == 0, done.err


def test_on_test_a_refitted_run_stands_beside_none_that_was_not(tmp_path: Path, neucf: Call) -> None:
    first, other = train(neucf, tmp_path / "a"), train(neucf, tmp_path / "b", "--refit")
    done = neucf("compare", first, other)
    assert done.code == 2
    assert f"same rows to train on (--refit); {first} has train and {other} has train and valid." in done.err
    assert neucf("compare", first, other, "--on", "valid", "--threads", 1).code == 0


def test_a_metric_is_declared_only_where_it_chose_the_epochs(tmp_path: Path, neucf: Call) -> None:
    first = train(neucf, tmp_path / "a")
    other = train(neucf, tmp_path / "b", "--set", "epochs=1", model="mf")
    runs = ("compare", first, other, "--on", "valid", "--threads", 1)
    assert "nDCG@20 was declared beforehand;" in " ".join(neucf(*runs).out.split())
    assert "nDCG@20 was declared beforehand;" in " ".join(neucf(*runs, "--metric", "ndcg@20").out.split())
    assert "Hit@20 was given by --metric;" in " ".join(neucf(*runs, "--metric", "hit@20").out.split())


def test_test_is_met_only_when_no_run_can_be_refused_any_more(
    tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (train(neucf, tmp_path / name) for name in ("a", "b"))
    (other / "weights.safetensors").write_bytes(b"")
    monkeypatch.setattr("neucf.experiment.existing.evaluate", None)
    with pytest.raises(ArtifactError, match="altered or cut"):
        compare_runs([first, other])
