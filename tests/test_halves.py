"""A neumf that starts from runs of its halves, and the weights of a first fit that a refit would lose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neucf.artifacts import open_run
from neucf.errors import ArtifactError

Call = Callable[..., Any]

SIZES = {"gmf": ("--set", "dim=4"), "mlp": ("--set", "tower=8-4")}
SPLIT = ("--split", "random:0.6/0.2/0.2", "--threads", 1, "--set", "epochs=2", "--set", "lr=0.05", "--refit")


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Twenty users, each with ten of twenty items."""
    rng = np.random.default_rng(0)
    rows = [f"u{user},i{item}" for user in range(20) for item in rng.permutation(20)[:10]]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item", *rows]))
    return tmp_path / "ratings.csv"


@pytest.fixture
def halves(ratings: Path, neucf: Call) -> dict[str, Path]:
    """Runs of gmf and mlp, both refitted."""
    runs = {name: ratings.with_name(name) for name in SIZES}
    for name, run in runs.items():
        done = neucf("train", ratings, "--model", name, "--out", run, *SPLIT, *SIZES[name])
        assert done.code == 0, done.err
    return runs


def join(ratings: Path, halves: dict[str, Path], neucf: Call, *more: object) -> Any:
    named = [part for name, run in halves.items() for part in ("--set", f"{name}={run}")]
    sizes = [part for name in SIZES for part in SIZES[name]]
    out = ratings.with_name("neumf")
    return neucf("train", ratings, "--model", "neumf", "--out", out, *SPLIT, *sizes, *named, *more)


def test_a_refitted_run_keeps_what_validation_judged(halves: dict[str, Path]) -> None:
    run = open_run(halves["gmf"])
    first, last = run.first_model, run.model
    assert len(first.train) == len(run.split.train)
    assert len(last.train) == len(run.split.train) + len(run.split.valid)
    assert not np.array_equal(first.arrays()["user_embedding.weight"], last.arrays()["user_embedding.weight"])


def test_each_fit_starts_from_the_same_fit_of_its_halves(ratings: Path, halves: dict[str, Path], neucf: Call) -> None:
    # Steps this small change nothing, so what is kept is what was joined.
    done = join(ratings, halves, neucf, "--set", "lr=1e-12", "--set", "alpha=0.25", "--set", "optimizer=sgd")
    assert done.code == 0, done.err
    joined, runs = open_run(ratings.with_name("neumf")), {name: open_run(run) for name, run in halves.items()}
    for stage in ("first_model", "model"):
        gmf, mlp = (getattr(runs[name], stage).arrays() for name in ("gmf", "mlp"))
        found = getattr(joined, stage).arrays()
        assert np.allclose(found["gmf_user_embedding.weight"], gmf["user_embedding.weight"], atol=1e-9)
        assert np.allclose(found["mlp_item_embedding.weight"], mlp["item_embedding.weight"], atol=1e-9)
        assert np.allclose(found["h"], np.concatenate([0.25 * gmf["h"], 0.75 * mlp["h"]]), atol=1e-7)
    assert joined.manifest["halves"] == ["gmf", "mlp"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "gmf="), "`gmf` and `mlp` must both name a run"),
        (("--split-seed", 2), "`gmf` must be trained on this run's train rows"),
        (("--set", "dim=8"), "`dim` must be that of the gmf to start from, 4; got 8"),
    ],
)
def test_halves_that_do_not_fit_are_refused(
    ratings: Path, halves: dict[str, Path], neucf: Call, more: tuple[object, ...], said: str
) -> None:
    done = join(ratings, halves, neucf, *more)
    assert done.code == 2
    assert said in done.err
    assert not ratings.with_name("neumf").exists()


def test_halves_of_another_model_are_refused(ratings: Path, halves: dict[str, Path], neucf: Call) -> None:
    done = join(ratings, {"gmf": halves["mlp"], "mlp": halves["gmf"]}, neucf)
    assert done.code == 2
    assert "`gmf` must be a run of gmf" in done.err


def test_a_first_fit_that_was_not_kept_is_missed(halves: dict[str, Path]) -> None:
    manifest = json.loads((halves["gmf"] / "manifest.json").read_text())
    del manifest["files"]["first.safetensors"]
    (halves["gmf"] / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"must hold first\.safetensors"):
        _ = open_run(halves["gmf"]).first_model
