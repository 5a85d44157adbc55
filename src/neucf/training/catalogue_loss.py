"""The softmax loss over a whole catalogue where logits are inner products: tile by tile."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Precision: TypeAlias = Literal["auto", "float32", "bf16"]
# Items whose logits are worked on at once, while they are in the processor's cache.
_TILE = 2048
# Logits within this need no maximum taken off: exp of them, summed over any catalogue, is within float32 and bfloat16.
_LARGEST = 60.0


class _LogSums(torch.autograd.Function):
    """Sum over B rows of weight_b ln sum_i exp(<x_b, y_i> / T); both gradients are worked out on the way forward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weights: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
        left, right = (x / temperature).to(dtype), y.to(dtype)
        tile = _TILE if x.device.type == "cpu" else len(y)
        # (B, I) exp(logit), (B,) their sums, (B, D) and (I, D)
        powers = torch.empty(len(x), len(y), dtype=dtype, device=x.device)
        sums, of_x, of_y = torch.zeros_like(weights), torch.zeros_like(x), torch.empty_like(y)
        for start in range(0, len(y), tile):
            items = slice(start, start + tile)
            part = torch.exp(left @ right[items].T)
            powers[:, items] = part
            sums += part.sum(1, dtype=torch.float32)
            of_x += part @ right[items]
        scale = (weights / sums / temperature).unsqueeze(1)
        scaled = (x * scale).to(dtype)
        for start in range(0, len(y), tile):
            items = slice(start, start + tile)
            of_y[items] = powers[:, items].T @ scaled
        ctx.save_for_backward(of_x.mul_(scale), of_y)
        return (weights * sums.log()).sum()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        of_x, of_y = ctx.saved_tensors
        return of_x * upstream[0], of_y * upstream[0], None, None, None


def product_softmax(
    x: Tensor, y: Tensor, rows: Tensor, items: Tensor, *, temperature: float, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Returns the mean over P positives of -ln softmax(x y^T / T) over all I items, as a scalar.

    Args:
        x: Vectors of the batch's users (B, D).
        y: Vectors of all items (I, D).
        rows: The row of `x` of each positive (P,).
        items: Its item (P,).
        temperature: T.
        dtype: In which the products over the catalogue are taken; sums are float32.
    """
    positive = (functional.embedding(rows, x) * functional.embedding(items, y)).sum() / temperature
    counts = torch.bincount(rows, minlength=len(x)).to(x.dtype)
    if _bound(x, y) <= _LARGEST * temperature:
        total: Tensor = _LogSums.apply(x, y, counts, temperature, dtype)
    else:
        total = ((x @ y.T / temperature).logsumexp(1) * counts).sum()
    return (total - positive) / max(len(rows), 1)


def temperature_for(asked: float, num_items: int) -> float:
    """Returns the temperature asked for; where that is 0, the one that suits cosines with a catalogue of I items.

    The best on validation was .2 with 1,682 items, .12 with 9,742 and .08 with 40,981, which lie on this line
    (docs/results.md): among more items, a positive must stand out more.
    """
    return asked or 1.66 * max(num_items, 1) ** -0.286


def catalogue_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Returns the type of products over the catalogue; `auto` is bfloat16 where the device has it in hardware."""
    if precision == "auto":
        native = torch.cpu._is_avx512_bf16_supported() if device.type == "cpu" else torch.cuda.is_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


@torch.no_grad()
def _bound(x: Tensor, y: Tensor) -> float:
    """Returns what no |<x, y>| of vectors (B, D) and (I, D) exceeds: the product of the largest lengths."""
    return float(x.norm(dim=1).max() * y.norm(dim=1).max())
