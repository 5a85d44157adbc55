"""The softmax loss where a pool of items stands for the catalogue, or for what a product leaves of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neucf.training.catalogue_loss import LARGEST, OTHERS, bound, exp_products, product_gradients


class _PartSoftmax(torch.autograd.Function):
    """From x y^T / T: log of the sum of exp over each row's free items, and the logits of positives and of a pool."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, rows: Tensor, items: Tensor, pool: Tensor, temperature: float,
        dtype: torch.dtype, log_weights: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        right = y.to(dtype)
        powers, sums = exp_products((x / temperature).to(dtype), right, log_weights)
        own, pooled = powers[rows, items].float(), powers[:, pool].float()
        sums = sums.index_add(0, rows, own, alpha=-1).clamp(min=1e-30)
        ctx.save_for_backward(x, right, rows, items, powers, sums)
        ctx.temperature = temperature
        pooled = pooled.log()
        ctx.mark_non_differentiable(pooled)
        return sums.log(), own.log(), pooled

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None, None, None, None]:
        x, right, rows, items, powers, sums = ctx.saved_tensors
        # (B, I) the gradient by logits over a scale a row (B,), in place of the powers
        scale = upstream[0] / sums
        scale = torch.where(scale.abs() < 1e-20, 1e-20, scale)
        powers.index_put_((rows, items), (upstream[1] / scale[rows]).to(powers.dtype))
        return *product_gradients(powers, x, right, scale / ctx.temperature), None, None, None, None, None, None


def product_terms(
    x: Tensor, y: Tensor, rows: Tensor, items: Tensor, pool: Tensor, *, temperature: float,
    dtype: torch.dtype = torch.float32, log_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Returns of logits x y^T / T what `pool_softmax` needs where these are but a part of all.

    Args:
        x: Vectors of the batch's users (B, D).
        y: Vectors of all items (I, D).
        rows: The row of `x` of each positive (P,), no pair twice.
        items: Its item (P,).
        pool: Items (N,), none twice.
        temperature: T.
        dtype: As in `product_softmax`.
        log_weights: Likewise.

    Returns:
        The log of the sum of exp(logit) over each row's free items (B,), the logits of the positives (P,) and of the
        pool (B, N), which pass no gradient on: a pool's share of it varies so much that the product is better learnt
        by its own softmax (docs/results.md).
    """
    if bound(x, y) <= LARGEST * temperature:
        terms: tuple[Tensor, Tensor, Tensor] = _PartSoftmax.apply(
            x, y, rows, items, pool, temperature, dtype, log_weights
        )
        return terms
    known = torch.zeros(len(x), len(y), dtype=torch.bool, device=x.device)
    known[rows, items] = True
    logits = x @ y.T / temperature
    if log_weights is not None:
        logits = logits + log_weights
    return logits.masked_fill(known, -1e30).logsumexp(1), logits[rows, items], logits[:, pool].detach()


def pool_softmax(logits: Tensor, own: Tensor, rows: Tensor, known: Tensor, guide: tuple[Tensor, Tensor]) -> Tensor:
    """Returns an estimate of the same mean from a pool of N items drawn evenly, as a scalar.

    What a row's free items of the pool add to its sum stands for all of its free items, by the ratio that a guide has
    (importance sampling, Bengio and Senecal 2008); positives are all there, and count as they do in the exact loss.

    Args:
        logits: Of the pool (B, N), already over the temperature.
        own: Of the positives (P,), likewise.
        rows: The row of each positive (P,), no pair twice.
        known: (B, N) whether an item of the pool is a positive of the row.
        guide: Logs of what a row's free items of the pool, and all of its free items, make by another score (B,).
    """
    # Not -inf: a row without a free item would have no gradient
    free = logits.masked_fill(known, -1e30).logsumexp(1) - guide[0] + guide[1]
    largest = free.detach().scatter_reduce(0, rows, own.detach(), "amax")
    powers = (own - largest[rows]).exp()
    sums = (free - largest).exp().index_add(0, rows, powers, alpha=OTHERS)
    whole = sums[rows] + (1 - OTHERS) * powers
    return (whole.log() - (own - largest[rows])).sum() / max(len(rows), 1)


def count_guide(rows: Tensor, known: Tensor, num_items: int) -> tuple[Tensor, Tensor]:
    """Returns a guide by which all of I items are alike: logs of counts; arguments as in `pool_softmax`."""
    free = num_items - torch.bincount(rows, minlength=len(known))
    return (~known).sum(1).clamp(min=1).log(), free.clamp(min=1).log()


def part_guide(sums: Tensor, pooled: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a guide by a part of the logits that is known of all items: exact where there is nothing else.

    Args:
        sums: Log of the sum over each row's free items, by that part (B,).
        pooled: Logits of the pool by that part (B, N).
        known: As in `pool_softmax`.
    """
    return pooled.masked_fill(known, -1e30).logsumexp(1), sums
