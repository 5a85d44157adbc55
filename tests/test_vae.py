"""multi-vae: its loss against numbers worked by hand and torch's distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted
from scipy.sparse import csr_array

from neucf.models import MODELS
from neucf.training.vae import VAEEngine, VAENet, divergence, histories, multinomial

TRAIN, HELD = planted()


def net(hidden: int = 6, dim: int = 3) -> VAENet:
    return VAENet(TRAIN.num_items, hidden, dim, torch.Generator().manual_seed(1))


def engine(own: VAENet, *, dropout: float = 0.0, anneal_epochs: float = 4.0) -> VAEEngine:
    return VAEEngine(
        own, TRAIN, batch_users=16, dropout=dropout, beta=0.3, anneal_epochs=anneal_epochs, reg_weights=0.0, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip


def test_the_multinomial_loss_by_hand() -> None:
    # Softmax shares are 1/4, 1/4, 1/2 and 1/6, 2/6, 3/6
    logits = torch.log(torch.tensor([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0]]))
    found = multinomial(logits, torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]))
    assert float(found) == pytest.approx(math.log(4) + math.log(2) + math.log(3), rel=1e-6)


def test_the_divergence_by_hand() -> None:
    # 1/2 (variance + mean^2 - 1 - ln variance): of N(2, 1) 2, of N(0, 4) 1/2 (3 - ln 4)
    found = divergence(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, math.log(4.0)]]))
    assert float(found) == pytest.approx(2 + (3 - math.log(4)) / 2, rel=1e-6)


def test_histories_have_length_one_and_may_be_empty() -> None:
    starts, items, values = histories(csr_array(np.array([[0, 5, 5, 0], [0, 0, 0, 0], [1, 1, 1, 1]])))
    assert starts.tolist() == [0, 2, 2]
    assert items.tolist() == [1, 2, 0, 1, 2, 3]
    np.testing.assert_allclose(values.numpy(), [2**-0.5] * 2 + [0.5] * 4, rtol=1e-6)


def test_a_step_is_the_dense_network_s() -> None:
    """One step without dropout against dense layers and torch's own distributions, the noise drawn alike."""
    own, users, beta = net(), np.array([0, 5, 9, 33]), 0.2
    dense = torch.from_numpy(TRAIN.csr()[users].toarray()).float().gt(0).float()
    generator = torch.Generator().manual_seed(4)
    torch.rand(int(dense.sum()), generator=generator)
    noise = torch.randn((4, 3), generator=generator)
    weights = {name: value.detach().clone().requires_grad_() for name, value in own.named_parameters()}
    hidden = torch.tanh(dense / dense.sum(1, keepdim=True).sqrt() @ weights["into"] + weights["into_bias"])
    mean, log_variance = (hidden @ weights["code"].T + weights["code_bias"]).split(3, dim=1)
    deviation = torch.exp(log_variance / 2)
    back = torch.tanh((mean + deviation * noise) @ weights["back"].T + weights["back_bias"])
    logits = back @ weights["out"].T + weights["out_bias"]
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, deviation), standard).sum()
    expected = -(dense * torch.log_softmax(logits, 1)).sum() + beta * kl
    (expected / 4).backward()
    found = engine(own).step(users, beta, 0.01, torch.Generator().manual_seed(4))
    assert found == pytest.approx(float(expected.detach()), rel=1e-5)
    for name, value in own.named_parameters():
        torch.testing.assert_close(value.grad, weights[name].grad, rtol=1e-4, atol=1e-6)


def test_beta_rises_to_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def step(*given: Any) -> float:
        seen.append(given[2])
        return 0.0

    monkeypatch.setattr(VAEEngine, "step", step)
    trained = engine(net(), anneal_epochs=2.0)
    for epoch in (1, 2, 3):
        trained.run_epoch(epoch, lambda _: 0.01)
    # 60 users make 4 steps an epoch, begun when 0, 16, 32 and 48 of 60 were done
    shares = [epoch + done / 60 for epoch in (0, 1) for done in (0, 16, 32, 48)]
    np.testing.assert_allclose(seen, [0.3 * share / 2 for share in shares] + [0.3] * 4)


def test_dropout_hides_items_from_the_encoder_and_not_from_the_loss() -> None:
    own = net()
    before = own.into.detach().clone()
    user = np.array([7])
    engine(own, dropout=1 - 1e-12).step(user, 0.0, 0.01, torch.Generator().manual_seed(0))
    assert torch.equal(before, own.into.detach())
    assert own.out_bias.detach()[TRAIN.items[TRAIN.users == 7]].min() > 0


def test_training_goes_on_from_a_saved_state() -> None:
    whole, first = engine(net(), dropout=0.5), engine(net(), dropout=0.5)
    for epoch in (1, 2):
        whole.run_epoch(epoch, lambda _: 0.01)
    first.run_epoch(1, lambda _: 0.01)
    second = engine(net(), dropout=0.5)
    second.load_state(first.state())
    second.run_epoch(2, lambda _: 0.01)
    assert torch.equal(whole.net.out, second.net.out)
    assert whole.valid_loss(HELD) == second.valid_loss(HELD)


def test_a_known_history_is_its_user_and_weights_count_as_ones() -> None:
    model = MODELS["multi-vae"](hidden=8, dim=4, epochs=2).fit(TRAIN, threads=1)
    whole = model.score(np.arange(TRAIN.num_users))
    np.testing.assert_allclose(model.score_history(TRAIN.csr() * 3), whole, rtol=1e-5, atol=1e-5)
