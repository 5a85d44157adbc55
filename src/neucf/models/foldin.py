"""Fold-in: vectors for people the model never saw, from their histories, the net frozen."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from neucf.models.neural_config import NeuralConfig
from neucf.training.nets import Net

STEPS = 60
RATE = 0.1
# Items a step draws as possible negatives; a pairwise loss meets each with every positive.
POOL, PAIRWISE_POOL = 256, 64


def fold_in(net: Net, config: NeuralConfig, histories: csr_array) -> tuple[Tensor, ...]:
    """Returns the vectors (B, D) that minimise the expected training loss on histories (B, I).

    Each step takes the expectation over a fresh, seeded pool of items, the same for everybody, so a user's vector
    never depends on who else is asked for. The start is the mean user; Adam moves the vectors alone.
    """
    matrix = csr_array(histories)
    matrix.sort_indices()
    device = next(net.parameters()).device
    counts = np.diff(matrix.indptr)
    width = max(int(counts.max(initial=0)), 1)
    # (B, L) positives, padded with item 0; share is each one's weight, 0 where padded
    present = np.arange(width) < counts[:, None]
    padded = np.zeros(present.shape, np.int64)
    padded[present] = matrix.indices
    positives = torch.from_numpy(padded).to(device)
    share = torch.from_numpy((present / np.maximum(counts, 1)[:, None]).astype(np.float32)).to(device)
    num_items = matrix.shape[1]
    # (nnz,) sorted row * I + item, and one more that no key reaches
    rows = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    owned = torch.from_numpy(np.append(rows * num_items + matrix.indices, np.iinfo(np.int64).max)).to(device)
    first_keys = torch.arange(len(counts), device=device).unsqueeze(1) * num_items
    rng = np.random.default_rng(0)
    pool_size = min(PAIRWISE_POOL if config.loss == "bpr" else POOL, num_items)
    starts = [table.embedding.weight.detach().mean(0) for table in net.tables() if table.side == "user"]
    vectors = [start.expand(len(counts), -1).clone().requires_grad_() for start in starts]
    optimizer = torch.optim.Adam(vectors, lr=RATE)
    with torch.enable_grad():
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            pool = torch.from_numpy(rng.choice(num_items, pool_size, replace=False, shuffle=False)).to(device)
            keys = first_keys + pool
            # (B, M) pool items that may be negatives of each user
            free = owned[torch.searchsorted(owned, keys)] != keys
            positive = net.logits(tuple(vector.unsqueeze(1) for vector in vectors), positives)
            negative = net.grid(tuple(vectors), pool)
            terms = _expected_loss(config, positive, negative, share, free, num_items)
            penalty = sum((vector**2).sum(-1) for vector in vectors) * (config.reg / 2)
            gradients = torch.autograd.grad((terms + penalty).sum(), vectors)
            for vector, gradient in zip(vectors, gradients, strict=True):
                vector.grad = gradient
            optimizer.step()
    return tuple(vector.detach() for vector in vectors)


def _expected_loss(
    config: NeuralConfig, positive: Tensor, negative: Tensor, share: Tensor, free: Tensor, num_items: int
) -> Tensor:
    """Returns each user's expected loss (B,) for positives (B, L) with weights `share`, negatives (B, M) if `free`."""
    chance = _chances(negative, free, config.hardness)
    if config.loss == "bce":
        pulled = (share * functional.softplus(-positive)).sum(-1)
        pushed = (chance * functional.softplus(negative)).sum(-1)
        return (pulled + config.negatives * pushed) / (1 + config.negatives)
    if config.loss == "bpr":
        margins = functional.softplus(negative.unsqueeze(1) - positive.unsqueeze(2))
        return torch.einsum("bl,bm,blm->b", share, chance, margins)
    positive, negative = positive / config.temperature, negative / config.temperature
    mass = np.log(num_items) + (negative + chance.clamp(min=1e-30).log()).logsumexp(-1, keepdim=True)
    return (share * (torch.logaddexp(positive, mass) - positive)).sum(-1)


def _chances(negative: Tensor, free: Tensor, hardness: int) -> Tensor:
    """Returns how likely each negative (B, M) is drawn: evenly, or as the best scored of `hardness` even draws."""
    count = free.sum(-1, keepdim=True).clamp(min=1)
    if hardness == 1:
        return free / count
    scores = negative.detach().masked_fill(~free, float("-inf"))
    # Rank 0 is the lowest free score; P(best of n has rank r) = ((r + 1)^n - r^n) / M^n.
    rank = scores.argsort(-1).argsort(-1) - (~free).sum(-1, keepdim=True)
    low = rank.clamp(min=0) / count
    return free * (((rank + 1).clamp(min=0) / count) ** hardness - low**hardness)
