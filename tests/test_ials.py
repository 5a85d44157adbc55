"""iALS against the objective written out over every pair, and against dense normal equations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from planted import planted
from scipy.sparse import csr_array

from neucf.evaluation import Evaluation, evaluate
from neucf.models import MODELS, trained
from neucf.models.ials import IALS
from neucf.recommender import to_numpy
from neucf.training.als import AlsEngine

TRAIN, HELD = planted()
SETTINGS = {"dim": 6, "reg": 0.02, "alpha0": 0.2, "nu": 0.5, "init_std": 0.5}


def engine(cg_steps: int, threads: int = 1) -> AlsEngine:
    return AlsEngine(TRAIN, **SETTINGS, cg_steps=cg_steps, seed=0, threads=threads)  # type: ignore[arg-type]


def strengths() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The dense positives (U, I), and the scaled L2 strengths of users (U,) and items (I,)."""
    dense = TRAIN.csr().toarray().astype(np.float64)
    num_users, num_items = dense.shape
    users = SETTINGS["reg"] * (dense.sum(1) + SETTINGS["alpha0"] * num_items) ** SETTINGS["nu"]
    items = SETTINGS["reg"] * (dense.sum(0) + SETTINGS["alpha0"] * num_users) ** SETTINGS["nu"]
    return dense, users, items


def objective(als: AlsEngine) -> float:
    """Rendle et al. 2021, equations 2 to 4, one pair at a time."""
    dense, user_reg, item_reg = strengths()
    p, q = als.users.factors.astype(np.float64), als.items.factors.astype(np.float64)
    scores = p @ q.T
    observed = (dense * (1 - scores) ** 2).sum()
    penalty = user_reg @ (p**2).sum(1) + item_reg @ (q**2).sum(1)
    return float(observed + SETTINGS["alpha0"] * (scores**2).sum() + penalty)


@pytest.mark.parametrize("cg_steps", [1, 3])
def test_the_objective_falls_at_every_half_step(cg_steps: int) -> None:
    als = engine(cg_steps)
    before = objective(als)
    for _ in range(4):
        for side in ("users", "items"):
            reported = als.half_step(side)  # type: ignore[arg-type]
            after = objective(als)
            assert after < before
            assert reported == pytest.approx(after, rel=1e-4)
            before = after


@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_on_validation_is_the_objective_of_its_pairs(weighted: bool) -> None:
    als = engine(cg_steps=1)
    als.half_step("users")
    weights = np.linspace(0.5, 2, len(HELD), dtype=np.float32) if weighted else None
    scores = als.users.factors.astype(np.float64) @ als.items.factors.astype(np.float64).T
    errors = (1 - scores[HELD.users, HELD.items]) ** 2
    expected = (errors * (1 if weights is None else weights)).mean()
    expected += SETTINGS["alpha0"] * (scores**2).sum() / len(TRAIN)
    assert als.valid_loss(replace(HELD, weights=weights)) == pytest.approx(expected, rel=1e-4)


def test_a_half_step_solves_the_normal_equations() -> None:
    als = engine(cg_steps=50)
    als.half_step("users")
    als.half_step("items")
    als.half_step("users")
    dense, user_reg, _ = strengths()
    q = als.items.factors.astype(np.float64)
    for user in range(0, len(dense), 7):
        left = SETTINGS["alpha0"] * q.T @ q + (q.T * dense[user]) @ q + user_reg[user] * np.eye(q.shape[1])
        np.testing.assert_allclose(
            als.users.factors[user], np.linalg.solve(left, q.T @ dense[user]), rtol=1e-3, atol=1e-4
        )


def test_threads_change_nothing() -> None:
    found = [engine(3, threads) for threads in (1, 3)]
    for als in found:
        als.run_epoch(1, lambda _: 1.0)
    np.testing.assert_array_equal(found[0].users.factors, found[1].users.factors)
    np.testing.assert_array_equal(found[0].items.factors, found[1].items.factors)


def test_folding_in_a_known_history_gives_back_its_user() -> None:
    model = MODELS["ials"](**SETTINGS, cg_steps=50, epochs=60).fit(TRAIN, threads=1)
    rows = TRAIN.csr()[[3, 8]]
    np.testing.assert_allclose(model.score_history(rows), model.score([3, 8]), atol=0.02)


@pytest.mark.parametrize("weight", [None, 3.0])
def test_unobserved_pairs_weigh_fifteen_times_the_positives_unless_told_otherwise(weight: float | None) -> None:
    train = TRAIN if weight is None else replace(TRAIN, weights=np.full(len(TRAIN), weight))
    share = 15 * (weight or 1) * len(TRAIN) / (TRAIN.num_users * TRAIN.num_items)
    free, told = (
        MODELS["ials"](**{**SETTINGS, "alpha0": alpha0}, epochs=3).fit(train, threads=1) for alpha0 in (0, share)
    )
    np.testing.assert_allclose(free.score([0, 5]), told.score([0, 5]), rtol=1e-6)
    rows = TRAIN.csr()[[3, 8]]
    np.testing.assert_allclose(free.score_history(rows), told.score_history(rows), rtol=1e-6)


def exact_scores(model: IALS, histories: csr_array) -> npt.NDArray[np.float64]:
    """Solves the dense normal equations of each history (B, I), for its scores (B, I)."""
    q, dense = model.factors()[1].astype(np.float64), histories.toarray().astype(np.float64)
    alpha0, nu = SETTINGS["alpha0"], SETTINGS["nu"]
    scores = []
    for row in dense:
        reg = SETTINGS["reg"] * (row.sum() + alpha0 * len(q)) ** nu
        scores.append(q @ np.linalg.solve(alpha0 * q.T @ q + (q.T * row) @ q + reg * np.eye(q.shape[1]), q.T @ row))
    return np.array(scores)


def test_held_out_users_are_folded_in_exactly_at_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = IALS(**SETTINGS, epochs=4, patience=0)
    model.valid_history = history = TRAIN
    histories, errors = history.csr()[:20], []

    def judged(*given: Any, **named: Any) -> Evaluation:
        errors.append(np.abs(to_numpy(model.score_history(histories)) - exact_scores(model, histories)).max())
        return evaluate(*given, **named)

    monkeypatch.setattr(trained, "evaluate", judged)
    model.fit(TRAIN, HELD, threads=1)
    assert len(errors) == 4
    assert max(errors) < 1e-4
    assert np.abs(to_numpy(model.score_history(histories)) - exact_scores(model, histories)).max() < 1e-4


def test_people_are_folded_in_exactly_once_items_are_placed() -> None:
    model = IALS(**SETTINGS, epochs=6).fit(TRAIN, threads=1)
    weights = np.zeros((10, TRAIN.num_items), np.float32)
    weights[np.arange(10), np.arange(10) % 3] = 1
    placed, histories = model.placed(np.arange(30, 40), csr_array(weights)), TRAIN.csr()[:20]
    np.testing.assert_allclose(to_numpy(placed.score_history(histories)), exact_scores(placed, histories), atol=1e-4)
    np.testing.assert_allclose(to_numpy(model.score_history(histories)), exact_scores(model, histories), atol=1e-4)
