"""lightgcn: propagation against dense matrices, a step's gradient against autograd through them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from planted import planted
from scipy.sparse import csr_array
from torch.nn import functional

from neucf.data.interactions import Interactions
from neucf.kernels.graph import spread_rows, spread_rows_scipy
from neucf.models import MODELS, foldin
from neucf.recommender import to_numpy
from neucf.training.graph import GraphEngine
from neucf.training.propagation import Graph, sparse_half

TRAIN, HELD = planted()
U, C = TRAIN.num_users, TRAIN.num_items
CPU = torch.device("cpu")


def adjacency(train: Interactions) -> npt.NDArray[np.float64]:
    """The dense normalised adjacency matrix (U+I, U+I), as He et al. 2020 write it above equation 8."""
    ones = (train.csr().toarray() > 0).astype(np.float64)
    size = sum(ones.shape)
    whole = np.zeros((size, size))
    whole[: len(ones), len(ones) :], whole[len(ones) :, : len(ones)] = ones, ones.T
    degrees = whole.sum(1)
    scale = np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0.0)
    return scale[:, None] * whole * scale


def mean_map(train: Interactions, layers: int) -> npt.NDArray[np.float64]:
    """The dense map from embeddings to the mean of their layers."""
    once = adjacency(train)
    return np.mean([np.linalg.matrix_power(once, k) for k in range(layers + 1)], axis=0)


def engine(**changes: object) -> GraphEngine:
    settings = {
        "dim": 4, "layers": 3, "loss": "softmax", "temperature": 0.5, "cosine": False, "negatives": 40,
        "batch_size": 10**6, "reg": 0.0, "init_std": 0.3, "seed": 0, "threads": 1, "device": CPU,
    }  # fmt: skip
    return GraphEngine(TRAIN, **{**settings, **changes})  # type: ignore[arg-type]


def test_one_layer_by_hand() -> None:
    # u0 - i0, u0 - i1, u1 - i1; i2 and u2 have no edge
    train = Interactions.from_csr(csr_array(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]])))
    users, items = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[3.0], [5.0], [7.0]])
    mean_users, mean_items = Graph(train, 1, 1, CPU).propagate(users, items)
    root = np.sqrt(2)
    np.testing.assert_allclose(mean_users[:, 0] * 2, [1 + 3 / root + 5 / 2, 2 + 5 / root, 4], rtol=1e-6)
    np.testing.assert_allclose(mean_items[:, 0] * 2, [3 + 1 / root, 5 + 1 / 2 + 2 / root, 7], rtol=1e-6)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_propagation_is_the_dense_one(layers: int, threads: int) -> None:
    tables = np.random.default_rng(0).standard_normal((U + C, 5)).astype(np.float32)
    users, items = Graph(TRAIN, layers, threads, CPU).propagate(*torch.from_numpy(tables).split([U, C]))
    expected = mean_map(TRAIN, layers) @ tables
    np.testing.assert_allclose(np.vstack([users, items]), expected, rtol=1e-4, atol=1e-5)


def test_rows_without_numba_are_the_same() -> None:
    rng = np.random.default_rng(0)
    matrix = TRAIN.csr()
    table, left, right = (rng.random(shape).astype(np.float32) for shape in ((C, 3), (U,), (C,)))
    found = []
    for function in (spread_rows, spread_rows_scipy):
        out = np.zeros((U, 3), np.float32)
        function(5, 40, matrix.indptr.astype(np.int64), matrix.indices, left, right, table, out)
        found.append(out)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert not found[0][:5].any()
    assert found[0][5:40].any(1).all()


@pytest.mark.parametrize("side", [0, 1])
def test_the_product_of_other_devices_is_the_dense_one(side: int) -> None:
    graph, dense = Graph(TRAIN, 1, 1, CPU), adjacency(TRAIN)
    dense = dense[U:, :U] if side else dense[:U, U:]
    half = sparse_half(*graph.sides[side], graph.scales[side], graph.scales[1 - side])
    table = torch.rand(dense.shape[1], 5)
    np.testing.assert_allclose(half @ table, dense @ table.numpy(), rtol=1e-5)


def dense_loss(users: torch.Tensor, items: torch.Tensor, *, cosine: bool, temperature: float) -> torch.Tensor:
    """Softmax over all items, other positives left out, one pair at a time."""
    if cosine:
        users, items = functional.normalize(users), functional.normalize(items)
    own = torch.from_numpy(TRAIN.csr().toarray() > 0)
    logits = users @ items.T / temperature
    terms = []
    for user, item in zip(TRAIN.users.tolist(), TRAIN.items.tolist(), strict=True):
        rivals = torch.cat([logits[user, item].unsqueeze(0), logits[user][~own[user]]])
        terms.append(rivals.logsumexp(0) - logits[user, item])
    return torch.stack(terms).mean()


@pytest.mark.parametrize("cosine", [False, True])
def test_a_step_descends_the_full_softmax(cosine: bool) -> None:
    graph = engine(cosine=cosine, reg=0.3)
    start = [table.clone() for table in graph.tables]
    leaves = torch.cat(start).double().requires_grad_()
    propagated = torch.from_numpy(mean_map(TRAIN, 3)) @ leaves
    expected = dense_loss(propagated[:U], propagated[U:], cosine=cosine, temperature=0.5)
    # reg/2 (|p_u|^2 + |q_i|^2 + the mean over all items of |q_j|^2), meaned over positives
    users, items = torch.from_numpy(TRAIN.users).long(), torch.from_numpy(TRAIN.items).long()
    lengths = (leaves**2).sum(-1)
    penalty = 0.15 * (lengths[users].mean() + lengths[U + items].mean() + lengths[U:].mean())
    (expected + penalty).backward()
    loss = graph.step(graph._batch(graph.active), 1, 0, 0.01)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert leaves.grad is not None
    gradients = torch.cat([table.grad for table in graph.tables if table.grad is not None])
    torch.testing.assert_close(gradients.double(), leaves.grad, rtol=1e-3, atol=1e-6)
    # Adam's first step is the rate times the sign of the gradient
    moved = (torch.cat(graph.tables) - torch.cat(start)).double()
    clear = leaves.grad.abs() > 1e-5
    torch.testing.assert_close(moved[clear], -0.01 * leaves.grad.sign()[clear], rtol=1e-2, atol=1e-5)


def test_a_step_descends_bpr() -> None:
    graph = engine(loss="bpr", negatives=2)
    batch = graph._batch(graph.active[3:9])
    drawn = graph.sampler.draw(torch.from_numpy(batch.users[batch.rows]), torch.from_numpy(batch.items), 1, 7).items
    leaves = torch.cat(graph.tables).double().requires_grad_()
    propagated = torch.from_numpy(mean_map(TRAIN, 3)) @ leaves
    users, items = propagated[:U][torch.from_numpy(batch.users[batch.rows])], propagated[U:]
    positive = (users * items[torch.from_numpy(batch.items)]).sum(-1, keepdim=True)
    negative = (users.unsqueeze(1) * items[drawn]).sum(-1)
    expected = -functional.logsigmoid(positive - negative).mean()
    expected.backward()
    loss = graph.step(batch, 1, 7, 0.01)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert leaves.grad is not None
    gradients = torch.cat([table.grad for table in graph.tables if table.grad is not None])
    torch.testing.assert_close(gradients.double(), leaves.grad, rtol=1e-3, atol=1e-6)


def test_fewer_negatives_estimate_the_same_sum() -> None:
    whole, part = engine(), engine(negatives=10)
    users = part.active
    tables = part.factors
    exact = whole._log_sum(tables[0][users], tables[1], users, 1, 0).exp()
    guesses = [part._log_sum(tables[0][users], tables[1], users, 1, first).exp() for first in range(800)]
    torch.testing.assert_close(torch.stack(guesses).mean(0), exact, rtol=0.03, atol=0.0)


def test_an_epoch_visits_each_positive_once_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one, three = engine(batch_size=50), engine(batch_size=50, threads=3)
    seen: list[tuple[int, int]] = []
    take = GraphEngine.step

    def step(self: GraphEngine, batch, epoch, first, lr):  # type: ignore[no-untyped-def]
        assert first == len(seen)
        seen.extend(zip(batch.users[batch.rows].tolist(), batch.items.tolist(), strict=True))
        return take(self, batch, epoch, first, lr)

    three.run_epoch(1, lambda _: 0.01)
    monkeypatch.setattr(GraphEngine, "step", step)
    one.run_epoch(1, lambda _: 0.01)
    assert sorted(seen) == sorted(zip(TRAIN.users.tolist(), TRAIN.items.tolist(), strict=True))
    np.testing.assert_array_equal(one.factors[0], three.factors[0])


def test_training_goes_on_from_a_saved_state() -> None:
    whole, first = engine(batch_size=50), engine(batch_size=50)
    for epoch in (1, 2):
        whole.run_epoch(epoch, lambda _: 0.01)
    first.run_epoch(1, lambda _: 0.01)
    second = engine(batch_size=50, seed=0)
    second.load_state(first.state())
    second.run_epoch(2, lambda _: 0.01)
    np.testing.assert_array_equal(whole.factors[0], second.factors[0])
    assert whole.valid_loss(HELD) == second.valid_loss(HELD)


@pytest.mark.parametrize("cosine", [False, True])
def test_a_new_user_begins_as_one_more_row_of_the_graph(monkeypatch: pytest.MonkeyPatch, cosine: bool) -> None:
    monkeypatch.setattr(foldin, "STEPS", 0)
    model = MODELS["lightgcn"](dim=4, layers=3, epochs=2, cosine=cosine).fit(TRAIN, threads=1)
    history = TRAIN.csr()[[3]]
    arrays = model.arrays()
    # By hand: the layers of the items as they are, gathered by the newcomer, who has no embedding yet
    once = adjacency(TRAIN)
    layer = np.vstack([arrays["user_embeddings"], arrays["item_embeddings"]]).astype(np.float64)
    degrees = TRAIN.csr().toarray().sum(0)
    items = history.indices
    vector = np.zeros(4)
    for _ in range(3):
        vector += (layer[U:][items] / np.sqrt(len(items) * degrees[items])[:, None]).sum(0) / 4
        layer = once @ layer
    if cosine:
        vector /= np.linalg.norm(vector)
    expected = model.factors()[1] @ vector  # type: ignore[attr-defined]
    np.testing.assert_allclose(to_numpy(model.score_history(history))[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cosine", [False, True])
def test_a_new_user_moves_towards_what_they_chose(monkeypatch: pytest.MonkeyPatch, cosine: bool) -> None:
    model = MODELS["lightgcn"](dim=8, epochs=3, cosine=cosine, temperature=0.3).fit(TRAIN, threads=1)
    history = TRAIN.csr()[[3]]

    def likelihood() -> float:
        return float(functional.log_softmax(model.score_history(history)[0] / 0.3, 0)[history.indices].mean())

    moved = likelihood()
    monkeypatch.setattr(foldin, "STEPS", 0)
    assert moved > likelihood() + 0.02


def test_an_items_score_is_the_cosine_times_its_length_to_a_power() -> None:
    model = MODELS["lightgcn"](dim=4, layers=2, epochs=2, length_power=0.5).fit(TRAIN, threads=1)
    arrays = model.arrays()
    embeddings = np.vstack([arrays["user_embeddings"], arrays["item_embeddings"]]).astype(np.float64)
    propagated = mean_map(TRAIN, 2) @ embeddings
    lengths = np.linalg.norm(propagated, axis=1)
    expected = propagated[:U] @ propagated[U:].T / lengths[:U, None] / lengths[U:] ** 0.5
    np.testing.assert_allclose(to_numpy(model.score(np.arange(U))), expected, rtol=1e-3, atol=1e-5)


def test_the_length_counts_in_scores_alone() -> None:
    """What training and fold-in optimise are the cosines."""
    plain, bent = (
        MODELS["lightgcn"](dim=4, epochs=4, length_power=power).fit(TRAIN, threads=1) for power in (0.0, 0.5)
    )
    np.testing.assert_array_equal(plain.arrays()["item_embeddings"], bent.arrays()["item_embeddings"])
    lengths = np.linalg.norm(bent.factors()[1], axis=1) ** 2  # type: ignore[attr-defined]
    for score in ("score", "score_history"):
        asked = np.arange(U) if score == "score" else TRAIN.csr()
        cosines, scores = (to_numpy(getattr(model, score)(asked)) for model in (plain, bent))
        np.testing.assert_allclose(scores, cosines * lengths**0.5, rtol=1e-3, atol=1e-5)
    graphs = [engine(cosine=True, length_power=power) for power in (0.0, 0.5)]
    assert graphs[0].valid_loss(HELD) == pytest.approx(graphs[1].valid_loss(HELD))


def test_a_length_counts_where_training_goes_by_cosines_alone() -> None:
    plain, bent = (
        MODELS["lightgcn"](dim=4, epochs=2, cosine=False, length_power=power).fit(TRAIN, threads=1)
        for power in (0.0, 0.5)
    )
    np.testing.assert_array_equal(plain.score(np.arange(U)), bent.score(np.arange(U)))
