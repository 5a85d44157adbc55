"""Negatives: never a train positive, drawn as often as they should be, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from neucf.data.interactions import Interactions
from neucf.kernels.sampling import alias_table
from neucf.training import sampling
from neucf.training.sampling import NegativeSampler, hardness_for

CPU = torch.device("cpu")
# User 0 has items 0..2 of 8, user 1 item 7, user 2 all but item 4, user 3 everything
USERS = [0, 0, 0, 1] + [2] * 7 + [3] * 8
ITEMS = [2, 0, 1, 7, *[x for x in range(8) if x != 4], *range(8)]
TRAIN = Interactions.from_arrays(USERS, ITEMS)


def sampler(kind: str = "uniform", count: int = 5, power: float = 1.0, seed: int = 0) -> NegativeSampler:
    return NegativeSampler(TRAIN, kind, count, power=power, seed=seed, device=CPU)  # type: ignore[arg-type]


@pytest.fixture(params=[True, False], ids=["compiled", "torch"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sampling, "COMPILED", request.param)
    return bool(request.param)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_negatives_are_never_train_positives(kind: str) -> None:
    users = torch.tensor([0, 1, 2, 0, 2])
    drawn = sampler(kind, 200).draw(users, torch.tensor([0, 7, 0, 1, 1]), 1, 0).items
    assert drawn.shape == (5, 200)
    owned = TRAIN.csr().toarray() > 0
    assert not owned[users.numpy()[:, None], drawn.numpy()].any()
    assert (drawn[2] == 4).all()


@pytest.mark.usefixtures("compiled")
def test_uniform_draws_are_uniform_over_what_is_left() -> None:
    drawn = sampler(count=20_000).draw(torch.tensor([0]), torch.tensor([0]), 1, 0).items.numpy()
    counts = np.bincount(drawn[0], minlength=8)
    assert counts[:3].sum() == 0
    assert chisquare(counts[3:]).pvalue > 1e-3


@pytest.mark.usefixtures("compiled")
def test_popularity_draws_follow_the_power_of_the_count() -> None:
    drawn = sampler("popularity", 30_000, power=0.5).draw(torch.tensor([1]), torch.tensor([7]), 1, 0)
    counts = np.bincount(drawn.items[0].numpy(), minlength=8)
    weights = np.bincount(ITEMS, minlength=8)[:7] ** 0.5
    assert chisquare(counts[:7], weights / weights.sum() * 30_000).pvalue > 1e-3
    q = np.bincount(ITEMS, minlength=8) ** 0.5
    assert drawn.log_q_negative is not None
    np.testing.assert_allclose(
        drawn.log_q_negative[0].numpy(), np.log(30_000 * q / q.sum())[drawn.items[0].numpy()], rtol=1e-5
    )


@pytest.mark.usefixtures("compiled")
def test_streams_are_keyed_by_seed_epoch_and_batch() -> None:
    users, positives = torch.tensor([0, 1]), torch.tensor([0, 7])
    base = sampler(count=50).draw(users, positives, 1, 0).items
    assert torch.equal(base, sampler(count=50).draw(users, positives, 1, 0).items)
    others = [
        sampler(count=50, seed=1).draw(users, positives, 1, 0),
        sampler(count=50).draw(users, positives, 2, 0),
        sampler(count=50).draw(users, positives, 1, 1),
    ]
    assert not any(torch.equal(base, other.items) for other in others)


def test_users_who_have_everything_are_skipped_and_counted() -> None:
    drawn = sampler()
    assert drawn.num_skipped_users == 1
    assert set(TRAIN.users[drawn.eligible].tolist()) == {0, 1, 2}


@pytest.mark.usefixtures("compiled")
def test_who_has_all_that_is_ever_drawn_is_skipped_too() -> None:
    """Nobody has item 3, which popularity therefore never offers: user 0 is left without a negative."""
    train = Interactions.from_arrays([0, 0, 0, 1], [0, 1, 2, 0], item_ids=range(4))
    for kind, skipped in (("popularity", [0]), ("in-batch", [0]), ("uniform", []), ("shared", [])):
        drawn = NegativeSampler(train, kind, 2, power=0.75, seed=0, device=CPU)  # type: ignore[arg-type]
        assert np.flatnonzero(drawn.is_full).tolist() == skipped
        assert drawn.num_skipped_users == len(skipped)
    # By the power 0 all are drawn alike
    assert not NegativeSampler(train, "popularity", 2, power=0.0, seed=0, device=CPU).num_skipped_users


def test_in_batch_corrections_are_finite_for_items_that_only_validation_has() -> None:
    train = Interactions.from_arrays([0, 0, 1], [0, 1, 0], item_ids=range(3))
    in_batch = NegativeSampler(train, "in-batch", 1, power=1.0, seed=0, device=CPU)
    drawn = in_batch.draw(torch.tensor([0, 1]), torch.tensor([0, 2]), 1, 0)
    assert drawn.log_q_positive is not None
    np.testing.assert_allclose(drawn.log_q_positive.numpy(), np.log([2 / 3, 1 / 3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("asked", "num_items", "draws"), [(0, 100, 8), (0, 10_000, 8), (0, 40_000, 16), (0, 10**7, 32), (3, 40_000, 3)]
)
def test_hardness_goes_by_the_catalogue_where_it_is_not_given(asked: int, num_items: int, draws: int) -> None:
    assert hardness_for(asked, num_items) == draws


def test_in_batch_masks_accidental_hits_and_the_positive_itself() -> None:
    users, positives = torch.tensor([0, 1, 2]), torch.tensor([0, 7, 1])
    batch = sampler("in-batch").draw(users, positives, 1, 0)
    assert batch.items.tolist() == [[0, 7, 1]]
    assert batch.mask is not None
    assert batch.mask.tolist() == [[True, False, True], [False, True, False], [True, True, True]]
    frequency = np.bincount(ITEMS, minlength=8) / len(ITEMS)
    assert batch.log_q_positive is not None
    np.testing.assert_allclose(batch.log_q_positive.numpy(), np.log(frequency[[0, 7, 1]]), rtol=1e-5)


def test_shared_negatives_mask_what_a_user_owns() -> None:
    batch = sampler("shared", 64).draw(torch.tensor([0, 1]), torch.tensor([0, 7]), 1, 0)
    assert batch.items.shape == (1, 64)
    assert batch.mask is not None
    owned = TRAIN.csr().toarray() > 0
    np.testing.assert_array_equal(batch.mask.numpy(), owned[[0, 1]][:, batch.items[0].numpy()])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=40).filter(lambda weights: sum(weights) > 1e-3))
def test_an_alias_table_holds_exactly_the_weights(weights: list[float]) -> None:
    array = np.array(weights)
    accept, alias = alias_table(array)
    chance = accept.copy()
    np.add.at(chance, alias, 1 - accept)
    np.testing.assert_allclose(chance / len(array), array / array.sum(), atol=1e-9)
