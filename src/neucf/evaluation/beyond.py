"""Beyond accuracy: what lists say of a recommender whoever was right: how much of the catalogue they show, and what.

Lists are (M, K) item indices, best first; -1 ends a list that has fewer than K items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.data.genres import genre_matrix
from neucf.data.vocabulary import IntArray
from neucf.evaluation.metrics import Values

# Genre flags of listed items that may be held at once: 16 MiB of float32.
_CHUNK = 1 << 22


def beyond_accuracy(
    lists: IntArray, ks: Sequence[int], popularity: IntArray, genres: csr_array | None = None
) -> dict[str, float]:
    """Returns every measure at every k, keyed such as `coverage@20`; what is not defined has no key.

    Args:
        lists: (M, K) lists.
        ks: List lengths, none above K unless the catalogue ends there.
        popularity: (I,) training rows of each item.
        genres: (I, G) from `genre_flags`; None where no genre is known.
    """
    found = {}
    for k in ks:
        first = lists[:, :k]
        found[f"coverage@{k}"] = coverage(first, len(popularity))
        found[f"gini@{k}"] = gini(first, len(popularity))
        found[f"popularity@{k}"] = _mean(mean_popularity(first, popularity))
        if genres is not None:
            found[f"diversity@{k}"] = _mean(intra_list_diversity(first, genres))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def coverage(lists: IntArray, num_items: int) -> float:
    """Returns the share of the catalogue that stands in any list.

    Catalogue coverage of Ge, Delgado-Battenfeld and Jannach 2010 (Beyond Accuracy: Evaluating Recommender Systems by
    Coverage and Serendipity, RecSys): items listed at least once / items.
    """
    return int((_times_listed(lists, num_items) > 0).sum()) / num_items


def gini(lists: IntArray, num_items: int) -> float:
    """Returns how unequally the catalogue is listed: 0 all items alike, 1 the same single item for everybody.

    Gunawardana and Shani 2015 (Evaluating Recommender Systems, Recommender Systems Handbook): with p_j the share of all
    places that item j takes, in ascending order, and n items, the sum over j of (2 j - n - 1) p_j / (n - 1).
    """
    times = np.sort(_times_listed(lists, num_items))
    ranks = np.arange(1, num_items + 1)
    total = int(times.sum()) * (num_items - 1)
    return float(((2 * ranks - num_items - 1) * times).sum()) / total if total else math.nan


def mean_popularity(lists: IntArray, popularity: IntArray) -> Values:
    """Returns the mean number of training rows of the items in each list (M,); NaN for an empty list.

    Averaged over lists it is the average recommendation popularity of Yin et al. 2012 (Challenging the Long Tail
    Recommendation, VLDB).
    """
    listed = lists >= 0
    sums = np.where(listed, popularity[lists], 0).sum(1)
    means: Values = np.divide(sums, listed.sum(1), out=np.full(len(lists), math.nan), where=listed.any(1))
    return means


def intra_list_diversity(lists: IntArray, genres: csr_array) -> Values:
    """Returns how little the genres of a list's items overlap (M,): 0 all the same, 1 no two share any.

    The mean over pairs of items of one less their similarity (Smyth and McClave 2001, Similarity vs. Diversity, ICCBR;
    Ziegler et al. 2005 sum the similarities instead), the similarity being Jaccard's: genres shared / genres of either.
    Items without a genre are left out; NaN where fewer than two items are left.

    Args:
        lists: (M, K) lists.
        genres: (I, G) 1 where an item is of a genre.
    """
    found = np.empty(len(lists))
    size = lists.shape[1]
    step = max(1, _CHUNK // max(1, size * (genres.shape[1] + size)))
    for start in range(0, len(lists), step):
        part = lists[start : start + step]
        flags = genres[part.ravel()].toarray().reshape(*part.shape, -1).astype(np.float32)  # (B, K, G)
        flags[part < 0] = 0
        counts = flags.sum(2)
        shared = flags @ flags.transpose(0, 2, 1)  # (B, K, K)
        either = counts[:, :, None] + counts[:, None, :] - shared
        usable = (counts[:, :, None] > 0) & (counts[:, None, :] > 0)
        usable[:, np.arange(size), np.arange(size)] = False
        distances = 1 - np.divide(shared, either, out=np.ones_like(shared), where=usable)
        pairs = usable.sum((1, 2))
        found[start : start + step] = np.divide(
            distances.sum((1, 2)), pairs, out=np.full(len(part), math.nan), where=pairs > 0
        )
    return found


def genre_flags(items: pl.DataFrame | None) -> csr_array | None:
    """Returns (I, G) 1 where an item is of a genre; None where no genre is known.

    Args:
        items: A row an item in index order, with a column `genres` of lists; None where nothing is known.
    """
    matrix, names = (None, []) if items is None else genre_matrix(items)
    return matrix if names else None


def _times_listed(lists: IntArray, num_items: int) -> npt.NDArray[np.int64]:
    """Returns in how many lists each item stands (I,)."""
    return np.bincount(lists[lists >= 0], minlength=num_items)


def _mean(values: Values) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
