"""Nets against their papers' equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from planted import planted

from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.errors import ConfigError
from neucf.evaluation import evaluate
from neucf.models import trained
from neucf.models.base import Model
from neucf.models.gmf import GMF, GMFConfig, GMFNet
from neucf.models.mf import MF, MFConfig, MFNet
from neucf.models.mlp import MLP, MLPConfig, MLPNet, Tower
from neucf.models.neumf import NeuMF
from neucf.models.neumf_net import NeuMFConfig, NeuMFNet
from neucf.recommender import to_numpy
from neucf.training.nets import Net, unit

TRAIN, HELD = planted()
U, I = 9, 13  # noqa: E741


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def all_nets() -> list[Net]:
    return [
        MFNet(U, I, MFConfig(dim=5, bias=True), seeded()),
        MFNet(U, I, MFConfig(dim=5, cosine=True), seeded()),
        GMFNet(U, I, GMFConfig(dim=5), seeded()),
        MLPNet(U, I, MLPConfig(tower=(8, 6, 4)), seeded()),
        NeuMFNet(U, I, NeuMFConfig(dim=5, tower=(8, 6, 4)), seeded()),
    ]


@pytest.mark.parametrize("net", all_nets(), ids=lambda net: type(net).__name__)
def test_forward_broadcasts_and_grid_agrees(net: Net) -> None:
    net.eval()
    users, items = torch.arange(U), torch.arange(I)
    whole = net(users.unsqueeze(1), items.unsqueeze(0))
    assert whole.shape == (U, I)
    torch.testing.assert_close(net.grid(net.user_vectors(users), items), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net(users, items[:U]), whole.diagonal(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        net(users.view(3, 3), items[:3]), whole[users.view(3, 3), items[:3]], rtol=1e-5, atol=1e-5
    )


def test_gmf_with_h_of_ones_and_no_bias_is_mf() -> None:
    shared = {"dim": 6, "loss": "bce", "epochs": 4, "batch_size": 32, "lr": 0.02, "reg": 0.01, "negatives": 3}
    gmf = GMF(h="ones", bias=False, **shared).fit(TRAIN, seed=2, threads=1)
    mf = MF(bias=False, **shared).fit(TRAIN, seed=2, threads=1)
    np.testing.assert_allclose(
        to_numpy(gmf.score(np.arange(60))), to_numpy(mf.score(np.arange(60))), rtol=1e-4, atol=1e-5
    )


def test_h_stays_clipped_or_grows_free() -> None:
    shared = {"dim": 4, "epochs": 30, "batch_size": 32, "lr": 0.05, "reg": 0.05}
    clipped = GMF(h="clipped", **shared).fit(TRAIN, threads=1).arrays()["h"]
    free = GMF(h="free", **shared).fit(TRAIN, threads=1).arrays()["h"]
    assert np.abs(clipped).max() <= 1
    assert np.abs(free).max() > 1


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize(("loss", "moves"), [("bce", True), ("bpr", False)])
def test_a_bias_of_all_logits_moves_only_where_the_loss_has_a_gradient_by_it(
    loss: str, moves: bool, engine: str
) -> None:
    trained = GMF(loss=loss, engine=engine, dim=4, epochs=2, lr=0.1, h="free").fit(TRAIN, threads=1)
    assert bool(trained.net.bias.any()) is moves


def test_a_tower_is_equation_10() -> None:
    tower = Tower((8, 6, 4), 0.0, seeded())
    table = torch.nn.Embedding(3, 4)
    p, q = torch.randn(4, generator=seeded(1)), table.weight[2]
    hidden = torch.cat([p, q])
    for weight, bias in zip(tower.weights, tower.biases, strict=True):
        hidden = torch.relu(weight @ hidden + bias)
    got = tower(tower.user_half(p) + tower.item_half(table, torch.tensor([2]))[0])
    torch.testing.assert_close(got, hidden)
    many = torch.tensor([2] * 5)
    torch.testing.assert_close(tower.item_half(table, many)[0], tower.item_half(table, many[:1])[0])


@pytest.mark.parametrize(("loss", "scale"), [("bce", 1.0), ("softmax", 0.2)])
def test_neumf_joins_trained_halves_by_equation_13(loss: str, scale: float) -> None:
    """By cosines, an MLP's logits are worth a temperature of GMF's, as the softmax divides only these."""
    settings = {"loss": loss, "temperature": 0.2}
    gmf = GMF(dim=4, epochs=3, batch_size=64, h="free", **settings).fit(TRAIN, threads=1)
    mlp = MLP(tower="8-6-4", epochs=3, batch_size=64).fit(TRAIN, threads=1)
    model = NeuMF(dim=4, tower="8-6-4", alpha=0.3, epochs=2, batch_size=64, **settings)
    model.halves = (gmf, mlp)
    model.stop_after = 0
    model.fit(TRAIN, HELD, threads=1)
    users = np.arange(60)
    of_mlp = to_numpy(mlp.score(users)) - mlp.net.bias.item()
    of_biases = 0.3 * gmf.net.bias.item() + 0.7 * mlp.net.bias.item()
    expected = 0.3 * (to_numpy(gmf.score(users)) - gmf.net.bias.item()) + 0.7 * scale * of_mlp + of_biases
    np.testing.assert_allclose(to_numpy(model.score(users)), expected, rtol=1e-4, atol=1e-5)


def test_pretrain_does_the_three_trainings_and_a_refit_repeats_them() -> None:
    model = NeuMF(dim=4, tower="8-6-4", pretrain=True, epochs=2, batch_size=64, optimizer="sgd", lr=0.01)
    first = to_numpy(model.fit(TRAIN, HELD, seed=1, threads=1).score([0])).copy()
    assert np.array_equal(first, to_numpy(model.fit(TRAIN, HELD, seed=1, threads=1).score([0])))
    fresh = NeuMF(**model.config.model_dump())
    fresh.stop_at(model.best_epochs)
    fresh.fit(TRAIN, seed=1, threads=1)
    assert fresh.best_epochs == model.best_epochs
    assert len(fresh.best_epochs) == 3
    np.testing.assert_array_equal(first, to_numpy(fresh.score([0])))


def test_pretrained_halves_are_judged_by_what_is_known_of_held_out_users(monkeypatch: pytest.MonkeyPatch) -> None:
    model = NeuMF(dim=4, tower="8-6-4", pretrain=True, epochs=1, batch_size=64)
    model.valid_history = TRAIN
    known = []

    def judged(fitted: Model, parts: Split, *rest: Any, **named: Any) -> Any:
        known.append((fitted.name, parts.valid_history))
        return evaluate(fitted, parts, *rest, **named)

    monkeypatch.setattr(trained, "evaluate", judged)
    model.fit(TRAIN, HELD, threads=1)
    assert {name for name, _ in known} == {"gmf", "mlp", "neumf"}
    assert all(history is TRAIN for _, history in known)


def test_a_model_starts_from_another_by_external_id() -> None:
    old = GMF(dim=4, epochs=3, batch_size=64).fit(TRAIN, threads=1)
    # The same people and items in another order, and one more of each
    user_ids = ["new", *reversed(list(TRAIN.user_ids))]
    item_ids = [*reversed(list(TRAIN.item_ids)), 7]
    moved = Interactions.from_arrays([0, 1], [0, 40], user_ids=user_ids, item_ids=item_ids)
    model = GMF(dim=4, epochs=1)
    model.start_from(old)
    model.stop_after = 0
    model.fit(moved, threads=1)
    users, items = moved.user_ids.indices(["u3", "u59"]), moved.item_ids.indices([100, 139])
    expected = to_numpy(old.score([3, 59], [0, 39]))
    np.testing.assert_array_equal(to_numpy(model.score(users, items)), expected)
    with pytest.raises(ConfigError, match="must be a run of mf"):
        MF().start_from(old)
    other = GMF(dim=5)
    other.start_from(old)
    with pytest.raises(ConfigError, match="must hold h"):
        other.fit(moved)


def test_halves_of_another_shape_or_vocabulary_are_refused() -> None:
    gmf = GMF(dim=4, epochs=1).fit(TRAIN, threads=1)
    mlp = MLP(tower="8-6-4", epochs=1).fit(TRAIN, threads=1)
    model = NeuMF(dim=5, tower="8-6-4")
    model.halves = (gmf, mlp)
    with pytest.raises(ConfigError, match="`dim` must be that of the gmf"):
        model.fit(TRAIN)
    other, _ = planted(num_items=44)
    model = NeuMF(dim=4, tower="8-6-4")
    model.halves = (gmf, mlp)
    with pytest.raises(ConfigError, match="same users and items"):
        model.fit(other)


def test_dropout_draws_from_the_nets_own_generator() -> None:
    net = MLPNet(U, I, MLPConfig(tower=(8, 6, 4), dropout=0.5), seeded())
    net.train()
    users, items = torch.arange(U), torch.arange(U)
    net.seed_dropout(5)
    first = net(users, items)
    assert not torch.equal(first, net(users, items))
    net.seed_dropout(5)
    assert torch.equal(first, net(users, items))
    net.eval()
    assert torch.equal(net(users, items), net(users, items))


@pytest.mark.parametrize("cosine", [False, True])
def test_a_sparse_table_has_a_sparse_gradient_where_all_items_are_asked_for_in_order(cosine: bool) -> None:
    net = MFNet(U, I, MFConfig(dim=5, cosine=cosine), seeded()).train()
    net.item_embedding.sparse = True
    net.grid(net.user_vectors(torch.arange(U)), torch.arange(I)).sum().backward()
    assert net.item_embedding.weight.grad is not None
    assert net.item_embedding.weight.grad.is_sparse


def test_unit_vectors_and_their_gradient_are_those_of_torch() -> None:
    vectors = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(1))
    found, expected = unit(vectors), torch.nn.functional.normalize(vectors, dim=-1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad((each * weight).sum(), vectors)[0] for each in (found, expected)))


@pytest.mark.parametrize("model", [MF, GMF, NeuMF])
def test_by_cosines_the_length_of_users_rows_changes_no_fold_in(model: type[MF]) -> None:
    fitted = model(dim=6, epochs=2).fit(TRAIN, threads=1)
    before = to_numpy(fitted.score_history(TRAIN.csr()[:4])).copy()
    with torch.no_grad():
        fitted.net.tables()[0].embedding.weight *= 0.01
    fitted.net.eval()
    np.testing.assert_allclose(to_numpy(fitted.score_history(TRAIN.csr()[:4])), before, rtol=1e-4, atol=1e-5)
