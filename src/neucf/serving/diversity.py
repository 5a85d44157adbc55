"""Diversity: lists in which each item also differs from those above it."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.errors import ConfigError
from neucf.evaluation.ranking import TopK

# How many candidates there are for each place of the list, and at least in all.
POOL_PER_PLACE, MIN_POOL = 5, 100

# Items (P,) -> how alike each two are (P, P).
Similarity = Callable[[npt.NDArray[np.int32]], npt.NDArray[np.float32]]


def check_diversity(diversity: float) -> None:
    """Raises ConfigError unless `diversity` is in 0..1."""
    if not isinstance(diversity, Real) or not 0 <= diversity <= 1:
        raise ConfigError(f"`diversity` must be in 0..1 (0 ranks by score alone); got {diversity!r}.")


def pool_size(k: int, diversity: float, num_items: int) -> int:
    """Returns how many of the best items a list of K is chosen from."""
    return min(num_items, max(POOL_PER_PLACE * k, MIN_POOL)) if diversity > 0 else k


def diversify(pools: TopK, k: int, diversity: float, similarity: Similarity) -> TopK:
    """Chooses K of each person's candidates by maximal marginal relevance (Carbonell and Goldstein 1998).

    Each place goes to the candidate with the largest (1 - diversity) relevance - diversity x the largest similarity to
    an item above. Relevance and similarity are first stretched to 0..1 over the person's candidates.

    Args:
        pools: Candidates of B people, best first, (B, P).
        k: How many to choose.
        diversity: In 0..1; at 0 the K best in their order.
        similarity: How alike items are; larger is more alike.
    """
    chosen = TopK(np.full((len(pools.items), k), -1, np.int32), np.full((len(pools.items), k), -np.inf, np.float32))
    for row, (items, scores) in enumerate(zip(pools.items, pools.scores, strict=True)):
        num_candidates = int((items >= 0).sum())
        picks = _picks(scores[:num_candidates], similarity(items[:num_candidates]), k, diversity)
        chosen.items[row, : len(picks)], chosen.scores[row, : len(picks)] = items[picks], scores[picks]
    return chosen


def _picks(
    scores: npt.NDArray[np.float32], alike: npt.NDArray[np.float32], k: int, diversity: float
) -> npt.NDArray[np.int64]:
    """Returns the places (K,), or (P,) where there are fewer, of the candidates chosen, in order."""
    relevance = _stretched(scores)
    likeness = _stretched((alike + alike.T) / 2, ~np.eye(len(alike), dtype=np.bool_))
    picks: list[int] = []
    closest, free = np.zeros(len(scores)), np.ones(len(scores), np.bool_)
    for _ in range(min(k, len(scores))):
        values = np.where(free, (1 - diversity) * relevance - diversity * closest, -np.inf)
        pick = int(values.argmax())
        picks.append(pick)
        free[pick] = False
        closest = np.maximum(closest, likeness[pick])
    return np.array(picks, np.int64)


def _stretched(values: npt.NDArray[Any], counted: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float64]:
    """Returns values mapped to 0..1 by the least and the largest of those that count; zeros where these are equal."""
    ends = values if counted is None else values[counted]
    low, high = (float(ends.min()), float(ends.max())) if ends.size else (0.0, 0.0)
    spread = high - low
    return (values.astype(np.float64) - low) / spread if spread > 0 else np.zeros(values.shape)
