"""Linear: what models share whose scores are a linear map of what is known of each person, and how it is stored."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import IntArray
from neucf.errors import ArtifactError
from neucf.models.base import Arrays, Model

Scores = npt.NDArray[np.float32]
# Scores that stand in memory at once while a few of each row are picked.
_TILE_SCORES = 1 << 24


class Linear(Model):
    """Scores are a linear map of sparse rows (B, M), by default the histories (B, I).

    A training row and the same history of a stranger get the same scores. Interactions count by their weights, where
    there are any, else as ones.
    """

    uses_weights: ClassVar[bool] = True

    @abstractmethod
    def _map(self, rows: csr_array) -> Scores:
        """Returns the scores (B, I) of rows (B, M)."""

    def _rows(self, users: npt.NDArray[np.int64] | None, histories: csr_array | None) -> csr_array:
        """Returns the rows of known users (B,), or of histories (B, I)."""
        return self._train_csr[users] if histories is None else csr_array(histories, dtype=np.float32)

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Scores:
        """Returns scores, shapes as in Recommender."""
        return self._pick(self._rows(self._check_users(users), None), items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Scores:
        """Returns scores, shapes as in Recommender."""
        return self._pick(self._rows(None, self._check_histories(histories)), items)

    def _pick(self, rows: csr_array, items: npt.ArrayLike | None) -> Scores:
        if items is None:
            return self._map(rows)
        chosen = self._check_items(items, rows.shape[0])
        picked = np.empty((rows.shape[0], chosen.shape[-1]), np.float32)
        step = max(1, _TILE_SCORES // max(1, self.train.num_items))
        for first in range(0, len(picked), step):
            tile = slice(first, first + step)
            scores = self._map(rows[tile])
            picked[tile] = scores[:, chosen] if chosen.ndim == 1 else np.take_along_axis(scores, chosen[tile], 1)
        return picked

    def _know(self, train: Interactions) -> None:
        self._train, self._train_csr = train, train.csr()


class SparseProduct(Linear):
    """Scores are rows (B, M) times a sparse matrix (M, I), which `top_k` multiplies in threads."""

    _right: csr_array

    def sparse_factors(
        self, users: npt.NDArray[np.int64] | None, histories: csr_array | None
    ) -> tuple[csr_array, csr_array]:
        """Returns rows (B, M), of known users (B,) or of histories (B, I), and what they are multiplied by (M, I)."""
        return self._rows(users, histories), self._right

    def _map(self, rows: csr_array) -> Scores:
        scores: Scores = (rows @ self._right).toarray()
        return scores


class ItemItem(SparseProduct):
    """Scores are x W: a history x (B, I) times weights of items by items W (I, I)."""

    def affinities(self, liked: IntArray, items: IntArray | None = None) -> Scores:
        """Returns the weights (L, C) by which liked items (L,) add to the scores of items (C,), or of all."""
        weights: Scores = self._right[liked].toarray()
        return weights if items is None else weights[:, items]

    def arrays(self) -> Arrays:
        """Returns W by rows."""
        return packed("weights", self._right)

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes W back."""
        return self._keep(train, unpacked(self.name, "weights", arrays, (train.num_items, train.num_items)))

    def _keep(self, train: Interactions, weights: csr_array) -> Self:
        self._know(train)
        self._right = weights
        return self


def inverse(sums: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns 1 / sums as float32, and 0 where they are too small for it."""
    inverted = np.zeros(sums.shape, np.float32)
    np.divide(1, sums, out=inverted, where=sums >= np.finfo(np.float32).tiny)
    return inverted


def packed(name: str, matrix: csr_array) -> Arrays:
    """Returns a sparse matrix as plain arrays: the offsets of its rows, their columns and values."""
    return {
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.data": matrix.data.astype(np.float32),
    }


def unpacked(model: str, name: str, arrays: Mapping[str, npt.NDArray[Any]], shape: tuple[int, int]) -> csr_array:
    """Takes `packed` back; raises ArtifactError unless it is a sparse matrix of that shape."""
    none = np.zeros((0, 0))
    indptr, indices, data = (arrays.get(f"{name}.{part}", none) for part in ("indptr", "indices", "data"))
    whole = (
        [part.dtype.name for part in (indptr, indices, data)] == ["int64", "int32", "float32"]
        and indptr.shape == (shape[0] + 1,)
        and indices.ndim == 1
        and data.shape == indices.shape
        and indptr[0] == 0
        and indptr[-1] == len(indices)
        and bool((np.diff(indptr) >= 0).all())
        and (not len(indices) or (indices.min() >= 0 and indices.max() < shape[1]))
    )
    if not whole:
        raise ArtifactError(f"{model} needs `{name}`, the rows of a sparse matrix of shape {shape}; the run has none.")
    return csr_array((data, indices, indptr), shape=shape)
