"""The closed-form baselines against their papers' formulas, written out on dense matrices."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import planted
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.errors import TrainingError
from neucf.models import MODELS, gf_cf, memory
from neucf.recommender import to_numpy

TRAIN, _ = planted()
X = TRAIN.csr().toarray().astype(np.float64)
USERS = np.arange(TRAIN.num_users)


def test_ease_is_the_closed_form() -> None:
    """Steck 2019, equation 8."""
    inverse = np.linalg.inv(X.T @ X + 7.0 * np.eye(X.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    model = MODELS["ease"](reg=7.0).fit(TRAIN, threads=1)
    np.testing.assert_allclose(to_numpy(model.score(USERS)), X @ weights, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(to_numpy(model.score_history(TRAIN.csr())), X @ weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
def test_item_knn_sums_cosines_of_the_nearest(shrinkage: float, normalize: bool) -> None:
    products = X.T @ X
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths) + shrinkage
    similarity = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    np.fill_diagonal(similarity, 0.0)
    expected = X @ similarity
    if normalize:
        similarity = similarity / np.maximum(similarity.sum(0), 1e-12)
        expected = X.mean(0) + (X - X.mean(0)) @ similarity
    settings = {"weighting": "none", "neighbours": X.shape[1], "shrinkage": shrinkage, "normalize": normalize}
    model = MODELS["item-knn"](**settings).fit(TRAIN, threads=1)
    np.testing.assert_allclose(to_numpy(model.score(USERS)), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_numpy(model.score_history(TRAIN.csr())), expected, rtol=1e-4, atol=1e-5)
    restored = MODELS["item-knn"](**settings).restore(TRAIN, model.arrays())
    np.testing.assert_array_equal(to_numpy(restored.score(USERS)), to_numpy(model.score(USERS)))


def test_user_knn_sums_the_positives_of_the_nearest() -> None:
    lengths = np.maximum(np.linalg.norm(X, axis=1), 1e-12)
    similarity = X @ X.T / np.outer(lengths, lengths)
    np.fill_diagonal(similarity, 0.0)
    model = MODELS["user-knn"](weighting="none", neighbours=len(X)).fit(TRAIN, threads=1)
    np.testing.assert_allclose(to_numpy(model.score(USERS)), similarity @ X, rtol=1e-4, atol=1e-5)


def test_rp3beta_walks_three_steps() -> None:
    """Paudel et al. 2017: user, item, user, item; divided by popularity to beta; no item leads to itself."""
    popularity = np.maximum(X.sum(0), 1.0)
    forth, back = X / np.maximum(X.sum(1, keepdims=True), 1.0), X.T / popularity[:, None]
    walk = (back**0.8) @ (forth**0.8) / popularity**0.4
    np.fill_diagonal(walk, 0.0)
    model = MODELS["rp3beta"](alpha=0.8, beta=0.4, neighbours=X.shape[1]).fit(TRAIN, threads=1)
    np.testing.assert_allclose(to_numpy(model.score(USERS)), X @ walk, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("exact", [0, 1024])
def test_gf_cf_adds_the_linear_and_the_ideal_filter(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shen et al. 2021, section 4: x (R^T R + alpha D_I^-1/2 V V^T D_I^1/2), by a dense decomposition."""
    monkeypatch.setattr(gf_cf, "_EXACT", exact)
    by_user, by_item = np.maximum(X.sum(1), 1e-12), np.maximum(X.sum(0), 1e-12)
    filtered = X / np.sqrt(by_user)[:, None] / np.sqrt(by_item)
    vectors = np.linalg.svd(filtered)[2][:4].T
    ideal = (vectors / np.sqrt(by_item)[:, None]) @ (vectors * np.sqrt(by_item)[:, None]).T
    chosen = X.sum(0) > 0
    ideal[~chosen] = 0
    model = MODELS["gf-cf"](dim=4, alpha=0.3).fit(TRAIN, threads=1)
    expected = X @ (filtered.T @ filtered + 0.3 * ideal)
    np.testing.assert_allclose(to_numpy(model.score(USERS)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("exact", [0, 1024])
def test_gf_cf_lets_no_more_vectors_pass_than_the_rank(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gf_cf, "_EXACT", exact)
    rng = np.random.default_rng(0)
    dense = (rng.random((10, 50)) < 0.25)[rng.integers(0, 10, 100)]
    train = Interactions.from_csr(csr_array(dense.astype(np.float32)))
    histories = csr_array((rng.random((3, 50)) < 0.2).astype(np.float32))
    one, other = (MODELS["gf-cf"](dim=30).fit(train, seed=seed, threads=1) for seed in (0, 1))
    assert one.arrays()["vectors"].shape[1] == np.linalg.matrix_rank(dense)
    np.testing.assert_allclose(one.score_history(histories), other.score_history(histories), atol=1e-5)


def test_gf_cf_gives_the_same_bits_where_the_rank_is_far_below_the_rows() -> None:
    users, items = np.divmod(np.arange(16), 4)
    train = Interactions.from_arrays(np.r_[users, users + 4, users + 8], np.r_[items, items + 4, items + 8])
    one, other = (MODELS["gf-cf"](dim=2).fit(train, threads=1).arrays()["vectors"] for _ in range(2))
    assert np.array_equal(one, other)


def test_ease_says_where_weights_leave_the_penalty_no_bits() -> None:
    train = Interactions.from_arrays([0, 0], [0, 1], weights=[1e5, 1e5])
    with pytest.raises(TrainingError, match=r"`reg` of ease must count .* add up to 1e\+10; got 100\. Raise it"):
        MODELS["ease"]().fit(train, threads=1)


@pytest.mark.parametrize("name", ["ease", "item-knn", "rp3beta", "slim"])
def test_affinities_add_up_to_the_score(name: str) -> None:
    model = MODELS[name]().fit(TRAIN, threads=1)
    liked = TRAIN.csr()[[3]].indices
    affinities = model.affinities(liked)
    assert affinities is not None
    np.testing.assert_allclose(affinities.sum(0), to_numpy(model.score([3]))[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(model.affinities(liked, np.array([5, 2])), affinities[:, [5, 2]], rtol=1e-5)


def test_slim_meets_its_optimality_conditions() -> None:
    """Ning and Karypis 2011, equation 3: a weight above 0 has no slope left; at 0 the slope is not negative."""
    model = MODELS["slim"](l1=0.5, l2=1.0, max_sweeps=2_000, tolerance=1e-5).fit(TRAIN, threads=1)
    weights = to_numpy(model.score_history(type(TRAIN.csr())(np.eye(X.shape[1], dtype=np.float32)))).astype(np.float64)
    assert np.all(np.diag(weights) == 0)
    assert weights.min() >= 0
    assert (weights > 0).any()
    slope = X.T @ (X @ weights - X) + 1.0 * weights + 0.5
    free = ~np.eye(len(weights), dtype=bool)
    assert np.abs(slope[(weights > 0) & free]).max() < 0.02
    assert slope[(weights == 0) & free].min() > -0.02


def test_slim_counts_an_item_once_where_products_of_weights_are_too_small_for_float32() -> None:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((400, 6)) < 0.7)
    weights = np.where(items < 2, 1e-25, 1.0)
    train = Interactions.from_arrays(users, items, weights=weights, user_ids=range(400), item_ids=range(6))
    model = MODELS["slim"](l1=0.0).fit(train, threads=1)
    # The tiny items say next to nothing of the others, which are as without them
    rest = Interactions.from_csr(csr_array(train.csr()[:, 2:]))
    expected = to_numpy(MODELS["slim"](l1=0.0).fit(rest, threads=1).score(np.arange(400)))
    np.testing.assert_allclose(to_numpy(model.score(np.arange(400)))[:, 2:], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["item-knn", "user-knn"])
def test_cosines_do_not_depend_on_how_small_weights_are(name: str) -> None:
    model, small = MODELS[name](weighting="none", neighbours=5), MODELS[name](weighting="none", neighbours=5)
    model.fit(TRAIN, threads=1)
    small.fit(replace(TRAIN, weights=np.full(len(TRAIN), 2.0**-100, np.float32)), threads=1)
    for key, value in model.arrays().items():
        np.testing.assert_array_equal(small.arrays()[key], value)


@pytest.mark.parametrize("weight", [0.0, 1e-42, 1e-25])
@pytest.mark.parametrize("name", ["item-knn", "user-knn", "rp3beta", "gf-cf"])
def test_an_item_of_weights_next_to_nothing_spoils_no_other(name: str, weight: float) -> None:
    weights = np.where(TRAIN.items == 3, weight, 1).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = MODELS[name]().fit(replace(TRAIN, weights=weights), threads=1)
        scores = to_numpy(model.score(USERS))
    assert np.isfinite(scores).all()
    assert (np.delete(scores, 3, 1) > 0).any(0).all()


def test_ease_says_beforehand_what_memory_it_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    # 100,000 items: the matrix alone is 4e10 bytes, 37.3 GiB
    many = np.arange(100_000)
    data = Interactions.from_arrays(np.zeros_like(many), many)
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    with pytest.raises(TrainingError, match=r"ease over 100,000 items takes 3[789]\.\d GiB of memory; 1\.0 are free\."):
        MODELS["ease"]().fit(data)


def test_free_memory_is_what_the_container_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\nfile 900000\n")
    assert memory.available_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (memory.available_memory() or 0) > 2_000_000
