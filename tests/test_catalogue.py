"""The full softmax: against autograd on the objective written out, and on every net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted

from neucf import MODELS
from neucf.errors import ConfigError
from neucf.models import engine_choice
from neucf.models.mf import MFConfig, MFNet
from neucf.models.neumf_net import NeuMFConfig, NeuMFNet
from neucf.recommender import to_numpy
from neucf.training import catalogue, catalogue_loss, pool_loss
from neucf.training.catalogue import CatalogueEngine

TRAIN, VALID = planted()
REG, LR, TEMPERATURE = 0.3, 0.05, 0.7


def by_definition(logits: torch.Tensor, rows: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Returns the mean of -ln of a positive's share among all items, the user's other positives counted half."""
    losses = []
    for row, item in zip(rows.tolist(), items.tolist(), strict=True):
        counts = torch.ones_like(logits[row])
        counts[items[rows == row]] = 0.5
        counts[item] = 1
        losses.append((logits[row] + counts.log()).logsumexp(0) - logits[row, item])
    return torch.stack(losses).mean()


def net() -> MFNet:
    config = MFConfig(dim=7, bias=True, cosine=True, reg=REG)
    return MFNet(TRAIN.num_users, TRAIN.num_items, config, torch.Generator().manual_seed(0))


def engine(of: MFNet, batch_size: int = 0) -> CatalogueEngine:
    return CatalogueEngine(
        of, TRAIN, optimizer="sgd", batch_size=batch_size, temperature=TEMPERATURE, reg_weights=0.0, clip=0.0, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip


def test_a_step_follows_the_gradient_of_the_objective_written_out() -> None:
    ours, theirs = net(), net()
    users = np.array([4, 1, 7])
    own = TRAIN.csr().toarray()[users] > 0
    loss, count = engine(ours).step(users, LR, np.random.default_rng(0))

    rows, items = (torch.from_numpy(each) for each in np.nonzero(own))
    p, q, b = theirs.user_embedding.weight, theirs.item_embedding.weight, theirs.item_bias.weight  # type: ignore[union-attr]
    cosine = torch.nn.functional.cosine_similarity(p[users].unsqueeze(1), q.unsqueeze(0), dim=-1)
    logits = (cosine + b[:, 0]) / TEMPERATURE
    plain = by_definition(logits, rows, items)
    size = p[users][rows].square().sum(1).mean()
    for table in (q, b):
        size = size + table[items].square().sum(1).mean() + table.square().sum(1).mean()
    (plain + REG / 2 * size).backward()

    assert count == own.sum()
    assert loss == pytest.approx(float(plain.detach()), rel=1e-5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        expected = other.detach() - LR * other.grad
        torch.testing.assert_close(mine.detach(), expected, rtol=1e-5, atol=1e-6)


def test_an_epoch_visits_every_positive_once() -> None:
    one = engine(net(), batch_size=50)
    seen = []
    one.step = lambda users, *_: (seen.append(users), (0.0, 1))[1]  # type: ignore[method-assign,func-returns-value]
    one.run_epoch(1, lambda _: LR)
    assert len(seen) > 1
    assert sorted(np.concatenate(seen)) == sorted(set(TRAIN.users))


def test_the_loss_on_validation_is_the_one_that_training_minimises() -> None:
    one = net()
    with torch.no_grad():
        logits = one(torch.arange(TRAIN.num_users).unsqueeze(1), torch.arange(TRAIN.num_items)) / TEMPERATURE
        expected = by_definition(logits, torch.from_numpy(VALID.users).long(), torch.from_numpy(VALID.items).long())
    assert engine(one).valid_loss(VALID) == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_on_validation_is_of_the_same_few_users_where_there_are_many(monkeypatch) -> None:
    one = engine(net())
    whole = one.valid_loss(VALID)
    monkeypatch.setattr(catalogue, "VALID_USERS", 10)
    chosen = catalogue.sample_users(np.unique(VALID.users), 0)
    assert len(set(chosen)) == 10
    some = VALID.take(np.isin(VALID.users, chosen))
    assert one.valid_loss(VALID) == one.valid_loss(some) != whole


@pytest.mark.parametrize("sampler", ["all", "shared"])
@pytest.mark.parametrize("name", ["mf", "gmf", "mlp", "neumf"])
def test_every_net_ranks_what_users_chose_higher(name: str, sampler: str) -> None:
    settings = {"loss": "softmax", "sampler": sampler, "negatives": 20, "lr": 0.02, "epochs": 10, "reg": 0.0}
    scores = to_numpy(MODELS[name](**settings).fit(TRAIN, seed=0, threads=1).score(np.arange(TRAIN.num_users)))
    own = TRAIN.csr().toarray() > 0
    assert scores[own].mean() > scores[~own].mean() + 0.5


@pytest.mark.parametrize("wrong", [{"loss": "bpr"}, {"loss": "softmax", "optimizer": "lazy-adam"}])
def test_what_has_no_full_form_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="`sampler` all needs loss=softmax"):
        MODELS["mf"](sampler="all", **wrong).fit(TRAIN)


@pytest.mark.parametrize(
    ("settings", "engine_name"),
    [
        ({"loss": "softmax"}, "torch-catalogue"),
        ({"loss": "bpr"}, "compiled-batch"),
        ({"optimizer": "lazy-adam"}, "torch"),
    ],
)
def test_auto_takes_the_exact_loss_where_it_can(settings: dict[str, str], engine_name: str) -> None:
    assert MODELS["mf"](epochs=1, **settings).fit(TRAIN, threads=1).engine == engine_name


def test_auto_shares_negatives_where_the_catalogue_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "PRODUCTS", 3)
    monkeypatch.setattr(engine_choice, "POOL", 2)
    affordable = 3 * len(TRAIN) // TRAIN.num_users
    assert 2 < affordable < TRAIN.num_items
    chosen = engine_choice.resolve_sampler(MFConfig(), TRAIN, net())
    assert (chosen.sampler, chosen.negatives) == ("shared", affordable)


@pytest.mark.parametrize(("name", "pool"), [("neumf", 3), ("mlp", 5)])
def test_a_tower_too_dear_for_the_catalogue_meets_a_pool(name: str, pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small one where products meet the whole catalogue, else as many items as cost no more than they may."""
    monkeypatch.setattr(engine_choice, "LOGITS", 5 * TRAIN.num_users)
    monkeypatch.setattr(engine_choice, "POOL", 3)
    model = MODELS[name](loss="softmax", epochs=1).fit(TRAIN, threads=1)
    assert model.engine == "torch-catalogue"
    assert engine_choice.resolve_sampler(model.config, TRAIN, model.net).negatives == pool  # type: ignore[attr-defined]


def test_a_pool_of_the_whole_catalogue_gives_the_exact_loss_and_gradient() -> None:
    own = torch.from_numpy(TRAIN.csr().toarray()[:6] > 0)
    rows, items = own.nonzero(as_tuple=True)
    logits = torch.randn(own.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    guide = pool_loss.count_guide(rows, own, TRAIN.num_items)
    losses = [
        pool_loss.pool_softmax(logits, logits[rows, items], rows, own, guide),
        by_definition(logits, rows, items),
    ]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in losses))


def test_pools_estimate_the_sum_over_the_free_items() -> None:
    """With one positive a row, exp(loss) is its share's inverse, which is linear in what a pool estimates."""
    logits, rows, item = torch.linspace(-1, 1, 40).unsqueeze(0), torch.tensor([0]), 5
    rng, estimates = np.random.default_rng(0), []
    for _ in range(4000):
        pool = torch.from_numpy(rng.choice(40, 10, replace=False))
        known = (pool == item).unsqueeze(0)
        guide = pool_loss.count_guide(rows, known, 40)
        loss = pool_loss.pool_softmax(logits[:, pool], logits[0, [item]], rows, known, guide)
        estimates.append(float(loss.exp()))
    exact = float(logits.exp().sum() / logits[0, item].exp())
    assert np.mean(estimates) == pytest.approx(exact, abs=4 * np.std(estimates) / 4000**0.5)


def test_a_person_with_no_free_item_in_the_pool_has_a_gradient() -> None:
    logits, rows, known = torch.zeros(1, 3, requires_grad=True), torch.tensor([0, 0]), torch.ones(1, 3).bool()
    guide = pool_loss.count_guide(rows, known, 9)
    loss = pool_loss.pool_softmax(logits, logits[0, :2], rows, known, guide)
    assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()
    # Of a part that is known of all items, the rest of them still count
    part = pool_loss.part_guide(torch.tensor([3.0]), logits.detach(), known)
    found = pool_loss.pool_softmax(logits, logits[0, :1], rows[:1], known, part)
    assert float(found.detach()) == pytest.approx(float(np.log(1 + np.exp(3))))


# Of vectors whose logits are safe to exponentiate, and of some whose are not
@pytest.mark.parametrize("size", [0.3, 30.0])
def test_where_a_product_is_all_a_pool_changes_nothing(size: float) -> None:
    """The ratio estimate is of what is added to the product; here nothing is, so that loss and gradient are exact."""
    own = torch.from_numpy(TRAIN.csr().toarray()[:6] > 0)
    rows, items = own.nonzero(as_tuple=True)
    generator = torch.Generator().manual_seed(0)
    x, y = ((size * torch.randn(n, 5, generator=generator)).requires_grad_() for n in own.shape)
    pool = torch.tensor([3, 17, 5, 30])
    sums, of_own, pooled = pool_loss.product_terms(x, y, rows, items, pool, temperature=0.7)
    known = own[:, pool]
    guide = pool_loss.part_guide(sums, pooled, known)
    losses = [
        pool_loss.pool_softmax(pooled, of_own, rows, known, guide),
        by_definition(x @ y.T / 0.7, rows, items),
    ]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
    for mine, exact in zip(*(torch.autograd.grad(loss, [x, y]) for loss in losses), strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-3, atol=1e-4)


def test_a_net_met_by_its_part_and_a_pool_learns_as_by_the_whole_catalogue() -> None:
    """With a pool of all items but one, the loss of each epoch is nearly the exact one."""
    epochs = []
    for pool in (0, TRAIN.num_items - 1):
        config = NeuMFConfig(dim=6, tower=(8, 4))
        model = NeuMFNet(TRAIN.num_users, TRAIN.num_items, config, torch.Generator().manual_seed(0))
        one = CatalogueEngine(
            model, TRAIN, optimizer="adam", batch_size=0, temperature=0.3, reg_weights=0.0, clip=0.0, seed=0,
            device=torch.device("cpu"), pool=pool, by_part=True,
        )  # fmt: skip
        epochs.append([one.run_epoch(epoch, lambda _: 0.02) for epoch in (1, 2, 3)])
    np.testing.assert_allclose(epochs[1], epochs[0], rtol=0.01)
    assert epochs[0][2] < 0.95 * epochs[0][0]


# Of vectors whose logits are safe to exponentiate, and of some whose are not
@pytest.mark.parametrize("size", [0.3, 30.0])
@pytest.mark.parametrize("tile", [16, 2048])
def test_the_softmax_of_products_and_its_gradients(monkeypatch: pytest.MonkeyPatch, size: float, tile: int) -> None:
    monkeypatch.setattr(catalogue_loss, "_TILE", tile)
    generator = torch.Generator().manual_seed(0)
    x, y = (size * torch.randn(rows, 5, generator=generator, dtype=torch.float32) for rows in (4, 100))
    rows, items = torch.tensor([0, 0, 1, 3, 3, 3]), torch.tensor([5, 99, 7, 0, 7, 31])
    ours = [each.clone().requires_grad_() for each in (x, y)]
    theirs = [each.double().requires_grad_() for each in (x, y)]
    loss = catalogue_loss.product_softmax(*ours, rows, items, temperature=0.4)
    expected = by_definition(theirs[0] @ theirs[1].T / 0.4, rows, items)
    (3 * loss).backward()
    (3 * expected).backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad.double(), other.grad, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]


def test_bf16_is_near_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.nn.functional.normalize(torch.randn(rows, 64, generator=generator)).requires_grad_() for rows in (50, 900)
    )
    rows, items = torch.arange(50), torch.arange(50) * 3
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        loss = catalogue_loss.product_softmax(x, y, rows, items, temperature=0.1, dtype=dtype)
        found.append((loss, *torch.autograd.grad(loss, (x, y))))
    assert float(found[1][0].detach()) == pytest.approx(float(found[0][0].detach()), rel=2e-3)
    for exact, near in zip(found[0][1:], found[1][1:], strict=True):
        assert float((near - exact).norm() / exact.norm()) < 0.01


@pytest.mark.parametrize(
    ("name", "amx", "avx512", "faster"),
    [
        ("Intel Xeon", True, True, True),
        ("Intel Xeon", False, True, False),
        ("AMD EPYC", False, True, True),
        ("", False, True, True),
        ("Intel Xeon", False, False, False),
    ],
)
def test_bf16_is_taken_where_the_processor_gains_by_it(monkeypatch, name, amx, avx512, faster) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    dtype = catalogue_loss.catalogue_dtype("auto", torch.device("cpu"))
    assert dtype is (torch.bfloat16 if faster else torch.float32)
