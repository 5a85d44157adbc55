"""Losses against hand-worked values, and sampled softmax against the full one."""

from __future__ import annotations

import math

import pytest
import torch

from neucf.training.losses import bce, bpr, make_loss, softmax

POSITIVE = torch.tensor([1.0, -2.0])
NEGATIVE = torch.tensor([[0.0, 2.0], [1.0, -1.0]])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_bpr_by_hand() -> None:
    margins = [1.0, -1.0, -3.0, -1.0]
    expected = -sum(math.log(sigmoid(margin)) for margin in margins) / 4
    assert bpr(POSITIVE, NEGATIVE).item() == pytest.approx(expected, rel=1e-6)


def test_bce_by_hand() -> None:
    positives = [math.log(sigmoid(1.0)), math.log(sigmoid(-2.0))]
    negatives = [math.log(1 - sigmoid(x)) for x in (0.0, 2.0, 1.0, -1.0)]
    assert bce(POSITIVE, NEGATIVE).item() == pytest.approx(-(sum(positives) + sum(negatives)) / 6, rel=1e-6)


def test_softmax_by_hand_with_temperature() -> None:
    first = math.exp(2) / (math.exp(2) + math.exp(0) + math.exp(4))
    second = math.exp(-4) / (math.exp(-4) + math.exp(2) + math.exp(-2))
    expected = -(math.log(first) + math.log(second)) / 2
    assert softmax(POSITIVE, NEGATIVE, temperature=0.5).item() == pytest.approx(expected, rel=1e-6)


def test_no_loss_overflows_at_large_margins() -> None:
    for name in ("bpr", "bce", "softmax"):
        value = make_loss(name)(torch.tensor([-500.0]), torch.tensor([[500.0]]))
        assert torch.isfinite(value)
        assert value > 100


@pytest.mark.parametrize("name", ["bpr", "bce", "softmax"])
def test_masked_negatives_count_for_nothing(name: str) -> None:
    loss = make_loss(name)
    mask = torch.tensor([[False, True], [False, True]])
    assert loss(POSITIVE, NEGATIVE, mask=mask).item() == pytest.approx(loss(POSITIVE, NEGATIVE[:, :1]).item(), rel=1e-6)


def full_gradient(logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    torch.nn.functional.cross_entropy(logits.unsqueeze(0), torch.tensor([0])).backward()
    assert logits.grad is not None
    return logits.grad


def sampled_gradient(logits: torch.Tensor, q: torch.Tensor, count: int, correct: bool) -> torch.Tensor:
    """The mean gradient over 200 draws of `count` negatives from q over items 1..I - 1."""
    logits = logits.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    drawn = 1 + torch.multinomial(q, 200 * count, replacement=True, generator=generator).view(200, count)
    log_q = torch.log(count * q)[drawn - 1] if correct else None
    softmax(logits[0].expand(200), logits[drawn], log_q_negative=log_q).backward()
    assert logits.grad is not None
    return logits.grad


def test_corrected_softmax_converges_to_the_full_one_for_a_skewed_q() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50, generator=generator)
    q = torch.rand(49, generator=generator) ** 3 + 0.01
    q /= q.sum()
    full = full_gradient(logits)
    errors = [(sampled_gradient(logits, q, count, True) - full).norm().item() for count in (20, 200, 2000)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02 * full.norm().item()
    uncorrected = (sampled_gradient(logits, q, 2000, False) - full).norm().item()
    assert uncorrected > 5 * errors[2]


def test_in_batch_correction_is_log_q_on_both_sides() -> None:
    log_q = torch.log(torch.tensor([0.7, 0.2, 0.1]))
    value = softmax(POSITIVE, NEGATIVE, log_q_positive=log_q[:2], log_q_negative=log_q[1:].unsqueeze(0).expand(2, -1))
    first = [math.exp(1) / 0.7, math.exp(0) / 0.2, math.exp(2) / 0.1]
    second = [math.exp(-2) / 0.2, math.exp(1) / 0.2, math.exp(-1) / 0.1]
    expected = -(math.log(first[0] / sum(first)) + math.log(second[0] / sum(second))) / 2
    assert value.item() == pytest.approx(expected, rel=1e-5)
