"""Reasons: which of the items that somebody likes speak most for a suggestion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neucf.data.vocabulary import IntArray
from neucf.models import Model

# Liked items named as reasons of one suggestion, at most.
NUM_REASONS = 3


def reasons(model: Model, items: IntArray, liked: IntArray) -> list[list[int]]:
    """Returns the liked items (L,) that speak most for each of items (K,), the strongest first; none speaks against."""
    affinities = model.affinities(liked, items) if len(liked) and len(items) else None
    if affinities is None:
        return [[] for _ in items]
    # Unmasked, a liked item may be suggested, and is no reason for itself
    affinities = np.where(liked[:, None] == items, np.float32(-np.inf), affinities)
    strongest = _strongest(affinities.T, NUM_REASONS)
    speaks = np.take_along_axis(affinities.T, strongest, 1) > 0
    rows = zip(liked[strongest].tolist(), speaks.sum(1).tolist(), strict=True)
    return [row[:count] for row, count in rows]


def _strongest(affinities: npt.NDArray[np.float32], count: int) -> IntArray:
    """Returns the places (K, count) of the greatest in each row (K, L), the greatest first; of equals, the first."""
    left = np.array(affinities, order="C")
    rows = np.arange(len(left))
    places = np.empty((len(left), min(count, left.shape[1])), np.int64)
    # A sort of all would take ten times as long.
    for place in range(places.shape[1]):
        places[:, place] = left.argmax(1)
        left[rows, places[:, place]] = -np.inf
    return places
