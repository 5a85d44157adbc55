"""Encoding: a column of ids as indices and the distinct ids, without a Python object a row."""

from __future__ import annotations

import numpy as np
import polars as pl

from neucf.data.vocabulary import IntArray, Vocabulary
from neucf.kernels.compile import COMPILED
from neucf.kernels.grouping import first_seen

# Rows a join takes, and entries a table of ids may always have.
_BLOCK, _ROOM = 1 << 21, 1 << 20
_CANONICAL = r"^(?:0|-?[1-9][0-9]{0,18})$"


def encode(ids: pl.Series) -> tuple[IntArray, pl.Series]:
    """Returns the index (N,) int32 of each id in order of first appearance, and the distinct ids as texts."""
    if isinstance(ids.dtype, pl.Categorical | pl.Enum):
        # Their codes are integers that lie close together
        return encode(ids.to_physical())[0], ids.unique(maintain_order=True).cast(pl.String)
    if COMPILED and ids.dtype.is_integer() and len(ids) and _span(ids) <= max(len(ids), _ROOM):
        return _encode_dense(ids)
    # By hashes: no Python object per row, and no sort over texts; in blocks, as each step holds several columns.
    blocks = [ids[start : start + _BLOCK] for start in range(0, len(ids), _BLOCK)]
    distinct = pl.concat([block.unique(maintain_order=True) for block in blocks]).unique(maintain_order=True)
    own = pl.DataFrame({"id": distinct, "index": np.arange(len(distinct), dtype=np.int32)})
    indices = np.empty(len(ids), np.int32)
    for start, block in zip(range(0, len(ids), _BLOCK), blocks, strict=True):
        joined = pl.DataFrame({"id": block}).join(own, on="id", how="left", maintain_order="left")
        indices[start : start + _BLOCK] = joined["index"]
    return indices, distinct.cast(pl.String)


def _encode_dense(ids: pl.Series) -> tuple[IntArray, pl.Series]:
    """The same for integers that lie close together, by a table of all between the least and the largest."""
    index_of = np.full(_span(ids), -1, np.int32)
    indices = np.empty(len(ids), np.int32)
    row, num_seen = 0, 0
    # Chunk by chunk: the whole in one piece would be a copy.
    for chunk in ids.get_chunks():
        values = chunk.to_numpy()
        if not row:
            distinct = np.empty(min(len(index_of), len(ids)), values.dtype)
            low = values.dtype.type(ids.min())
        num_seen = first_seen(values, low, index_of, distinct, num_seen, indices[row : row + len(values)])
        row += len(values)
    return indices, pl.Series(ids.name, distinct[:num_seen]).cast(pl.String)


def _span(ids: pl.Series) -> int:
    least, largest = ids.min(), ids.max()
    assert isinstance(least, int)
    assert isinstance(largest, int)
    return largest - least + 1


def vocabulary(texts: pl.Series, kind: str) -> Vocabulary:
    """Builds a vocabulary: of integers where `as_integers` makes them, else of texts."""
    return Vocabulary(as_integers(texts), kind)


def as_integers(texts: pl.Series) -> pl.Series:
    """Returns integers of 64 bits if every text is its own canonical decimal, else the texts: nothing is lost."""
    if texts.has_nulls() or not texts.str.contains(_CANONICAL).all():
        return texts
    integers = texts.cast(pl.Int64, strict=False)
    return texts if integers.has_nulls() else integers
