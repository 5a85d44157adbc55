"""Buckets: users by what training knows of them, items by how popular they are in training, to judge each apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neucf.data.vocabulary import IntArray

NUM_BUCKETS = 4


@dataclass(frozen=True, slots=True)
class Range:
    """A range of numbers of training rows, both ends inside; 0 to 0 is what training never saw."""

    low: int
    high: int

    def holds(self, counts: IntArray) -> npt.NDArray[np.bool_]:
        """Returns which of the counts lie inside."""
        return (self.low <= counts) & (counts <= self.high)

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,}\N{EN DASH}{self.high:,}"


def activity_ranges(counts: IntArray) -> list[Range]:
    """Returns the cold range, then ranges of activity that each hold about a quarter of the users training knows.

    Args:
        counts: (U,) training rows of each user.
    """
    known = counts[counts > 0]
    return _ranges(known, np.ones(len(known)))


def popularity_ranges(counts: IntArray) -> list[Range]:
    """Returns the cold range, then ranges of popularity whose items each hold about a quarter of the training rows.

    Quarters of the items instead would put nearly every row into the last one.

    Args:
        counts: (I,) training rows of each item.
    """
    known = counts[counts > 0]
    return _ranges(known, known.astype(np.float64))


def _ranges(counts: IntArray, weights: npt.NDArray[np.float64]) -> list[Range]:
    """Cuts at quarters of the weight; equal counts stay together, in the quarter that holds their middle."""
    distinct, place = np.unique(counts, return_inverse=True)
    weight = np.bincount(place, weights=weights, minlength=len(distinct))
    middle = np.cumsum(weight) - weight / 2
    quarter = np.floor(NUM_BUCKETS * middle / max(weight.sum(), 1)).astype(np.int64)
    groups = (distinct[quarter == number] for number in range(NUM_BUCKETS))
    return [Range(0, 0), *(Range(int(group[0]), int(group[-1])) for group in groups if len(group))]
