"""Metrics of ranked lists: one value a user, averaged by the caller.

Each takes hits (U, K'), whether the item at each rank is relevant, K' >= k; num_relevant (U,), how many items are
relevant to the user in the whole catalogue; and k, the length of the list that is judged. A list with fewer items
than k ends in misses. A user without a relevant item gets 0; protocols leave such users out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Hits: TypeAlias = npt.NDArray[np.bool_]
Counts: TypeAlias = npt.NDArray[np.int64]
Values: TypeAlias = npt.NDArray[np.float64]


def recall(hits: Hits, num_relevant: Counts, k: int) -> Values:
    """Returns hits among the first k / relevant items (all of them, even where they are more than k)."""
    return _share(_count(hits[:, :k]), num_relevant)


def precision(hits: Hits, num_relevant: Counts, k: int) -> Values:
    """Returns hits among the first k / k, even where the list or the relevant items are fewer than k."""
    del num_relevant
    return _share(_count(hits[:, :k]), np.full(len(hits), k))


def ndcg(hits: Hits, num_relevant: Counts, k: int) -> Values:
    """Returns DCG / IDCG with binary gains.

    DCG sums 1 / log2(rank + 1) over the hits among the first k; IDCG sums it over ranks 1..min(k, num_relevant).
    """
    # No list is longer than what there is
    gains = discounts(min(k, max(hits.shape[1], int(num_relevant.max(initial=0)))))
    ideal = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(num_relevant, k)]
    return _share(hits[:, :k] @ gains[: hits.shape[1]], ideal)


def hit(hits: Hits, num_relevant: Counts, k: int) -> Values:
    """Returns 1 where any of the first k is a hit, else 0."""
    del num_relevant
    return np.asarray(_count(hits[:, :k]) > 0, np.float64)


def reciprocal_rank(hits: Hits, num_relevant: Counts, k: int) -> Values:
    """Returns 1 / the rank of the first hit, or 0 where none is among the first k; its mean is MRR at k."""
    del num_relevant
    first = hits[:, :k]
    return _share(_count(first) > 0, 1 + first.argmax(1))


def average_precision(hits: Hits, num_relevant: Counts, k: int) -> Values:
    """Returns the sum of precision at each hit's rank among the first k / min(k, num_relevant).

    The denominator is the most hits a list of k can hold, so that a perfect list gets 1; its mean is MAP at k.
    """
    first = hits[:, :k]
    precisions = np.cumsum(first, 1) / np.arange(1, first.shape[1] + 1)
    return _share((precisions * first).sum(1), np.minimum(num_relevant, k))


Metric: TypeAlias = Callable[[Hits, Counts, int], Values]

METRICS: Mapping[str, Metric] = {
    "recall": recall,
    "precision": precision,
    "ndcg": ndcg,
    "hit": hit,
    "mrr": reciprocal_rank,
    "map": average_precision,
}

# What ranking among sampled candidates gives at each k
SAMPLED = ("hit", "ndcg")

TIES = ("average", "pessimistic", "optimistic")


def measure(hits: Hits, num_relevant: Counts, ks: Sequence[int]) -> dict[str, Values]:
    """Returns every metric at every k, keyed such as `recall@20`, each (U,)."""
    return {f"{name}@{k}": metric(hits, num_relevant, k) for k in ks for name, metric in METRICS.items()}


def expected(higher: Counts, equal: Counts, num_ranks: int, ks: Sequence[int], ties: str) -> dict[str, Values]:
    """Returns hit and nDCG at each k, and mrr, (L,), of one positive a list among candidates.

    With one relevant item IDCG is 1, so nDCG is 1 / log2(rank + 1) within k; mrr is 1 / rank, however long the list.

    Args:
        higher: (L,) candidates that score higher than the positive.
        equal: (L,) candidates with the same score.
        num_ranks: Ranks there are: candidates and the positive.
        ks: List lengths.
        ties: `average` is the mean of the metric over the equal + 1 ranks the positive may take, which is what
            ordering ties at random gives on average (not the metric of the mean rank); `pessimistic` takes the last
            of them, `optimistic` the first.
    """
    first = higher + equal if ties == "pessimistic" else higher
    last = higher if ties == "optimistic" else higher + equal
    gains = {}
    for k in ks:
        within = np.arange(num_ranks) < k
        gains[f"hit@{k}"], gains[f"ndcg@{k}"] = within.astype(np.float64), discounts(num_ranks) * within
    gains["mrr"] = 1 / np.arange(1, num_ranks + 1)
    sums = {name: np.concatenate([[0.0], np.cumsum(gain)]) for name, gain in gains.items()}
    return {name: (total[last + 1] - total[first]) / (last + 1 - first) for name, total in sums.items()}


def discounts(k: int) -> Values:
    """Returns 1 / log2(rank + 1) for ranks 1..k, (k,)."""
    gains: Values = 1 / np.log2(np.arange(2, k + 2))
    return gains


def _count(hits: Hits) -> Values:
    """Returns the hits of each row (U,); numpy adds up few columns of booleans slowly."""
    counts: Values = hits @ np.ones(hits.shape[1])
    return counts


def _share(parts: Any, wholes: npt.NDArray[Any]) -> Values:
    quotients: Values = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
    return quotients
