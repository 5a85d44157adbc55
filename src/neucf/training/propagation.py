"""Propagation: embeddings averaged over the graph of users and items, the linear map of graph convolution."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

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
        threads: Threads that share the rows on the CPU; they change no bit.
        device: Where the tables lie. Compiled code goes through the CPU's, torch's sparse product through others.
    """

    def __init__(self, train: Interactions, layers: int, threads: int, device: torch.device) -> None:
        matrix = train.csr()
        self.layers, self.threads = layers, threads
        self.sides = [_half(matrix), _half(csr_array(matrix.T))]
        # 1 / root of the degree, users (U,) and items (I,), 0 where there is no edge
        self.scales = [inverse_roots(np.diff(indptr)) for indptr, _ in self.sides]
        self._blocks = [row_blocks(np.diff(indptr) + 1, _BLOCKS) for indptr, _ in self.sides]
        self._matrices = None
        if device.type != "cpu":
            # (U, I) and (I, U)
            self._matrices = [
                sparse_half(*self.sides[side], self.scales[side], self.scales[1 - side]).to(device) for side in (0, 1)
            ]

    def propagate(self, users: Tensor, items: Tensor, layers: int | None = None) -> tuple[Tensor, Tensor]:
        """Returns the mean over layers 0..K of the embeddings, (U, D) and (I, D).

            p_u^(k+1) = sum_i q_i^(k) / sqrt(|N_u| |N_i|), and the same the other way (He et al. 2020, eq. 3, 4, 8)

        A symmetric linear map of the two tables together, so that gradients with respect to what it returns go back
        through it by the map itself.
        """
        count = self.layers if layers is None else layers
        tables = [_array(users), _array(items)]
        sums = tables
        for _ in range(count):
            tables = [self._half_layer(0, tables[1]), self._half_layer(1, tables[0])]
            sums = [total + layer for total, layer in zip(sums, tables, strict=True)]
        mean_users, mean_items = (torch.as_tensor(total / (count + 1)) for total in sums)
        return mean_users, mean_items

    def _half_layer(self, side: int, table: Any) -> Any:
        """Returns the next layer of users (side 0) or items (side 1), from the table of the other side."""
        if self._matrices is not None:
            return self._matrices[side] @ table
        indptr, indices = self.sides[side]
        out = np.empty((len(indptr) - 1, table.shape[1]), np.float32)

        def run(rows: slice) -> None:
            spread_rows(
                rows.start, rows.stop, indptr, indices, self.scales[side], self.scales[1 - side], table, out
            )  # fmt: skip

        spread(run, self._blocks[side], self.threads)
        return out


def sparse_half(indptr: Ints, indices: npt.NDArray[np.int32], left: Floats, right: Floats) -> Tensor:
    """Returns the sparse matrix (R, C) that a half layer multiplies by: left (R,) times right (C,) where edges are."""
    values = np.repeat(left, np.diff(indptr)) * right[indices]
    starts, columns = torch.from_numpy(indptr), torch.from_numpy(indices.astype(np.int64))
    with warnings.catch_warnings():
        # Torch calls all CSR a beta
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(
            starts, columns, torch.from_numpy(values), (len(left), len(right)), check_invariants=False
        )


def inverse_roots(degrees: npt.NDArray[Any]) -> Floats:
    """Returns 1 / sqrt of degrees (R,), and 0 where they are."""
    roots = np.zeros(len(degrees), np.float32)
    np.divide(1, np.sqrt(degrees), out=roots, where=degrees > 0, casting="same_kind")
    return roots


def unit_rows(table: Tensor, power: float = 0.0) -> Tensor:
    """Returns rows (R, D) of length 1, as torch's `normalize` has them; or of their length to a power."""
    rows = _array(table)
    norm = np.linalg.norm if isinstance(rows, np.ndarray) else torch.linalg.norm
    lengths = norm(rows, None, 1, True).clip(1e-12)
    rows = rows / lengths
    return torch.as_tensor(rows * lengths**power if power else rows)


def scoring_factors(users: Tensor, items: Tensor, cosine: bool, length_power: float) -> tuple[Tensor, Tensor]:
    """Returns what scores are products of, from propagated embeddings (U, D) and (I, D).

    These themselves; by cosines, users at length 1 and items at their length to `length_power`.
    """
    return (unit_rows(users), unit_rows(items, length_power)) if cosine else (users, items)


def _array(table: Tensor) -> Any:
    """Returns the CPU's tables as numpy's, others as they are.

    Torch's threads would spin beside those that share half layers, and what was measured on the CPU numpy rounded.
    """
    return table.numpy() if table.device.type == "cpu" else table


def _half(matrix: csr_array) -> tuple[Ints, npt.NDArray[np.int32]]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
