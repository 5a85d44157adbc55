"""Who is ranked, and what is hidden from whom: the arguments of top_k, checked and laid out for the kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.vocabulary import IntArray
from neucf.errors import DataError
from neucf.kernels.hashing import Hashes
from neucf.recommender import Recommender


def people_hashes(
    recommender: Recommender, users: IntArray | None, histories: csr_array | None, items: Hashes
) -> Hashes:
    """Returns what tells the people apart, (B,), whatever their order."""
    if histories is not None:
        num_people = histories.shape[0] if users is None else len(users)
        check_shape("histories", histories, (num_people, len(items)))
    if users is not None:
        named: Hashes = recommender.user_ids.hashes[users]
        return named
    if histories is None:
        raise DataError("`users` must be given where `histories` is not; got None for both.")
    # Without an id, a person is known by the history alone: the sum of its items' hashes, in any order.
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(items[histories.indices])])
    hashes: Hashes = sums[histories.indptr[1:]] - sums[histories.indptr[:-1]]
    return hashes


def hidden_spans(
    recommender: Recommender,
    users: IntArray | None,
    histories: csr_array | None,
    mask: csr_array | None,
    num_people: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Returns where each person's hidden items start (B,) and stop (B,), and the items, ascending within each."""
    if mask is None:
        nothing = np.zeros(num_people, np.int64)
        return nothing, nothing, np.zeros(0, np.int32)
    rows: IntArray = np.arange(num_people)
    num_rows = num_people
    if users is not None and histories is None:
        rows, num_rows = users, len(recommender.user_ids)
    check_shape("mask", mask, (num_rows, len(recommender.item_ids)))
    if not mask.has_sorted_indices:
        mask = mask.sorted_indices()
    starts, stops = mask.indptr[rows].astype(np.int64), mask.indptr[rows + 1].astype(np.int64)
    return starts, stops, np.require(mask.indices, np.int32, ["C", "W"])


def checked_users(users: npt.ArrayLike, num_users: int) -> npt.NDArray[np.int64]:
    """Returns user indices (B,) as int64; raises DataError at what are none."""
    array = np.asarray(users)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"`users` must be a 1-d integer array; got {array.dtype} of shape {array.shape}.")
    if array.size and not (0 <= array.min() and array.max() < num_users):
        wrong = array[(array < 0) | (array >= num_users)][0]
        raise DataError(f"`users` must hold indices in 0..{num_users - 1}; got {wrong}.")
    return array.astype(np.int64)


def check_shape(name: str, matrix: csr_array, shape: tuple[int, int]) -> None:
    """Raises DataError unless a matrix has the shape."""
    if matrix.shape != shape:
        raise DataError(f"`{name}` must have shape {shape}; got {matrix.shape}.")
