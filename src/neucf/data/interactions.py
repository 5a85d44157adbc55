"""Vocabulary: external ids and their indices. Interactions: who touched what, as columns and as a CSR view.

Shapes, here and everywhere: U users, I items, N interactions (N negatives in training), B batch,
D dimensions, K list length.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.errors import DataError, UnknownIdError
from neucf.kernels.compile import COMPILED
from neucf.kernels.grouping import grouped

Id: TypeAlias = int | str
IntArray: TypeAlias = npt.NDArray[np.int32] | npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class Vocabulary:
    """External ids in index order: integers or texts, never both. Immutable.

    Args:
        ids: The distinct ids; index 0 is the first. A series, an array or a sequence.
        kind: `user` or `item`; names the thing in errors.

    Raises:
        DataError: If an id is null, stands twice, or is neither an integer nor a text.
    """

    __slots__ = ("_hashes", "_index", "_series", "kind")

    def __init__(self, ids: pl.Series | npt.NDArray[Any] | Sequence[Id], kind: str) -> None:
        try:
            series = ids if isinstance(ids, pl.Series) else pl.Series(kind, list(ids) if not len(ids) else ids)
            if series.dtype.is_integer() or not len(series):
                series = series.cast(pl.Int64)
        except (TypeError, pl.exceptions.InvalidOperationError):
            raise DataError(
                f"`{kind}` ids must be all integers of 64 bits or all texts; got others among them. "
                "Convert the column to text first."
            ) from None
        if series.dtype not in (pl.Int64, pl.String):
            raise DataError(f"`{kind}` ids must be integers or texts; got {series.dtype}. Convert the column first.")
        if series.null_count():
            raise DataError(f"`{kind}` ids must not be null; got null at index {series.is_null().arg_max()}.")
        if series.n_unique() != len(series):
            twice = series.filter(series.is_duplicated())[0]
            raise DataError(f"`{kind}` ids must be distinct; got {twice!r} more than once.")
        self.kind = kind
        self._series = series.alias(f"{kind}_id")
        self._index: dict[Id, int] | None = None
        self._hashes: npt.NDArray[np.uint64] | None = None

    @property
    def series(self) -> pl.Series:
        """The ids in index order, Int64 or String."""
        return self._series

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """The 64-bit hash of each id, (N,), by which ties are ordered; worked out once."""
        if self._hashes is None:
            from neucf.kernels.ranking import hash_ids

            self._hashes = hash_ids(self._series)
        return self._hashes

    @property
    def is_text(self) -> bool:
        """Whether the ids are texts."""
        return self._series.dtype == pl.String

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, index: int) -> Id:
        found: Id = self._series[int(index)]
        return found

    def __iter__(self) -> Iterator[Id]:
        return iter(self._series.to_list())

    def __contains__(self, external: object) -> bool:
        return external in self._lookup()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self is other or (self._series.dtype == other._series.dtype and self._series.equals(other._series))

    def __hash__(self) -> int:
        return hash((self.is_text, len(self)))

    def __repr__(self) -> str:
        return f"Vocabulary({self.kind}, {len(self)} ids)"

    def index(self, external: Id) -> int:
        """Returns the index of one external id in O(1); raises UnknownIdError with the nearest ids."""
        index = self._lookup().get(external)
        if index is None:
            raise UnknownIdError(self.kind, external, self.nearest(external))
        return index

    def parse(self, text: str) -> Id:
        """Turns an id's text form, as typed on a command line, into the id; raises UnknownIdError."""
        external = self.as_id(text)
        self.index(external)
        return external

    def as_id(self, text: str) -> Id:
        """Returns what an id of this text form is here, known or not: an integer if all ids are and it can be one."""
        digits = text.removeprefix("-")
        # 64 bits have at most 19 digits; Python refuses to convert thousands of them.
        canonical = digits.isascii() and digits.isdigit() and len(digits) < 20 and str(int(text)) == text
        return int(text) if canonical and not self.is_text else text

    def lookup(self, text: str) -> int | None:
        """Returns the index of an id by its text form in O(1), or None; unlike `parse`, it looks for no near ones."""
        return self._lookup().get(self.as_id(text))

    def find(self, externals: pl.Series | npt.NDArray[Any] | Sequence[Id]) -> IntArray:
        """Returns the indices (N,) int32 of many ids at once, -1 where an id is unknown."""
        if not isinstance(externals, pl.Series | np.ndarray):
            lookup = self._lookup()
            return np.array([lookup.get(external, -1) for external in externals], np.int32)
        wanted = externals if isinstance(externals, pl.Series) else pl.Series(externals, strict=False)
        if wanted.dtype.is_integer() and not self.is_text:
            # Beyond 64 bits turns null, and null is nobody's id.
            wanted = wanted.cast(pl.Int64, strict=False)
        if wanted.dtype != self._series.dtype:
            return np.full(len(wanted), -1, np.int32)
        own = pl.DataFrame({"id": self._series, "index": np.arange(len(self), dtype=np.int32)})
        found = pl.DataFrame({"id": wanted}).join(own, on="id", how="left", maintain_order="left")
        return found["index"].fill_null(-1).to_numpy()

    def indices(self, externals: pl.Series | npt.NDArray[Any] | Sequence[Id]) -> IntArray:
        """Returns the indices (N,) int32 of many ids at once; raises UnknownIdError at the first unknown."""
        found = self.find(externals)
        if (found < 0).any():
            unknown = externals[int(np.argmax(found < 0))]
            if isinstance(unknown, np.generic):
                unknown = unknown.item()
            raise UnknownIdError(self.kind, unknown, self.nearest(unknown))
        return found

    def nearest(self, external: Id, count: int = 3) -> list[Id]:
        """Returns the `count` existing ids nearest to an unknown one: by value, or by spelling for texts."""
        if not self.is_text:
            try:
                value = int(external)
            except ValueError:
                return self._series.head(count).to_list()
            # Python integers: the distance may overflow 64 bits.
            return sorted(self._series.to_list(), key=lambda known: (abs(known - value), known))[:count]
        texts = self._series.to_list()
        return list(difflib.get_close_matches(str(external), texts, n=count, cutoff=0.3)) or texts[:count]

    def _lookup(self) -> dict[Id, int]:
        if self._index is None:
            self._index = {external: index for index, external in enumerate(self._series.to_list())}
        return self._index


@dataclass(frozen=True, slots=True)
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
        _check_range("users", self.users, self.num_users)
        _check_range("items", self.items, self.num_items)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_users(self) -> int:
        """U, the users of the vocabulary."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """I, the items of the catalogue."""
        return len(self.item_ids)

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
            ratings: (N,) or None.
            weights: (N,) or None.
            timestamps: (N,) integers or None.
            user_ids: External ids in index order; by default 0..max.
            item_ids: External ids in index order; by default 0..max.

        Raises:
            DataError: If lengths differ or an index lies outside its vocabulary.
        """
        user_array, item_array = _indices("users", users), _indices("items", items)
        return cls(
            users=user_array,
            items=item_array,
            ratings=None if ratings is None else np.asarray(ratings, np.float64),
            weights=None if weights is None else np.asarray(weights, np.float64),
            timestamps=None if timestamps is None else np.asarray(timestamps, np.int64),
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
        """Builds interactions from a SciPy sparse matrix (U, I); stored values become weights unless all are 1."""
        coo = csr_array(matrix).tocoo()
        rows, columns = coo.coords
        values = np.asarray(coo.data, np.float64)
        return cls.from_arrays(
            rows,
            columns,
            weights=None if (values == 1).all() else values,
            user_ids=range(coo.shape[0]) if user_ids is None else user_ids,
            item_ids=range(coo.shape[1]) if item_ids is None else item_ids,
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
            np.cumsum(np.bincount(self.users, minlength=self.num_users), out=indptr[1:])
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


def _indices(name: str, values: npt.ArrayLike) -> IntArray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"`{name}` must be a 1-d integer array; got {array.dtype} of shape {array.shape}.")
    # Before they wrap around in 32 bits.
    _check_range(name, array, 2**31 - 1)
    return array.astype(np.int32)


def _vocabulary(ids: Vocabulary | Iterable[Id] | None, indices: IntArray, kind: str) -> Vocabulary:
    if isinstance(ids, Vocabulary):
        return ids
    if ids is None:
        ids = range(int(indices.max()) + 1 if len(indices) else 0)
    return Vocabulary(ids if isinstance(ids, pl.Series | np.ndarray) else list(ids), kind)


def _check_range(name: str, indices: npt.NDArray[Any], size: int) -> None:
    if len(indices) and not (0 <= int(indices.min()) and int(indices.max()) < size):
        wrong = indices[(indices < 0) | (indices >= size)][0]
        raise DataError(f"`{name}` must hold indices in 0..{size - 1}; got {wrong}.")
