"""top_k against a brute-force oracle: masks, ties, tiles, both kernels, both paths."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import neucf.evaluation.ranking as ranking
from neucf import MODELS
from neucf.data.interactions import Interactions
from neucf.data.vocabulary import Vocabulary
from neucf.errors import ConfigError, DataError, TrainingError
from neucf.kernels.compile import COMPILED
from neucf.kernels.grid import Shelf
from neucf.kernels.hashing import hash_ids, mix
from neucf.kernels.ranking import push_numpy
from neucf.recommender import to_numpy


@dataclass
class Table:
    """A recommender that looks its scores up."""

    scores: np.ndarray
    user_ids: Vocabulary
    item_ids: Vocabulary
    name: str = "table"
    tallest_tile: int = 0

    def score(self, users, items=None):
        assert items is None
        self.tallest_tile = max(self.tallest_tile, len(users))
        return self.scores[np.asarray(users)]

    def score_history(self, histories, items=None):
        assert items is None
        return np.asarray(histories @ np.arange(1, histories.shape[1] + 1)[:, None] * self.scores[:1], np.float32)


class Factors(Table):
    """The same scores by an inner product, and how to get at its factors."""

    def __init__(self, num_users, num_items, dim, seed, bias=True):
        rng = np.random.default_rng(seed)
        self.user_factors = rng.standard_normal((num_users, dim)).astype(np.float32)
        self.item_factors = rng.standard_normal((num_items, dim)).astype(np.float32)
        self.bias = rng.standard_normal(num_items).astype(np.float32) if bias else None
        scores = self.user_factors @ self.item_factors.T + (self.bias if bias else 0)
        super().__init__(scores.astype(np.float32), users_of(num_users), items_of(num_items))

    def factors(self):
        return self.user_factors, self.item_factors, self.bias


def users_of(num: int) -> Vocabulary:
    return Vocabulary(range(100, 100 + num), "user")


def items_of(num: int) -> Vocabulary:
    return Vocabulary(range(7, 7 + num), "item")


def table(scores) -> Table:
    scores = np.asarray(scores, np.float32)
    return Table(scores, users_of(scores.shape[0]), items_of(scores.shape[1]))


def plain_mix(value: int) -> int:
    """splitmix64 in Python's own integers."""
    word = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & word
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & word
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & word
    return value ^ (value >> 31)


def oracle(scores, user_ids, item_ids, k, hidden, seed):
    """Sorts each whole row in Python: score descending, then the tie hash; returns lists of item indices."""
    lists = []
    for row, user in enumerate(user_ids):
        person = plain_mix(plain_mix(user) ^ plain_mix(seed))
        key = {i: (-float(scores[row][i]), plain_mix(person ^ plain_mix(item))) for i, item in enumerate(item_ids)}
        rest = sorted((i for i in key if i not in hidden[row]), key=key.get)[:k]
        lists.append(rest + [-1] * (k - len(rest)))
    return lists


def csr_of(rows, num_items) -> csr_array:
    dense = np.zeros((len(rows), num_items), np.float32)
    for row, items in enumerate(rows):
        dense[row, list(items)] = 1
    return csr_array(dense)


@pytest.fixture(params=["compiled", "numpy"])
def kernels(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(ranking, "push", push_numpy)
    elif not COMPILED:
        pytest.skip("numba is not installed")


def test_mix_gives_the_published_splitmix64_sequence():
    # Steele et al.'s generator from state 1234567; the first outputs stand in many test suites of it.
    state, outputs = 1234567, []
    for _ in range(3):
        outputs.append(int(mix(np.array([state], np.uint64))[0]))
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_text_ids_hash_by_blake2b():
    expected = int.from_bytes(hashlib.blake2b("Amélie".encode(), digest_size=8).digest(), "little")
    assert hash_ids(pl.Series(["Amélie"])).tolist() == [expected]


@pytest.mark.usefixtures("kernels")
def test_hand_worked_list_hides_the_mask_and_sorts_best_first():
    mask = csr_of([[0], [1, 2, 3]], 4)
    ranked = ranking.top_k(table([[9, 2, 5, 3], [4, 9, 9, 9]]), np.array([0, 1]), 2, mask=mask)
    assert ranked.items.tolist() == [[2, 3], [0, -1]]
    assert ranked.scores.tolist() == [[5, 3], [4, -np.inf]]
    assert ranked.items.dtype == np.int32
    assert ranked.scores.dtype == np.float32


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("num_items", [5, 40, 300])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_agrees_with_sorting_everything(num_items, k):
    rng = np.random.default_rng([num_items, k])
    scores = rng.integers(0, 6, (9, num_items)).astype(np.float32)
    hidden = [set(rng.choice(num_items, rng.integers(0, num_items + 1), replace=False).tolist()) for _ in range(9)]
    users = np.array([4, 0, 8, 4])
    model = table(scores)
    ranked = ranking.top_k(model, users, k, mask=csr_of(hidden, num_items), seed=3, threads=2)
    ids = [model.user_ids[u] for u in users]
    expected = oracle(scores[users], ids, list(model.item_ids), k, [hidden[u] for u in users], 3)
    assert ranked.items.tolist() == expected
    kept = [[scores[u, i] for i in row if i >= 0] for u, row in zip(users, expected, strict=True)]
    assert ranked.scores.tolist() == [row + [-np.inf] * (k - len(row)) for row in kept]


@pytest.mark.usefixtures("kernels")
def test_a_list_as_long_as_the_catalogue_holds_every_item():
    ranked = ranking.top_k(table(np.ones((2, 70))), np.array([0, 1]), 70)
    assert [sorted(row) for row in ranked.items.tolist()] == [list(range(70))] * 2
    assert ranked.items[0].tolist() != ranked.items[1].tolist()


@given(st.data())
def test_both_kernels_agree_on_any_scores(data):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 90)))
    values = st.sampled_from([-2.5, -1.0, -0.0, 0.0, 1e-30, 1.0, 3e38, -3e38])
    flat = data.draw(st.lists(values, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    scores = np.array(flat, np.float32).reshape(shape)
    k = data.draw(st.integers(1, shape[1]))
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=shape[1], max_size=shape[1])))
    model = table(scores)
    hidden = [set(np.flatnonzero(~allowed).tolist())] * shape[0]
    expected = oracle(scores, list(model.user_ids), list(model.item_ids), k, hidden, 0)
    for push in (ranking.push, push_numpy):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranking, "push", push)
            ranked = ranking.top_k(model, np.arange(shape[0]), k, allowed=allowed, threads=1)
        assert ranked.items.tolist() == expected


def test_order_of_the_indices_decides_nothing():
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 3, (6, 50)).astype(np.float32)
    first = table(scores)
    user_order, item_order = rng.permutation(6), rng.permutation(50)
    second = Table(
        scores[user_order][:, item_order],
        Vocabulary([first.user_ids[u] for u in user_order], "user"),
        Vocabulary([first.item_ids[i] for i in item_order], "item"),
    )
    one = ranking.top_k(first, user_order, 10).items
    two = ranking.top_k(second, np.arange(6), 10).items
    assert [[first.item_ids[i] for i in row] for row in one] == [[second.item_ids[i] for i in row] for row in two]


def test_the_seed_orders_ties_and_nothing_else():
    model = table(np.tile([1, 1, 1, 1, 1, 1, 2, 0], (3, 1)))
    lists = [ranking.top_k(model, np.arange(3), 8, seed=seed).items for seed in (0, 1, -1)]
    assert all((items[:, 0] == 6).all() and (items[:, -1] == 7).all() for items in lists)
    assert len({items.tobytes() for items in lists}) == 3


def test_a_constant_scorer_lists_every_item_equally_often():
    num_users, num_items, k = 4000, 40, 10
    constant = np.broadcast_to(np.float32(1), (num_users, num_items))
    items = ranking.top_k(Table(constant, users_of(num_users), items_of(num_items)), np.arange(num_users), k).items
    counts = np.bincount(items.ravel(), minlength=num_items)
    # Chi-square with 39 degrees of freedom (scaled, since a list holds no item twice): .9999 quantile is 83.
    expected = num_users * k / num_items
    assert ((counts - expected) ** 2 / expected).sum() * (num_items - 1) / (num_items - k) < 83
    # and in every place of the list
    assert abs(items[:, 0].mean() - 19.5) < 4 * 11.55 / np.sqrt(num_users)


def test_tiles_are_bounded_by_memory_and_change_nothing():
    scores = np.random.default_rng(1).standard_normal((50, 30)).astype(np.float32)
    whole, tiled = table(scores), table(scores)
    expected = ranking.top_k(whole, np.arange(50), 5)
    ranked = ranking.top_k(tiled, np.arange(50), 5, memory=4 * 30 * 4 * 7, threads=2)
    assert ranked.items.tolist() == expected.items.tolist()
    assert tiled.tallest_tile == 7


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("num_items", "dim"), [(3, 1), (250, 8), (2500, 7)])
def test_factors_agree_with_the_plain_path(num_items, dim, bias):
    model = Factors(90, num_items, dim, seed=2, bias=bias)
    rng = np.random.default_rng(3)
    hidden = [set(rng.choice(num_items, num_items // 8, replace=False).tolist()) for _ in range(90)]
    options = {"mask": csr_of(hidden, num_items), "allowed": rng.random(num_items) < 0.8}
    users, k = rng.integers(0, 90, 150), min(12, num_items)
    fast = ranking.top_k(model, users, k, threads=2, **options)
    plain = ranking.top_k(table(model.scores), users, k, **options)
    np.testing.assert_allclose(fast.scores, plain.scores, rtol=1e-5, atol=1e-4)
    assert (fast.items == plain.items).mean() > 0.99
    listed = fast.items >= 0
    np.testing.assert_allclose(
        model.scores[users[:, None], fast.items][listed], fast.scores[listed], rtol=1e-5, atol=1e-4
    )


def test_memory_tiles_people_with_factors_and_changes_nothing():
    model = Factors(50, 30, 4, seed=0)
    expected = ranking.top_k(model, np.arange(50), 5)
    ranked = ranking.top_k(model, np.arange(50), 5, memory=7 * ranking._PERSON_BYTES, threads=2)
    assert ranked.items.tolist() == expected.items.tolist()


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
@pytest.mark.parametrize("num_items", [5, 637, 1100])
def test_items_alike_tie_exactly_by_factors_wherever_they_stand(num_items):
    model = Factors(5, num_items, 33, seed=4)
    model.item_factors[:], model.bias[:] = model.item_factors[0], model.bias[0]
    ranked = ranking.top_k(model, np.arange(5), num_items, seed=6, threads=2)
    assert (ranked.scores == ranked.scores[:, :1]).all()
    ids = list(model.user_ids), list(model.item_ids)
    assert ranked.items.tolist() == oracle(np.ones((5, num_items)), *ids, num_items, [set()] * 5, 6)


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
def test_a_list_is_the_same_however_many_people_are_asked_for():
    model = Factors(200, 900, 19, seed=9)
    together = ranking.top_k(model, np.arange(200), 50, threads=2)
    for count in (1, 2, 5, 67):
        some = ranking.top_k(model, np.arange(7, 7 + count), 50, threads=1)
        assert (some.items == together.items[7 : 7 + count]).all()
        assert (some.scores == together.scores[7 : 7 + count]).all()


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
@pytest.mark.parametrize(
    ("name", "settings"), [("mf", {"bias": True}), ("mf", {"cosine": True}), ("neumf", {"dim": 4})]
)
def test_a_shelf_holds_the_model_as_it_is(name, settings):
    rng, shelf, users = np.random.default_rng(0), Shelf(), np.arange(30)
    train = Interactions.from_arrays(*np.divmod(rng.choice(30 * 80, 300, replace=False), 80))
    model = MODELS[name](epochs=1, **settings).fit(train, device="cpu", threads=1, seed=1)
    first = model.arrays()

    def lists():
        kept = ranking.top_k(model, users, 10, threads=1, shelf=shelf)
        anew = ranking.top_k(model, users, 10, threads=1)
        assert (kept.items == anew.items).all()
        assert (kept.scores == anew.scores).all()
        return kept.items

    one = lists()
    laid_out = shelf._kept
    assert (lists() == one).all()
    assert shelf._kept is laid_out
    model.fit(train, device="cpu", threads=1, seed=2)
    assert (lists() != one).any()
    model.restore(train, first)
    assert (lists() == one).all()
    weights = csr_array(np.eye(1, train.num_items, 3, dtype=np.float32))
    model = model.placed(np.array([5]), weights)
    assert (lists() != one).any()


TOWERS = [
    ("mlp", {"tower": (10, 7, 6, 3)}),
    ("mlp", {"tower": (8, 5)}),
    ("neumf", {"dim": 5, "tower": (6, 9, 2)}),
    ("neumf", {"dim": 8, "tower": (64, 32, 16, 8), "dropout": 0.5}),
]


def with_tower(name, settings, num_users=70, num_items=1300):
    """A model with random weights of size, biases included."""
    pairs = np.array([0]), np.array([0])
    train = Interactions.from_arrays(*pairs, user_ids=range(num_users), item_ids=range(num_items))
    model = MODELS[name](**settings, epochs=1).fit(train, device="cpu")
    rng = np.random.default_rng(8)
    arrays = {key: rng.normal(0, 0.5, value.shape).astype(np.float32) for key, value in model.arrays().items()}
    return model.restore(train, arrays)


@pytest.mark.skipif(not COMPILED, reason="numba is not installed")
@pytest.mark.parametrize(("name", "settings"), TOWERS)
def test_towers_agree_with_the_plain_path(name, settings, monkeypatch):
    model = with_tower(name, settings)
    plain = Table(to_numpy(model.score(np.arange(70))), model.user_ids, model.item_ids)
    # Nothing but the kernel may score here
    monkeypatch.setattr(model, "score", None)
    rng = np.random.default_rng(3)
    mask = csr_of([set(rng.choice(1300, 100, replace=False).tolist()) for _ in range(70)], 1300)
    users = rng.integers(0, 70, 90)
    fast, expected = (ranking.top_k(each, users, 1250, mask=mask, threads=2) for each in (model, plain))
    np.testing.assert_allclose(fast.scores, expected.scores, rtol=1e-5, atol=1e-4)
    listed = fast.items >= 0
    np.testing.assert_allclose(
        plain.scores[users[:, None], fast.items][listed], fast.scores[listed], rtol=1e-5, atol=1e-4
    )
    assert listed.sum() == 90 * 1200


@pytest.mark.parametrize("where", ["user", "item", "weights.1", "h"])
def test_a_tower_that_is_not_finite_names_the_user(where):
    model = with_tower(*TOWERS[0], num_users=4, num_items=20)
    arrays = model.arrays()
    name = next(key for key in arrays if where in key)
    # A unit that relu would switch off, were it a number
    arrays[name].flat[-1] = np.nan
    model.restore(model.train, arrays)
    wrong = 3 if where == "user" else 0
    with pytest.raises(TrainingError, match=f"mlp gave NaN or an infinity for user {wrong}"):
        ranking.top_k(model, np.arange(4), 5, threads=1)


def test_an_unsorted_mask_hides_as_well():
    mask = csr_array((np.ones(3), np.array([3, 0, 2]), np.array([0, 3])), shape=(1, 5))
    assert set(ranking.top_k(table([[1, 2, 3, 4, 5]]), np.array([0]), 2, mask=mask).items[0]) == {1, 4}


def test_histories_are_scored_and_masked_row_by_row():
    model = table(np.arange(6)[None].repeat(2, 0))
    histories = csr_of([[5], [4, 3]], 6)
    ranked = ranking.top_k(model, None, 2, histories=histories, mask=histories)
    assert ranked.items.tolist() == [[4, 3], [5, 2]]


def test_ties_of_a_history_depend_on_it_and_not_on_its_row():
    model = table(np.zeros((1, 30)))
    one, other = [1, 2], [3]
    first = ranking.top_k(model, None, 30, histories=csr_of([one, other], 30)).items
    second = ranking.top_k(model, None, 30, histories=csr_of([other, one], 30)).items
    assert first[0].tolist() == second[1].tolist()
    assert first[0].tolist() != first[1].tolist()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_names_the_user(wrong):
    scores = np.ones((3, 70), np.float32)
    scores[1, 65] = wrong
    with pytest.raises(TrainingError, match=r"table gave NaN or an infinity for user 101"):
        ranking.top_k(table(scores), np.array([0, 1]), 5, mask=csr_of([[], [65], []], 70))


def test_a_factor_that_is_not_finite_names_the_user():
    model = Factors(500, 20, 4, seed=0)
    model.user_factors[444, 2] = np.nan
    with pytest.raises(TrainingError, match="user 544"):
        ranking.top_k(model, np.arange(500), 5)


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_outside_the_catalogue_is_refused(k):
    with pytest.raises(ConfigError, match=rf"`k` must be in 1\.\.4 \(the catalogue\); got {k}\."):
        ranking.top_k(table(np.ones((2, 4))), np.array([0]), k)


def test_wrong_users_and_shapes_are_refused():
    model = table(np.ones((2, 4)))
    with pytest.raises(DataError, match=r"`users` must hold indices in 0\.\.1; got 2"):
        ranking.top_k(model, np.array([0, 2]), 1)
    with pytest.raises(DataError, match="`users` must be a 1-d integer array"):
        ranking.top_k(model, np.array([0.5]), 1)
    with pytest.raises(DataError, match=r"`mask` must have shape \(2, 4\)"):
        ranking.top_k(model, np.array([0]), 1, mask=csr_of([[1]], 4))
    with pytest.raises(DataError, match=r"`allowed` must have shape \(4,\)"):
        ranking.top_k(model, np.array([0]), 1, allowed=np.ones(3, bool))
    with pytest.raises(DataError, match="`users` must be given"):
        ranking.top_k(model, None, 1)


def test_nobody_asked_for_gets_nothing():
    assert ranking.top_k(table(np.ones((2, 4))), np.array([], int), 3).items.shape == (0, 3)
    assert ranking.top_k(Factors(2, 4, 2, 0), np.array([], int), 3).items.shape == (0, 3)
