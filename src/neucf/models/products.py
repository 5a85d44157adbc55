"""products: the scores of models whose score is an inner product."""

from __future__ import annotations

from torch import Tensor


def products(vectors: Tensor, table: Tensor, items: Tensor | None) -> Tensor:
    """Returns inner products of people (B, D) with all items (I, D): (B, I); with items (C,) or (B, C): (B, C)."""
    if items is None:
        return vectors @ table.T
    # (C, D) or (B, C, D)
    chosen = table[items]
    return vectors @ chosen.T if items.ndim == 1 else (chosen @ vectors.unsqueeze(-1)).squeeze(-1)
