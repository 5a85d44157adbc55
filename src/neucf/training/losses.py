"""What training minimises. A loss never knows its net: it sees logits of positives and of negatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

LossName: TypeAlias = Literal["bpr", "bce", "softmax"]
Loss: TypeAlias = Callable[..., Tensor]


def bpr(
    positive: Tensor,
    negative: Tensor,
    *,
    log_q_positive: Tensor | None = None,
    log_q_negative: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Bayesian personalised ranking: mean over B x N pairs of -ln sigmoid(positive - negative).

    Rendle et al. 2009, equation 4, without its L2 term, which the engine adds.

    Args:
        positive: Logits (B,).
        negative: Logits (B, N).
        log_q_positive: Ignored: a pairwise loss needs no correction for sampling.
        log_q_negative: Ignored.
        mask: (B, N) bool, true where a negative is an accidental positive and must not count.

    Returns:
        A scalar.
    """
    del log_q_positive, log_q_negative
    return _mean(functional.softplus(negative - positive.unsqueeze(-1)), mask)


def bce(
    positive: Tensor,
    negative: Tensor,
    *,
    log_q_positive: Tensor | None = None,
    log_q_negative: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy: mean over B(1+N) terms of -ln sigmoid(positive) and -ln(1 - sigmoid(negative)).

    He et al. 2017, equation 7. Arguments as in `bpr`.

    Returns:
        A scalar.
    """
    del log_q_positive, log_q_negative
    terms = torch.cat([functional.softplus(-positive).unsqueeze(-1), functional.softplus(negative)], dim=-1)
    if mask is None:
        return terms.mean()
    return _mean(terms, torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=-1))


def softmax(
    positive: Tensor,
    negative: Tensor,
    *,
    log_q_positive: Tensor | None = None,
    log_q_negative: Tensor | None = None,
    mask: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Sampled softmax: mean over B of -ln of the positive's share among itself and its negatives.

    With logits divided by the temperature first, each then has the log of how often sampling offers it subtracted,
    so that the gradient tends to that of the full softmax (Bengio and Senecal 2008; Yi et al. 2019, equation 5).

    Args:
        positive: Logits (B,).
        negative: Logits (B, N).
        log_q_positive: (B,) for in-batch negatives, log q; None where the positive is always there.
        log_q_negative: (B, N) log(N q) for explicit negatives, log q for in-batch ones; None for no correction.
        mask: (B, N) bool, true where a negative is an accidental positive and must not count.
        temperature: Divides every logit; small values sharpen.

    Returns:
        A scalar.
    """
    positive, negative = positive / temperature, negative / temperature
    if log_q_positive is not None:
        positive = positive - log_q_positive
    if log_q_negative is not None:
        negative = negative - log_q_negative
    if mask is not None:
        negative = negative.masked_fill(mask, float("-inf"))
    return (torch.logaddexp(positive, negative.logsumexp(dim=-1)) - positive).mean()


def make_loss(name: LossName, temperature: float = 1.0) -> Loss:
    """Returns the loss of that name; only softmax uses the temperature."""
    losses: dict[LossName, Loss] = {"bpr": bpr, "bce": bce, "softmax": partial(softmax, temperature=temperature)}
    return losses[name]


def _mean(terms: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return terms.mean()
    return terms.masked_fill(mask, 0.0).sum() / (~mask).sum().clamp(min=1)
