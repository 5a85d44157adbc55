"""item_power: items weighed in the softmax by their train positives, so that lists lean to the popular or away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from planted import planted
from test_catalogue import TRAIN, by_definition

from neucf import MODELS
from neucf.data.interactions import Interactions
from neucf.errors import ConfigError
from neucf.recommender import to_numpy
from neucf.training import pool_loss
from neucf.training.catalogue_loss import item_log_weights, product_softmax

CPU = torch.device("cpu")
POPULARITY = np.bincount(TRAIN.items, minlength=TRAIN.num_items)
WEIGHTS = item_log_weights(TRAIN, -0.7, CPU)


def test_weights_by_hand() -> None:
    # Items with 0, 1 and 3 positives: ln 1, ln 2, ln 4, times 1/2, less the largest
    train = Interactions.from_arrays([0, 0, 1, 2], [1, 2, 2, 2], user_ids=range(3), item_ids=range(3))
    found = item_log_weights(train, 0.5, CPU)
    assert found is not None
    assert found.tolist() == pytest.approx([-np.log(2), -np.log(2) / 2, 0])
    # Times -1/2 the largest is that of the item nobody has
    turned = item_log_weights(train, -0.5, CPU)
    assert turned is not None
    assert turned.tolist() == pytest.approx([0, -np.log(2) / 2, -np.log(2)])
    assert item_log_weights(train, 0.0, CPU) is None


# Of vectors whose logits are safe to exponentiate, and of some whose are not
@pytest.mark.parametrize("size", [0.3, 30.0])
def test_the_weighted_softmax_of_products_is_the_one_written_out(size: float) -> None:
    assert WEIGHTS is not None
    own = torch.from_numpy(TRAIN.csr().toarray()[:6] > 0)
    rows, items = own.nonzero(as_tuple=True)
    generator = torch.Generator().manual_seed(0)
    x, y = ((size * torch.randn(n, 5, generator=generator)).requires_grad_() for n in own.shape)
    pool = torch.tensor([3, 17, 5, 30])
    sums, of_own, pooled = pool_loss.product_terms(x, y, rows, items, pool, temperature=0.7, log_weights=WEIGHTS)
    known = own[:, pool]
    losses = [
        by_definition(x @ y.T / 0.7 + WEIGHTS, rows, items),
        product_softmax(x, y, rows, items, temperature=0.7, log_weights=WEIGHTS),
        pool_loss.pool_softmax(pooled, of_own, rows, known, pool_loss.part_guide(sums, pooled, known)),
    ]
    gradients = [torch.autograd.grad(loss, [x, y]) for loss in losses]
    for loss, gradient in zip(losses[1:], gradients[1:], strict=True):
        torch.testing.assert_close(loss, losses[0], rtol=1e-4, atol=1e-4)
        for mine, exact in zip(gradient, gradients[0], strict=True):
            torch.testing.assert_close(mine, exact, rtol=1e-3, atol=1e-4)


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("mf", {}),
    ("gmf", {}),
    ("neumf", {"lr": 0.02}),
    ("mlp", {"loss": "softmax", "lr": 0.02}),
    ("mf", {"sampler": "shared", "negatives": 20}),
    ("lightgcn", {}),
    ("lightgcn", {"negatives": 20}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_lists_lean_to_the_popular_below_zero_and_away_above(name: str, settings: dict[str, Any]) -> None:
    """Of people known, and of people folded in."""
    train, valid = planted()
    means = []
    for power in (-0.6, 0.6):
        model = MODELS[name](**settings, epochs=10, item_power=power).fit(train, seed=0, threads=1)
        scores = [model.score(np.arange(train.num_users)), model.score_history(valid.csr())]
        best = [np.argsort(-to_numpy(each), axis=1)[:, :5] for each in scores]
        means.append([float(POPULARITY[items].mean()) for items in best])
    assert means[0][0] > means[1][0]
    assert means[0][1] > means[1][1]


@pytest.mark.parametrize(
    "wrong", [{"loss": "bpr"}, {"sampler": "uniform"}, {"optimizer": "lazy-adam"}], ids=lambda wrong: str(wrong)
)
def test_where_no_softmax_over_items_trains_it_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="`item_power` weighs items in a softmax"):
        MODELS["mf"](item_power=-0.1, **wrong).fit(TRAIN)


def test_lightgcn_refuses_it_without_a_softmax() -> None:
    with pytest.raises(ConfigError, match=r"`item_power` weighs items in a softmax; got -0\.1 with loss=bpr"):
        MODELS["lightgcn"](item_power=-0.1, loss="bpr").fit(TRAIN)
