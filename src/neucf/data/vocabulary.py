"""Vocabulary: external ids and their indices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import polars as pl
from rapidfuzz import fuzz, process

from neucf.errors import DataError, NeucfError, UnknownIdError

Id: TypeAlias = int | str
IntArray: TypeAlias = npt.NDArray[np.int32] | npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def is_id(value: object) -> TypeGuard[Id]:
    """Returns whether a value can be an id: to a dictionary True and 1.0 are the same as 1, and no id is either."""
    return isinstance(value, int | str | np.integer) and not isinstance(value, bool)


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
            from neucf.kernels.hashing import hash_ids

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
        return is_id(external) and external in self._lookup()

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
        if external not in self:
            raise self._unknown(external)
        return self._lookup()[external]

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

    def find(self, externals: pl.Series | npt.NDArray[Any] | Iterable[Id]) -> IntArray:
        """Returns the indices (N,) int32 of many ids at once, -1 where an id is unknown."""
        if not isinstance(externals, pl.Series | np.ndarray) or externals.dtype == object:
            lookup = self._lookup()
            return np.array([lookup.get(each, -1) if is_id(each) else -1 for each in externals], np.int32)
        wanted = externals if isinstance(externals, pl.Series) else pl.Series(externals, strict=False)
        if wanted.dtype.is_integer() and not self.is_text:
            # Beyond 64 bits turns null, and null is nobody's id.
            wanted = wanted.cast(pl.Int64, strict=False)
        if wanted.dtype != self._series.dtype:
            return np.full(len(wanted), -1, np.int32)
        return indices_of(wanted, self._series)

    def indices(self, externals: pl.Series | npt.NDArray[Any] | Iterable[Id]) -> IntArray:
        """Returns the indices (N,) int32 of many ids at once.

        Raises:
            UnknownIdError: At the first unknown.
            DataError: At the first that is neither an integer nor a text, or where no ids are given in a row.
        """
        if isinstance(externals, str) or not isinstance(externals, Iterable) or getattr(externals, "ndim", 1) != 1:
            raise DataError(f"`{self.kind}` ids must be given in one row, such as a list; got {externals!r}.")
        if not isinstance(externals, pl.Series | np.ndarray):
            externals = list(externals)
        found = self.find(externals)
        if (found < 0).any():
            raise self._unknown(externals[int(np.argmax(found < 0))])
        return found

    def _unknown(self, external: Any) -> NeucfError:
        """Returns the error for what is none of these ids."""
        plain = external.item() if isinstance(external, np.generic) else external
        if not is_id(plain):
            got = f"{plain!r}, a {type(plain).__name__}"
            return DataError(f"`{self.kind}` ids must be integers or texts; got {got}. Convert it.")
        return UnknownIdError(self.kind, plain, self.nearest(plain))

    def nearest(self, external: Id, count: int = 3) -> list[Id]:
        """Returns the `count` existing ids nearest to an unknown one: by value, or by spelling for texts."""
        if not self.is_text:
            try:
                value = int(external)
            except (TypeError, ValueError, OverflowError):
                return self._series.head(count).to_list()
            # Python integers: the distance may overflow 64 bits.
            return sorted(self._series.to_list(), key=lambda known: (abs(known - value), known))[:count]
        texts = self._series.to_list()
        found = process.extract(str(external), texts, scorer=fuzz.ratio, limit=count, score_cutoff=30)
        return [text for text, *_ in found] or texts[:count]

    def _lookup(self) -> dict[Id, int]:
        if self._index is None:
            self._index = {external: index for index, external in enumerate(self._series.to_list())}
        return self._index


def indices_of(ids: pl.Series, known: pl.Series) -> IntArray:
    """Returns the index (N,) int32 of each id among the distinct `known` ones of its type, -1 where it is none."""
    own = pl.DataFrame({"id": known, "index": np.arange(len(known), dtype=np.int32)})
    found = pl.DataFrame({"id": ids}).join(own, on="id", how="left", maintain_order="left")
    return found["index"].fill_null(-1).to_numpy()
