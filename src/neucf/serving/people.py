"""People: what `recommend` takes as people, told apart: user ids, histories of item ids, or a matrix of histories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scipy.sparse import csr_array, issparse

from neucf.errors import DataError


def in_a_row(people: Any, num_items: int) -> csr_array | list[Any]:
    """Returns a sparse matrix as a csr_array, all else as a list of ids or histories.

    Raises:
        DataError: If it is no row of people, or a table of numbers that would be taken for ids.
    """
    if issparse(people):
        return csr_array(people)
    # By its type: polars would work out a lazy frame's columns
    if hasattr(type(people), "columns"):
        raise DataError(f"`people` must be user ids or histories; got {type(people).__name__}. Pass its column of ids.")
    shape: tuple[int, ...] = getattr(people, "shape", (0,))
    if isinstance(people, str) or not isinstance(people, Iterable) or not shape:
        raise DataError(f"`people` must be a list of user ids or of histories; got {people!r}. Write [{people!r}].")
    if len(shape) == 2 and shape[1] == num_items:
        raise DataError(
            f"`people` must hold ids, or be a sparse matrix; got a dense one of shape {tuple(shape)}. "
            "Write scipy.sparse.csr_array(people)."
        )
    return list(people)


def are_histories(people: list[Any]) -> bool:
    """Returns whether people in a row are histories, as the first of them is."""
    return bool(people) and isinstance(people[0], Iterable) and not isinstance(people[0], str)
