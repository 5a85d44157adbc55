"""Comparisons with a named reference: paired by user, averaged over seeds, corrected on one metric."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import FIXED, FULL, MF, POPULARITY, write
from scipy import stats

from neucf.artifacts import open_run
from neucf.cli.leaderboard import _comparisons
from neucf.data.readers import read_dataset
from neucf.errors import ConfigError, DataError
from neucf.evaluation import evaluate
from neucf.experiment import Leaderboard, Recipe, Result, per_user, run, write_leaderboard
from neucf.experiment.comparing import ComparisonTable
from neucf.experiment.per_user import PerUser

Call = Callable[..., Any]

COMPARED = FULL + 'reference = "popularity"\n'
MF_WIDE = MF.replace('label = "mf"', 'label = "mf-wide"').replace("dim = 4", "dim = 8")


pytestmark = pytest.mark.usefixtures("made_up_sets")


def execute(recipe: Recipe, out: Path, num_seeds: int = 1) -> list[Result]:
    return run(recipe, read_dataset(recipe.data.source), out, num_seeds=num_seeds, threads=1)


def judged(*values: float, users: tuple[int, ...] = (0, 2, 5)) -> PerUser:
    return PerUser(np.array(users), {"ndcg@5": np.array(values), "hit@5": np.array(values) > 0.5})


def test_users_are_averaged_over_seeds_and_then_paired() -> None:
    found = ComparisonTable.of(
        {
            "mf": {0: judged(0.9, 0.4, 0.2), 1: judged(0.7, 0.6, 0.0)},
            "ials": {0: judged(0.5, 0.5, 0.4)},
            "gmf": {0: judged(0.5, 0.5, 0.4)},
        },
        "ials",
        "ndcg@5",
    )
    assert found is not None
    assert (found.num_users, [row.label for row in found.rows]) == (3, ["mf", "gmf"])
    mf, gmf = found.rows
    # Means over seeds .8, .5, .1 less .5, .5, .4: .3, 0, -.3.
    assert mf.metrics["ndcg@5"].difference == pytest.approx(0)
    # Seed 0 has the mean .5, seed 1 .1 / 3 less, ials .4667: .0333 and -.0333.
    assert (mf.over_seeds.mean, mf.over_seeds.deviation) == pytest.approx((0, 0.2 / 3 / 2**0.5))
    assert gmf.metrics["ndcg@5"].interval == (0, 0)
    assert (gmf.metrics["ndcg@5"].p_value, gmf.holm_p_value, gmf.over_seeds.deviation) == (1, 1, None)
    assert mf.metrics["hit@5"].wilcoxon_p_value is None
    # .3 and -.3 are of one size, as hits and misses are.
    assert mf.metrics["ndcg@5"].wilcoxon_p_value is None


def test_the_deviation_over_seeds_has_that_of_the_reference_in_it() -> None:
    ours = {seed: judged(value, value, value) for seed, value in enumerate((0.6, 0.7, 0.8))}
    theirs = {seed: judged(value, value, value) for seed, value in enumerate((0.1, 0.5))}
    found = ComparisonTable.of({"mf": ours, "ials": theirs}, "ials", "ndcg@5")
    assert found is not None
    # Variances .01 and .08.
    assert (found.rows[0].over_seeds.mean, found.rows[0].over_seeds.deviation) == pytest.approx((0.4, 0.3))


def test_seeds_are_spoken_of_where_there_are_several_and_their_column_stands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def compared(num_seeds: int) -> ComparisonTable:
        seeds = {seed: judged(0.9, 0.4, 0.2 + seed / 10) for seed in range(num_seeds)}
        found = ComparisonTable.of({"mf": seeds, "ials": {0: judged(0.5, 0.5, 0.4)}}, "ials", "ndcg@5")
        assert found is not None
        return found

    said = "Over seeds: mean ± standard deviation"
    assert said in "\n".join(compared(2).to_markdown())
    assert said not in "\n".join(compared(1).to_markdown())
    _comparisons(compared(2))
    shown = " ".join(capsys.readouterr().out.split())
    assert "corrected for the one model of this table." in shown
    assert said not in shown


def test_holm_counts_the_models_and_not_the_metrics() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(40)
    shifts = {"mf": 0.12, "gmf": 0.05, "mlp": 0.3}
    seeds = {
        label: {
            0: PerUser(np.arange(40), {name: base + shift + rng.normal(0, 0.2, 40) for name in ("ndcg@5", "map@5")})
        }
        for label, shift in {"ease": 0.0, **shifts}.items()
    }
    found = ComparisonTable.of(seeds, "ease", "ndcg@5")
    assert found is not None
    raw = {row.label: row.metrics["ndcg@5"].p_value for row in found.rows}
    first, second, third = sorted(raw, key=raw.__getitem__)
    expected = {first: 3 * raw[first]}
    expected[second] = max(expected[first], 2 * raw[second])
    expected[third] = max(expected[second], raw[third])
    assert {row.label: row.holm_p_value for row in found.rows} == pytest.approx(
        {label: min(1, value) for label, value in expected.items()}
    )
    text = "\n".join(found.to_markdown())
    assert "corrected for all 3 models of this table" in text
    assert "40 users, this split" in text
    assert text.index("## Exploratory: other metrics against ease") < text.index("| MAP@5 |")
    document = found.to_json()["models"][0]["metrics"]
    assert {name: metric["exploratory"] for name, metric in document.items()} == {"ndcg@5": False, "map@5": True}


def test_other_users_cannot_be_paired() -> None:
    with pytest.raises(DataError, match="same users"):
        ComparisonTable.of(
            {"mf": {0: judged(1, 1, 1)}, "ials": {0: judged(1, 1, 1, users=(0, 2, 6))}}, "ials", "ndcg@5"
        )


def test_without_a_judged_reference_there_is_no_comparison() -> None:
    assert ComparisonTable.of({"mf": {0: judged(1, 1, 1)}, "ials": {}}, "ials", "ndcg@5") is None
    assert ComparisonTable.of({"ials": {0: judged(1, 1, 1)}}, "ials", "ndcg@5") is None


def test_a_recipe_compares_with_its_reference(tmp_path: Path) -> None:
    recipe = write(tmp_path, COMPARED, POPULARITY, MF)
    results = execute(recipe, tmp_path / "out", num_seeds=2)
    board = Leaderboard.of(recipe, results)
    (mf,) = board.comparisons.rows

    def mean_of(label: str) -> Any:
        runs = [open_run(tmp_path / "out" / f"{label}-seed{seed}") for seed in range(2)]
        values = [evaluate(found.model, found.split, ks=(5,), seed=seed).values for seed, found in enumerate(runs)]
        return np.mean([each["ndcg@5"] for each in values], 0)

    differences = mean_of("mf") - mean_of("popularity")
    assert mf.metrics["ndcg@5"].difference == pytest.approx(differences.mean())
    assert mf.metrics["ndcg@5"].wilcoxon_p_value == pytest.approx(stats.wilcoxon(differences[differences != 0]).pvalue)
    assert mf.holm_p_value == mf.metrics["ndcg@5"].p_value
    write_leaderboard(board, tmp_path)
    assert "## Against popularity: nDCG@5, test part, paired by user" in (tmp_path / "leaderboard.md").read_text()
    document = json.loads((tmp_path / "leaderboard.json").read_text())
    assert document["comparisons"]["models"][0]["label"] == "mf"


def test_comparing_needs_no_second_look_at_the_test_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(tmp_path, COMPARED, POPULARITY, MF)
    first = execute(recipe, tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr("neucf.experiment.runs.evaluate", None)
        again = execute(recipe, tmp_path / "out")
    assert Leaderboard.of(recipe, again).comparisons == Leaderboard.of(recipe, first).comparisons
    # What was lost, damaged, or kept of another run is judged again.
    mf, popularity = (tmp_path / "out" / "per-user" / f"{label}-seed0.npz" for label in ("mf", "popularity"))
    mf.write_bytes(mf.read_bytes()[:40])
    popularity.unlink()
    again = execute(recipe, tmp_path / "out")
    assert Leaderboard.of(recipe, again).comparisons == Leaderboard.of(recipe, first).comparisons
    assert per_user.find(tmp_path / "out" / "mf-seed0", {"fingerprint": "another"}) is None


def test_a_failed_model_leaves_the_others_compared(tmp_path: Path) -> None:
    recipe = write(
        tmp_path, COMPARED, POPULARITY, MF, MF_WIDE.replace("lr = 0.05", 'loss = "bce"\noptimizer = "sgd"\nlr = 1e30')
    )
    board = Leaderboard.of(recipe, execute(recipe, tmp_path / "out"))
    assert [row.label for row in board.comparisons.rows] == ["mf"]
    assert board.failed


def test_the_terminal_shows_intervals_and_what_they_are_over(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, COMPARED + 'best_of = { factors = ["mf", "mf-wide"] }\n', POPULARITY, MF, MF_WIDE)
    command = ("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    done = neucf(*command)
    assert done.code == 0, done.err
    shown = [line.rstrip() for line in done.out.splitlines()]
    assert "Against popularity: nDCG@5, test part, paired by user" in shown
    assert "users, this split" in " ".join(" ".join(shown).split())
    assert "factors: validation chose mf" in done.out
    assert max(map(len, shown)) <= 80 or shown[-1].startswith("Written:")
    document = json.loads(neucf(*command, "--json").out)
    assert [model["label"] for model in document["models"]] == ["popularity", "mf", "mf-wide"]
    assert {model["label"] for model in document["comparisons"]["models"]} == {"mf", "mf-wide"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('reference = "ials"', "evaluation.reference"),
        ('best_of = { neural = ["gmf"] }', "evaluation.best_of.neural"),
        ("best_of = { neural = [] }", "must list labels other than the reference"),
        ('best_of = { mf = ["mf"] }', "must have names that are no labels; got 'mf'"),
        ('reference = "mf"\nbest_of = { neural = ["mf"] }', "must list labels other than the reference"),
    ],
)
def test_labels_of_a_recipe_must_be_its_own(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write(tmp_path, FULL + line + "\n", POPULARITY, MF)


def test_hit_rates_of_the_sampled_protocol_get_no_wilcoxon_test(tmp_path: Path) -> None:
    recipe = write(tmp_path, FIXED + 'reference = "popularity"\n', POPULARITY, MF)
    found = Leaderboard.of(recipe, execute(recipe, tmp_path / "out")).comparisons
    assert found.rows[0].metrics["hit@3"].wilcoxon_p_value is None
    assert "none for hit rates" in "\n".join(found.to_markdown())
