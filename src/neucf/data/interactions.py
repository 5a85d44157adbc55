"""Interactions: who touched what, as columns and as a CSR view.

Shapes, here and everywhere: U users, I items, N interactions (N negatives in training), B batch,
D dimensions, K list length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.data.arrays import check_range, checked_indices, checked_ratings, checked_weights, entries, integers
from neucf.data.vocabulary import FloatArray, Id, IntArray, Vocabulary
from neucf.errors import DataError
from neucf.kernels.compile import COMPILED
from neucf.kernels.grouping import grouped


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Interactions of users with items, in file order, in internal indices.

    Attributes:
        users: (N,) int32 user index.
        items: (N,) int32 item index.
        ratings: (N,) float64 or None.
        weights: (N,) confidence or None.
        timestamps: (N,) int64 or None.
        user_ids: The users' vocabulary, U ids.
        item_ids: The catalogue, I ids; may hold items nobody touched.
    """

    users: IntArray
    items: IntArray
    ratings: FloatArray | None
    weights: FloatArray | None
    timestamps: IntArray | None
    user_ids: Vocabulary
    item_ids: Vocabulary

    def __post_init__(self) -> None:
        for name in ("users", "items", "ratings", "weights", "timestamps"):
            column = getattr(self, name)
            if column is not None and column.shape != self.users.shape:
                raise DataError(f"`{name}` must have the shape of `users`, {self.users.shape}; got {column.shape}.")
        check_range("users", self.users, self.num_users)
        check_range("items", self.items, self.num_items)

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} rows, {self.num_users:,} users, {self.num_items:,} items)"

    @property
    def num_users(self) -> int:
        """U, the users of the vocabulary."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """I, the items of the catalogue."""
        return len(self.item_ids)

    @property
    def density(self) -> float:
        """The share of all U x I pairs that interacted; 0 where there are none."""
        return len(self) / max(self.num_users * self.num_items, 1)

    def user_counts(self) -> npt.NDArray[np.int64]:
        """Returns how many rows each user has (U,)."""
        return np.bincount(self.users, minlength=self.num_users)

    def item_counts(self) -> npt.NDArray[np.int64]:
        """Returns how many rows each item has (I,)."""
        return np.bincount(self.items, minlength=self.num_items)

    @classmethod
    def from_arrays(
        cls,
        users: npt.ArrayLike,
        items: npt.ArrayLike,
        *,
        ratings: npt.ArrayLike | None = None,
        weights: npt.ArrayLike | None = None,
        timestamps: npt.ArrayLike | None = None,
        user_ids: Vocabulary | Iterable[Id] | None = None,
        item_ids: Vocabulary | Iterable[Id] | None = None,
    ) -> Interactions:
        """Builds interactions from internal indices.

        Args:
            users: (N,) user indices.
            items: (N,) item indices.
            ratings: (N,) finite, or None.
            weights: (N,) above 0, or None.
            timestamps: (N,) integers or None.
            user_ids: External ids in index order; by default 0..max.
            item_ids: External ids in index order; by default 0..max.

        Raises:
            DataError: If lengths differ, an index lies outside its vocabulary, or a value breaks a rule.
        """
        user_array, item_array = checked_indices("users", users), checked_indices("items", items)
        return cls(
            users=user_array,
            items=item_array,
            ratings=None if ratings is None else checked_ratings(ratings),
            weights=None if weights is None else checked_weights(weights),
            timestamps=None if timestamps is None else integers("timestamps", timestamps).astype(np.int64),
            user_ids=_vocabulary(user_ids, user_array, "user"),
            item_ids=_vocabulary(item_ids, item_array, "item"),
        )

    @classmethod
    def from_csr(
        cls,
        matrix: Any,
        *,
        user_ids: Vocabulary | Iterable[Id] | None = None,
        item_ids: Vocabulary | Iterable[Id] | None = None,
    ) -> Interactions:
        """Builds interactions from a SciPy sparse matrix (U, I).

        Stored values become weights unless all are 1; those stored at the same place are added first, as in SciPy.
        """
        users, items, values = entries(matrix)
        return cls.from_arrays(
            users,
            items,
            weights=None if (values == 1).all() else values,
            user_ids=range(matrix.shape[0]) if user_ids is None else user_ids,
            item_ids=range(matrix.shape[1]) if item_ids is None else item_ids,
        )

    def csr(self) -> csr_array:
        """Returns the (U, I) float32 matrix, weights or ones; int64 offsets, int32 sorted columns."""
        if COMPILED:
            weights = np.empty(0) if self.weights is None else self.weights
            indptr, columns, data = grouped(self.users, self.items, weights, self.num_users, self.num_items)
        else:
            order = np.lexsort((self.items, self.users))
            # (U+1,) offsets
            indptr = np.zeros(self.num_users + 1, np.int64)
            np.cumsum(self.user_counts(), out=indptr[1:])
            columns = self.items[order].astype(np.int32)
            data = np.ones(len(self), np.float32) if self.weights is None else self.weights[order].astype(np.float32)
        matrix = csr_array((self.num_users, self.num_items), dtype=np.float32)
        # Assigned one by one: the constructor would shrink the offsets to int32.
        matrix.data, matrix.indices, matrix.indptr = data, columns, indptr
        matrix.has_sorted_indices = True
        return matrix

    def take(self, rows: npt.NDArray[Any]) -> Interactions:
        """Returns the interactions at `rows` (indices or a boolean mask), with the same vocabularies."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            ratings=None if self.ratings is None else self.ratings[rows],
            weights=None if self.weights is None else self.weights[rows],
            timestamps=None if self.timestamps is None else self.timestamps[rows],
        )

    def sha256(self) -> str:
        """Returns the SHA-256 over the canonical columns: both vocabularies, then each column present."""
        digest = hashlib.sha256()
        for vocabulary in (self.user_ids, self.item_ids):
            # Lengths keep what stands at the end of one column from being read as the start of the next.
            digest.update(f"{len(vocabulary)}\n".encode())
            for external in vocabulary:
                digest.update(f"{external!r}\n".encode())
        for name in ("users", "items", "ratings", "weights", "timestamps"):
            column = getattr(self, name)
            if column is not None:
                kind = "<i8" if name in ("users", "items", "timestamps") else "<f8"
                digest.update(f"{name} {len(column)}\n".encode() + np.ascontiguousarray(column, kind).tobytes())
        return digest.hexdigest()


def concatenate(first: Interactions, second: Interactions) -> Interactions:
    """Returns the rows of both, which share vocabularies; a column only one of them has is dropped."""

    def join(name: str) -> Any:
        left, right = getattr(first, name), getattr(second, name)
        return None if left is None or right is None else np.concatenate([left, right])

    return Interactions(
        users=join("users"),
        items=join("items"),
        ratings=join("ratings"),
        weights=join("weights"),
        timestamps=join("timestamps"),
        user_ids=first.user_ids,
        item_ids=first.item_ids,
    )


def _vocabulary(ids: Vocabulary | Iterable[Id] | None, indices: IntArray, kind: str) -> Vocabulary:
    if isinstance(ids, Vocabulary):
        return ids
    if ids is None:
        ids = range(int(indices.max()) + 1 if len(indices) else 0)
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise DataError(f"`{kind}_ids` must hold the ids in index order; got {ids!r}. Leave it out for 0..max.")
    return Vocabulary(ids if isinstance(ids, pl.Series | np.ndarray) else list(ids), kind)
