"""`neucf run --split-seeds`: differences over repeated splits, their interval, and the choice made on each split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import FIXED, FULL, MF, POPULARITY, write
from scipy import stats

from neucf.data.readers import read_dataset
from neucf.errors import ConfigError
from neucf.experiment import Leaderboard, Recipe, Result, SplitTable, run_splits

Call = Callable[..., Any]

COMPARED = FULL + 'reference = "popularity"\n'
MF_WIDE = MF.replace('label = "mf"', 'label = "mf-wide"').replace("dim = 4", "dim = 8")
BEST = 'best_of = { factors = ["mf", "mf-wide"] }\n'


pytestmark = pytest.mark.usefixtures("made_up_sets")


def result(label: str, valid: float, test: float) -> Result:
    def document(value: float) -> dict[str, Any]:
        names = ("recall", "precision", "ndcg", "hit", "mrr", "map")
        return {"ties": "hash", "metrics": {f"{name}@5": {"mean": value} for name in names}}

    model = "popularity" if label == "popularity" else "mf"
    return Result(label, model, 0, "run", 1.0, document(test), document(valid))


def table(recipe: Recipe, splits: list[dict[str, tuple[float, float]]], train: float, test: float) -> SplitTable:
    """Sums up made-up splits: label to its value on validation and on test."""
    boards = {
        seed: Leaderboard.of(recipe.on_split(seed), [result(label, *values) for label, values in figures.items()])
        for seed, figures in enumerate(splits, start=1)
    }
    return SplitTable.of(recipe, boards, train, test)


def test_the_interval_is_nadeau_and_bengios_worked_by_hand(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED, POPULARITY, MF)
    splits = [{"popularity": (0.1, 0.20), "mf": (0.2, 0.20 + gain)} for gain in (0.01, 0.03, 0.02, 0.06)]
    found = table(recipe, splits, train=800, test=100)
    mf, popularity = found.rows
    # Mean .03; deviations -.02, 0, -.01, .03 give s^2 = .0014 / 3; over 4 splits with an eighth tested per row trained
    # on, the variance of the mean is s^2 (1 / 4 + 1 / 8) = .000175, its root .0132288; t of 3 degrees is 3.18245.
    assert mf.against["ndcg@5"].difference == pytest.approx(0.03)
    assert mf.against["ndcg@5"].interval == pytest.approx((0.03 - 0.0421, 0.03 + 0.0421), abs=1e-5)
    assert mf.against["ndcg@5"].p_value == pytest.approx(2 * stats.t.sf(0.03 / 0.0132288, 3), rel=1e-5)
    assert (mf.holm_p_value, mf.differences) == (
        mf.against["ndcg@5"].p_value,
        pytest.approx({1: 0.01, 2: 0.03, 3: 0.02, 4: 0.06}),
    )
    assert (popularity.against, popularity.holm_p_value) == ({}, None)
    assert "Nadeau and Bengio 2003; 800 rows of training, 100 of test" in found.to_markdown()


def test_where_users_are_held_out_users_are_counted(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED.replace("random:0.6/0.2/0.2", "users:0.6/0.2/0.2"), POPULARITY, MF)
    found, boards = run_splits(recipe, read_dataset(recipe.data.source), tmp_path / "out", 2, threads=1)
    test = boards[1].results[0].metrics
    assert test is not None
    assert (found.unit, found.num_test) == ("users", test["num_users"])
    assert found.num_train == pytest.approx(3 * found.num_test, rel=0.2)
    assert f"{found.num_train:,.0f} users of training" in found.to_markdown()


def test_the_best_of_several_is_chosen_on_validation_of_each_split(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED + BEST, POPULARITY, MF, MF_WIDE)
    found = table(
        recipe,
        [
            {"popularity": (0.1, 0.1), "mf": (0.3, 0.2), "mf-wide": (0.2, 0.9)},
            {"popularity": (0.9, 0.1), "mf": (0.2, 0.9), "mf-wide": (0.3, 0.4)},
            {"popularity": (0.1, 0.1), "mf": (0.4, 0.3), "mf-wide": (0.3, 0.9)},
        ],
        8,
        1,
    )
    rows = {row.label: row for row in found.rows}
    assert rows["factors"].chosen == {1: "mf", 2: "mf-wide", 3: "mf"}
    assert rows["factors"].differences == pytest.approx({1: 0.1, 2: 0.3, 3: 0.2})
    assert sum(row.holm_p_value is not None for row in found.rows) == 3
    assert "factors: the best on validation, chosen on each split anew: mf 2, mf-wide 1." in found.to_markdown()


def test_a_choice_that_is_one_model_on_every_split_is_corrected_for_once(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED + BEST, POPULARITY, MF, MF_WIDE)
    splits = [
        {"popularity": (0.1, 0.1), "mf": (0.3, 0.1 + gain), "mf-wide": (0.2, 0.1 + 2 * gain**2)}
        for gain in (0.1, 0.3, 0.2, 0.4)
    ]
    found = table(recipe, splits, 8, 1)
    rows = {row.label: row for row in found.rows}
    raw = {label: rows[label].against["ndcg@5"].p_value for label in ("mf", "mf-wide")}
    assert rows["factors"].holm_p_value == rows["mf"].holm_p_value == pytest.approx(2 * raw["mf"])
    assert rows["mf-wide"].holm_p_value == pytest.approx(max(raw["mf-wide"], 2 * raw["mf"]))
    assert "corrected for all 2 rows compared" in found.to_markdown()


def test_a_model_that_failed_on_a_split_is_compared_on_the_others(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED, POPULARITY, MF)
    boards = {}
    for seed in (1, 2, 3):
        results = [result("popularity", 0.1, 0.1), result("mf", 0.2, 0.1 + seed / 100)]
        if seed == 2:
            results[1] = Result("mf", "mf", 0, error="No luck.")
        boards[seed] = Leaderboard.of(recipe.on_split(seed), results)
    mf = next(row for row in SplitTable.of(recipe, boards, 8, 1).rows if row.label == "mf")
    assert mf.differences == pytest.approx({1: 0.01, 3: 0.03})
    one_left = {seed: boards[seed] for seed in (1, 2)}
    mf = next(row for row in SplitTable.of(recipe, one_left, 8, 1).rows if row.label == "mf")
    assert (mf.against, mf.holm_p_value) == ({}, None)


def test_where_the_reference_failed_nothing_is_said_to_be_compared(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED + BEST, POPULARITY, MF, MF_WIDE)
    failed = Result("popularity", "popularity", 0, error="No luck.")
    boards = {
        seed: Leaderboard.of(recipe.on_split(seed), [failed, result("mf", 0.2, 0.1), result("mf-wide", 0.1, 0.2)])
        for seed in (1, 2)
    }
    assert SplitTable.of(recipe, boards, 8, 1).footnotes == [
        "popularity failed; nothing was compared.",
        "factors: the best on validation, chosen on each split anew: mf 2.",
    ]


def test_every_split_is_a_study_of_its_own_and_is_taken_over(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, COMPARED + BEST, POPULARITY, MF, MF_WIDE)
    command = ("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1, "--split-seeds")
    done = neucf(*command, 2)
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines()[:8])) <= 80 or "seeds 1 to 2" in done.out.splitlines()[1]
    more = neucf(*command, 3, "--json")
    assert more.code == 0, more.err
    assert more.err.count("taken over") == 6
    document = json.loads(more.out)
    assert [entry["split_seed"] for entry in document["models"]] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [entry["metrics"]["split_seed"] for entry in document["models"]] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    tests = {
        label: np.array(
            [entry["metrics"]["metrics"]["ndcg@5"]["mean"] for entry in document["models"] if entry["label"] == label]
        )
        for label in ("popularity", "mf")
    }
    row = next(row for row in document["splits"]["rows"] if row["label"] == "mf")
    assert list(row["differences"].values()) == pytest.approx(list(tests["mf"] - tests["popularity"]))
    # 60 % of 192 rows train, 20 % are test, rounded as scikit-learn does.
    assert (document["splits"]["num_train"], document["splits"]["num_test"]) == (115, 39)
    for name in ("splits.md", "splits.csv", "splits.json", "split-3/leaderboard.md"):
        assert (tmp_path / "out" / name).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FULL, 'Add reference = "popularity", or another label, to its'),
        (FIXED + 'reference = "mf"\n', "needs a split that its seed draws anew"),
        (COMPARED.replace("random:", "temporal:"), "got 'temporal:0.6/0.2/0.2'"),
    ],
)
def test_what_cannot_be_repeated_is_refused_before_training(tmp_path: Path, text: str, message: str) -> None:
    recipe = write(tmp_path, text, POPULARITY, MF)
    with pytest.raises(ConfigError, match=message):
        run_splits(recipe, read_dataset(recipe.data.source), tmp_path / "out", 3)
    assert not (tmp_path / "out").exists()


def test_one_split_has_no_interval(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED, POPULARITY, MF)
    with pytest.raises(ConfigError, match="at least 2, for an interval over splits; got 1"):
        run_splits(recipe, read_dataset(recipe.data.source), tmp_path / "out", 1)
