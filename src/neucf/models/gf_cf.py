"""gf-cf: two low-pass filters of the graph of users and items, one linear and one ideal, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import csr_array, diags_array

from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError
from neucf.models.base import Arrays
from neucf.models.config import Config, Tunable
from neucf.models.linear import Linear, Scores, inverse
from neucf.recommender import Monitor

# Share of the largest singular value below which one is not told from 0: the search goes by their squares, in float32.
_NEGLIGIBLE = np.sqrt(np.finfo(np.float32).eps)
# Rows, or columns if fewer, up to which all singular vectors are found.
_EXACT = 1024


class GFCFConfig(Config):
    """Settings of gf-cf."""

    dim: Annotated[int, Tunable(16, 1024, log=True)] = Field(
        128, ge=1, le=4096, description="Singular vectors D that the ideal filter lets pass."
    )
    alpha: Annotated[float, Tunable(0.0, 1.0)] = Field(
        0.1, ge=0, description="Weight of the ideal filter beside the linear one."
    )


class GFCF(Linear):
    """Low-pass filters of the graph of users and items, without training (Shen et al. 2021, section 4).

    The scores of a history x are x (R^T R + alpha D_I^-1/2 V V^T D_I^1/2). R = D_U^-1/2 X D_I^-1/2 is the training
    matrix divided by the roots of its row and column sums, and V (I, D) its right singular vectors of largest value.
    """

    name: ClassVar[str] = "gf-cf"
    config_class: ClassVar[type[GFCFConfig]] = GFCFConfig
    config: GFCFConfig

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        monitor: Monitor | None = None,
    ) -> Self:
        """Finds the singular vectors; `seed` draws where the search starts, and the rest changes nothing."""
        del valid, device, threads, monitor
        self._prepare(train)
        values, rows = leading(self._filter, self.config.dim, seed)
        # Beyond the rank any vectors would do: what is found there is chance
        return self._take(rows[values > _NEGLIGIBLE * values.max(initial=0)].T)

    def arrays(self) -> Arrays:
        """Returns the singular vectors V (I, D)."""
        return {"vectors": self._vectors}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the singular vectors back."""
        vectors = arrays.get("vectors")
        if (
            vectors is None
            or vectors.dtype != np.float32
            or vectors.ndim != 2
            or len(vectors) != train.num_items
            or vectors.shape[1] > self.config.dim
        ):
            raise ArtifactError(
                f"gf-cf needs `vectors`, float32 of shape ({train.num_items}, D), D at most {self.config.dim}; "
                "the run holds none such."
            )
        self._prepare(train)
        return self._take(vectors)

    def _prepare(self, train: Interactions) -> None:
        self._know(train)
        self._roots = np.sqrt(self._train_csr.sum(0)).astype(np.float32)
        users, items = inverse(np.sqrt(self._train_csr.sum(1))), inverse(self._roots)
        # R (U, I)
        self._filter = csr_array(diags_array(users) @ self._train_csr @ diags_array(items))
        self._transposed = csr_array(self._filter.T)

    def _take(self, vectors: npt.NDArray[np.float32]) -> Self:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        # (I, D) each: into the vectors, and, weighted by alpha, out of them.
        self._into = self._vectors * inverse(self._roots)[:, None]
        self._out_of = self._vectors * (np.float32(self.config.alpha) * self._roots)[:, None]
        return self

    def _map(self, rows: csr_array) -> Scores:
        scores: Scores = (rows @ self._transposed @ self._filter).toarray()
        torch.from_numpy(scores).addmm_(torch.from_numpy(rows @ self._into), torch.from_numpy(self._out_of).T)
        return scores


def leading(matrix: csr_array, dim: int, seed: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns the D largest singular values of a matrix (U, I), all but one at most, and their right vectors (D, I)."""
    smaller = min(matrix.shape)
    dim = min(dim, smaller - 1)
    if dim < 1 or not matrix.data.any():
        return np.zeros(0), np.zeros((0, matrix.shape[1]))
    if smaller > _EXACT:
        # Half a second that no other command should wait for
        from scipy.sparse.linalg import svds

        start = np.random.default_rng(seed).standard_normal(smaller).astype(np.float32)
        _, values, rows = svds(matrix, k=dim, v0=start, return_singular_vectors="vh")
        return values, rows
    # Where a matrix has far less rank than it has rows, a search starts anew somewhere that no seed decides
    wide = matrix.astype(np.float64)
    by_users = matrix.shape[0] <= matrix.shape[1]
    squares, vectors = np.linalg.eigh((wide @ wide.T if by_users else wide.T @ wide).toarray())
    values, vectors = np.sqrt(np.maximum(squares[-dim:], 0)), vectors[:, -dim:].T
    return values, (vectors @ wide) / np.maximum(values, 1e-30)[:, None] if by_users else vectors
