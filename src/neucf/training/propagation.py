"""Propagation: embeddings averaged over the graph of users and items, the linear map of graph convolution."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.kernels.compile import spread
from neucf.kernels.graph import spread_rows
from neucf.training.als import row_blocks

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
# Blocks of rows that threads share.
_BLOCKS = 8


class Graph:
    """The training positives as edges between users and items, normalised by the roots of both degrees.

    Args:
        train: The training interactions; each counts as 1.
        layers: K.
        threads: Threads that share the rows; they change no bit.
    """

    def __init__(self, train: Interactions, layers: int, threads: int) -> None:
        matrix = train.csr()
        self.layers, self.threads = layers, threads
        self.sides = [_half(matrix), _half(csr_array(matrix.T))]
        # 1 / root of the degree, users (U,) and items (I,), 0 where there is no edge
        self.scales = [inverse_roots(np.diff(indptr)) for indptr, _ in self.sides]
        self._blocks = [row_blocks(np.diff(indptr) + 1, _BLOCKS) for indptr, _ in self.sides]

    def propagate(self, users: Floats, items: Floats, layers: int | None = None) -> tuple[Floats, Floats]:
        """Returns the mean over layers 0..K of the embeddings, (U, D) and (I, D).

            p_u^(k+1) = sum_i q_i^(k) / sqrt(|N_u| |N_i|), and the same the other way (He et al. 2020, eq. 3, 4, 8)

        A symmetric linear map of the two tables together, so that gradients with respect to what it returns go back
        through it by the map itself.
        """
        count = self.layers if layers is None else layers
        means = [users.copy(), items.copy()]
        for _ in range(count):
            users, items = self._half_layer(0, items), self._half_layer(1, users)
            means[0] += users
            means[1] += items
        for mean in means:
            mean /= np.float32(count + 1)
        return means[0], means[1]

    def _half_layer(self, side: int, table: Floats) -> Floats:
        """Returns the next layer of users (side 0) or items (side 1), from the table of the other side."""
        indptr, indices = self.sides[side]
        out = np.empty((len(indptr) - 1, table.shape[1]), np.float32)

        def run(rows: slice) -> None:
            spread_rows(
                rows.start, rows.stop, indptr, indices, self.scales[side], self.scales[1 - side], table, out
            )  # fmt: skip

        spread(run, self._blocks[side], self.threads)
        return out


def inverse_roots(degrees: npt.NDArray[Any]) -> Floats:
    """Returns 1 / sqrt of degrees (R,), and 0 where they are."""
    roots = np.zeros(len(degrees), np.float32)
    np.divide(1, np.sqrt(degrees), out=roots, where=degrees > 0, casting="same_kind")
    return roots


def unit_rows(table: Floats, power: float = 0.0) -> Floats:
    """Returns rows (R, D) of length 1, as torch's `normalize` has them; or of their length to a power."""
    lengths: Floats = np.maximum(np.linalg.norm(table, axis=1, keepdims=True), np.float32(1e-12))
    rows = table / lengths
    return rows * lengths ** np.float32(power) if power else rows


def scoring_factors(users: Floats, items: Floats, cosine: bool, length_power: float) -> tuple[Floats, Floats]:
    """Returns what scores are products of, from propagated embeddings (U, D) and (I, D).

    These themselves; by cosines, users at length 1 and items at their length to `length_power`.
    """
    return (unit_rows(users), unit_rows(items, length_power)) if cosine else (users, items)


def _half(matrix: csr_array) -> tuple[Ints, npt.NDArray[np.int32]]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
