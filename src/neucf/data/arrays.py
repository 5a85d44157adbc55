"""Arrays: what Python passes as columns or as a matrix, checked and converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

from neucf.data.vocabulary import FloatArray, IntArray
from neucf.errors import DataError


def entries(matrix: Any) -> tuple[IntArray, IntArray, FloatArray]:
    """Returns row, column and value (N,) of each place of a sparse or dense matrix that holds any, by rows."""
    if not (issparse(matrix) or isinstance(matrix, np.ndarray)) or matrix.ndim != 2:
        got = f"shape {matrix.shape}" if hasattr(matrix, "shape") else type(matrix).__name__
        raise DataError(f"`matrix` must be a SciPy sparse matrix (U, I); got {got}; write scipy.sparse.csr_array(...).")
    merged = csr_array(matrix)
    if not merged.has_canonical_format:
        merged = merged.copy()
        merged.sum_duplicates()
    coo = merged.tocoo()
    rows, columns = coo.coords
    return rows, columns, np.asarray(coo.data, np.float64)


def floats(name: str, values: npt.ArrayLike) -> FloatArray:
    """Returns values as float64; raises DataError at what is no number."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise DataError(f"`{name}` must hold numbers; got {values!r:.60}. Convert them.") from None
    return array


def checked_ratings(values: npt.ArrayLike) -> FloatArray:
    """Returns ratings as float64; raises DataError at one that is not finite."""
    array = floats("ratings", values)
    wrong = array[~np.isfinite(array)]
    if wrong.size:
        raise DataError(f"`ratings` must be finite; got {wrong[0]}. Leave such rows out.")
    return array


def integers(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Returns a 1-d array of integers that fit 64 bits; raises DataError at any other."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError(f"`{name}` must be a 1-d integer array; got rows of several lengths.") from None
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"`{name}` must be a 1-d integer array; got {array.dtype} of shape {array.shape}.")
    # Before they wrap around
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"`{name}` must hold integers of 64 bits; got {array.max()}.")
    return array


def is_weight(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Returns which values are above 0 and finite in 32 bits, as models read them."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return np.isfinite(single) & (single >= np.finfo(np.float32).tiny)


def checked_weights(values: npt.ArrayLike) -> FloatArray:
    """Returns weights as float64; raises DataError unless all are above 0 and finite."""
    array = floats("weights", values)
    if not is_weight(array).all():
        raise DataError(f"`weights` must be above 0 and finite, in 32 bits too; got {array[~is_weight(array)][0]}.")
    return array


def checked_indices(name: str, values: npt.ArrayLike) -> IntArray:
    """Returns indices as int32; raises DataError at one below 0 or beyond 31 bits."""
    array = integers(name, values)
    # Before they wrap around in 32 bits.
    check_range(name, array, 2**31 - 1)
    return array.astype(np.int32)


def check_range(name: str, indices: npt.NDArray[Any], size: int) -> None:
    """Raises DataError unless all indices lie in 0..size - 1."""
    if len(indices) and not (0 <= int(indices.min()) and int(indices.max()) < size):
        wrong = indices[(indices < 0) | (indices >= size)][0]
        raise DataError(f"`{name}` must hold indices in 0..{size - 1}; got {wrong}.")
