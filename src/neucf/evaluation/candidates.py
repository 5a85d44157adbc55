"""Candidates of the sampled protocol: given lists cleaned, or seeded ones drawn among the items a user never chose."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from neucf.data.interactions import Interactions
from neucf.data.splits import Candidates

# Lists drawn from one random stream: bounds memory, and fixes the draw whatever the tile size used elsewhere.
_BLOCK = 8192


def clean(given: Candidates) -> Candidates:
    """Returns the given lists with -1 in place of a list's own positive and of repeats."""
    negatives = np.array(given.negatives, np.int32)
    negatives[negatives == given.positives[:, None]] = -1
    order = np.argsort(negatives, 1, kind="stable")
    ascending = np.take_along_axis(negatives, order, 1)
    repeated = np.zeros(negatives.shape, np.bool_)
    np.put_along_axis(repeated, order[:, 1:], ascending[:, 1:] == ascending[:, :-1], 1)
    negatives[repeated] = -1
    return Candidates(given.users, given.positives, negatives)


def drawn(part: Interactions, known: list[Interactions], num_negatives: int, seed: int) -> Iterator[Candidates]:
    """Yields a list for each row of `part`: its item among items drawn uniformly without repeats.

    A user with fewer than `num_negatives` items left gets all of them, padded with -1.

    Args:
        part: The held-out positives.
        known: Every part that holds positives a candidate must not be, `part` included.
        num_negatives: N, candidates beside the positive.
        seed: Drives the draw; each block of lists has a stream of its own.
    """
    free = _Free(known)
    for block, first in enumerate(range(0, len(part), _BLOCK)):
        users = part.users[first : first + _BLOCK].astype(np.int64)
        ranks = _distinct_ranks(np.random.default_rng([seed, block]), free.counts[users], num_negatives)
        yield Candidates(users, part.items[first : first + _BLOCK], free.items(users, ranks))


class _Free:
    """The items each user has no positive on, addressed by rank without ever being listed."""

    def __init__(self, known: list[Interactions]) -> None:
        num_users, self.num_items = known[0].num_users, known[0].num_items
        keys = [part.users.astype(np.int64) * self.num_items + part.items for part in known]
        # np.unique hashes first, which takes ten times as long as a sort here
        taken = np.sort(np.concatenate(keys))
        taken = taken[np.concatenate([[True], taken[1:] != taken[:-1]])]
        users = taken // self.num_items
        num_taken = np.bincount(users, minlength=num_users)
        self.starts = np.concatenate([[0], np.cumsum(num_taken)])
        self.counts = self.num_items - num_taken
        # Free items below each taken one; with its user in front, ascending over the whole array.
        below = taken % self.num_items - (np.arange(len(taken)) - self.starts[users])
        self.keys = users * (self.num_items + 1) + below

    def items(self, users: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Returns the free items (B, N) at each user's ranks (B, N); -1 stays -1."""
        # A taken item stands before the free item of rank r where at most r free ones are below it.
        wanted = users[:, None] * (self.num_items + 1) + np.maximum(ranks, 0)
        passed = np.searchsorted(self.keys, wanted, side="right") - self.starts[users][:, None]
        return np.where(ranks < 0, -1, ranks + passed).astype(np.int32)


def _distinct_ranks(rng: np.random.Generator, counts: npt.NDArray[np.int64], num_ranks: int) -> npt.NDArray[np.int64]:
    """Returns (B, N) distinct integers in 0..counts[row] - 1, uniform; -1 pads a row with fewer."""
    ranks = np.full((len(counts), num_ranks), -1)
    few = counts <= 2 * num_ranks
    # Where little is left, redrawing repeats would take long: order all of it at random instead.
    keys = rng.random((int(few.sum()), 2 * num_ranks))
    keys[np.arange(2 * num_ranks) >= counts[few][:, None]] = np.inf
    order = np.argsort(keys, 1)[:, :num_ranks]
    ranks[few] = np.where(np.take_along_axis(keys, order, 1) < np.inf, order, -1)
    many = np.flatnonzero(~few)
    drawn = rng.integers(0, counts[many][:, None], (len(many), num_ranks))
    rows = np.arange(len(many))
    while len(rows):
        # Sorting brings repeats together; all but the first are drawn again, which keeps every subset equally likely.
        drawn[rows] = np.sort(drawn[rows], 1)
        repeated = np.zeros((len(rows), num_ranks), np.bool_)
        repeated[:, 1:] = drawn[rows, 1:] == drawn[rows, :-1]
        row, column = np.nonzero(repeated)
        drawn[rows[row], column] = rng.integers(0, counts[many[rows[row]]])
        rows = rows[repeated.any(1)]
    ranks[many] = drawn
    return ranks
