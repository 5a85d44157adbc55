"""Fold-in: vectors for people the model never saw, from their histories, the net frozen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from neucf.data.vocabulary import IntArray
from neucf.models.neural_config import NeuralConfig
from neucf.training.catalogue_loss import temperature_for
from neucf.training.nets import Net, UnitEmbedding, unit
from neucf.training.sampling import hardness_for

# Few, small steps: training stops early too, and a vector taken to its optimum fits the history and little else.
STEPS, RATE = 30, 0.05
# Root mean square of a vector's elements to start from, where it is its direction alone that counts.
LENGTH = 0.1
# Decay of Adam's moments; few steps want short memories.
BETAS = (0.8, 0.95)
# Items a step takes as possible negatives; a quarter of them would do for easy ones, not for the hardest of several.
POOL = 256
# Positives whose people are optimised together: what a step touches then stays in a core's cache.
TILE_POSITIVES = 4096
# Products that a matrix multiplication does in the time of one done alone.
GRID_GAIN = 16


def fold_in(
    net: Net, config: NeuralConfig, histories: csr_array, starts: tuple[Tensor, ...] | None = None, pool: int = POOL,
    log_weights: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Returns the vectors (B, D) that minimise the expected training loss on histories (B, I).

    But for one thing: in a softmax a person's other positives are no competitors of a positive, where training by users
    counts them half. So counted, mf has an nDCG@20 of .443 in place of .452 (ml-100k, people held out, validation).

    Each step takes the expectation over the next items of a seeded order of the catalogue, the same for everybody, so
    a user's vector never depends on who else is asked for. Adam moves the vectors alone.

    Args:
        net: The net, frozen.
        config: How it was trained.
        histories: Positives of each user.
        starts: Vectors (B, D) to start from, which are moved in place; None for the mean user's.
        pool: Items a step takes.
        log_weights: What training added to the logits of each item (I,), over the temperature.
    """
    num_items = histories.shape[1]
    resolved = {
        "temperature": temperature_for(config.temperature, num_items),
        "hardness": hardness_for(config.hardness, num_items),
    }
    config = config.model_copy(update=resolved)
    matrix = csr_array(histories)
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    device = next(net.parameters()).device
    order = torch.from_numpy(np.random.default_rng(0).permutation(matrix.shape[1])).to(device)
    if starts is None:
        tables = (table.embedding for table in net.tables() if table.side == "user")
        starts = tuple(_mean(table).repeat(matrix.shape[0], 1) for table in tables)
    vectors = starts
    for tile in _tiles(matrix.indptr):
        _optimise(net, config, matrix[tile], order, tuple(vector[tile] for vector in vectors), pool, log_weights)
    return vectors


def _mean(table: nn.Embedding) -> Tensor:
    """Returns the mean user's vector (D,): by cosines only its direction counts, and the length is what steps suit."""
    mean = table.weight.detach().mean(0)
    return unit(mean) * LENGTH * len(mean) ** 0.5 if isinstance(table, UnitEmbedding) else mean


def _tiles(indptr: IntArray) -> Iterator[slice]:
    """Yields slices of rows that hold at most TILE_POSITIVES, or a single row."""
    start = 0
    while start < len(indptr) - 1:
        stop = int(np.searchsorted(indptr, indptr[start] + TILE_POSITIVES, side="right")) - 1
        stop = max(start + 1, min(stop, start + TILE_POSITIVES))
        yield slice(start, stop)
        start = stop


def _optimise(
    net: Net, config: NeuralConfig, histories: csr_array, order: Tensor, vectors: tuple[Tensor, ...], pool: int,
    log_weights: Tensor | None,
) -> None:  # fmt: skip
    """Moves vectors (B, D) in place towards the least expected loss on histories (B, I)."""
    counts = np.diff(histories.indptr)
    # (P,) each positive's person, item, and weight among that person's
    rows = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(order.device)
    positives = torch.from_numpy(histories.indices.astype(np.int64)).to(order.device)
    share = torch.from_numpy(np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)).to(order.device)
    # (B, I), in the order of the pools
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    free = torch.ones(histories.shape, dtype=torch.bool, device=order.device)
    free[rows, place[positives]] = False
    size = min(pool, len(order))
    # (Q,) and each positive's place among them (P,)
    distinct, at = positives.unique(return_inverse=True)
    # One grid of all is half the calls of two; where it is a mere product, even if most of it is of no use.
    cheap = type(net).product is not Net.product and len(counts) * len(distinct) <= GRID_GAIN * len(positives)
    at = at + rows * (len(distinct) + size)
    regs = [table.reg for table in net.tables() if table.side == "user"]
    first, second = ([torch.zeros_like(vector) for vector in vectors] for _ in range(2))
    for vector in vectors:
        vector.requires_grad_()
    with torch.enable_grad():
        for step in range(STEPS):
            start = step * size % (len(order) - size + 1)
            items, may = order[start : start + size], free[:, start : start + size]
            if cheap or len(counts) == 1:
                both = net.grid(vectors, torch.cat([distinct, items]))
                positive, negative = both.view(-1).index_select(0, at), both[:, len(distinct) :]
            else:
                positive = net.logits(tuple(vector.index_select(0, rows) for vector in vectors), positives)
                negative = net.grid(vectors, items)
            if log_weights is not None:
                positive = positive + config.temperature * log_weights[positives]
                negative = negative + config.temperature * log_weights[items]
            loss = _expected_loss(config, positive, negative, rows, share, may, len(order))
            for vector, reg in zip(vectors, regs, strict=True):
                if reg > 0:
                    loss = loss + vector.square().sum() * (reg / 2)
            gradients = torch.autograd.grad(loss, vectors)
            _adam(vectors, gradients, first, second, step)
    for vector in vectors:
        vector.requires_grad_(False)


@torch.no_grad()
def _adam(
    vectors: tuple[Tensor, ...], gradients: tuple[Tensor, ...], first: list[Tensor], second: list[Tensor], step: int
) -> None:
    """Takes a step of Adam (Kingma and Ba 2015, algorithm 1) at a rate that falls to 0; moments change in place."""
    rate = RATE * (1 - step / STEPS) / (1 - BETAS[0] ** (step + 1))
    for vector, gradient, mean, square in zip(vectors, gradients, first, second, strict=True):
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        vector.addcdiv_(mean, (square / (1 - BETAS[1] ** (step + 1))).sqrt_().add_(1e-8), value=-rate)


def _expected_loss(
    config: NeuralConfig, positive: Tensor, negative: Tensor, rows: Tensor, share: Tensor, free: Tensor,
    num_items: int,
) -> Tensor:  # fmt: skip
    """Returns the summed expected losses of B people.

    Args:
        config: Loss, negatives, hardness and temperature.
        positive: Logits (P,) of all positives.
        negative: Logits (B, M) of possible negatives.
        rows: Whose each positive is (P,).
        share: Each positive's weight (P,), 1 in all for each person.
        free: (B, M) whether the item is a negative of the person.
        num_items: I.
    """
    chance = _chances(negative, free, config.hardness)
    if config.loss == "bce":
        pushed = (chance * functional.softplus(negative)).sum()
        return ((share * functional.softplus(-positive)).sum() + config.negatives * pushed) / (1 + config.negatives)
    if config.loss == "bpr":
        margins = functional.softplus(negative.index_select(0, rows) - positive.unsqueeze(1))
        return (share * (chance.index_select(0, rows) * margins).sum(1)).sum()
    positive, negative = positive / config.temperature, negative / config.temperature
    # As if the whole catalogue were the negatives: the sampled loss is corrected to tend to that
    mass = np.log(num_items) + (negative + chance.clamp(min=1e-30).log()).logsumexp(-1)
    return (share * (torch.logaddexp(positive, mass.index_select(0, rows)) - positive)).sum()


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
