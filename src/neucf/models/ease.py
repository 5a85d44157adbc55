"""ease: the linear model of items by items that has a closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import IntArray
from neucf.errors import ArtifactError, TrainingError
from neucf.kernels.compile import num_threads, slices, spread, torch_threads
from neucf.models.base import Arrays
from neucf.models.config import Config, Tunable
from neucf.models.linear import Linear, Scores
from neucf.models.memory import check_memory
from neucf.recommender import Monitor

# Rows and columns that the inversion eliminates at once: enough for the processor to be busy, not waiting for memory.
_BLOCK = 512
# Rows of the Gram matrix a thread holds as a sparse matrix on their way.
_GRAM_ROWS = 32
# Bytes that a matrix product packs its factors into, a thread.
_PACKED = 8 << 20


class EASEConfig(Config):
    """Settings of ease."""

    reg: Annotated[float, Tunable(1.0, 3000.0, log=True)] = Field(
        100.0, gt=0, description="L2 strength lambda on the weights."
    )


class EASE(Linear):
    """Linear regression of each item on all others, in closed form (Steck 2019).

    Minimises |X - X B|^2 + lambda |B|^2 with diag(B) = 0 (equations 2 to 4): B_ij = -P_ij / P_jj off the diagonal, with
    P = (X^T X + lambda I)^-1 (equation 8). Items that nobody chose have no weights, so only the J others take part.
    """

    name: ClassVar[str] = "ease"
    config_class: ClassVar[type[EASEConfig]] = EASEConfig
    config: EASEConfig

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
        """Inverts the Gram matrix in place. `valid`, `seed`, `device` and `monitor` change nothing.

        Raises:
            TrainingError: If the matrix does not fit in memory; says what it would take.
        """
        del valid, seed, device, monitor
        items = np.unique(train.items)
        # The matrix, and beside it the panels of one elimination, what threads multiply by, and the interactions.
        check_memory(
            4 * len(items) * (len(items) + 4 * _BLOCK) + num_threads(threads) * _PACKED + 36 * len(train),
            f"ease over {len(items):,} items",
            "Keep fewer items (--k-core), or take slim or item-knn, which need only what the interactions take.",
        )
        rows = train.csr()[:, items]
        gram = _gram(rows, threads)
        diagonal = np.einsum("jj->j", gram)
        largest = diagonal.max(initial=0)
        diagonal += np.float32(self.config.reg)
        try:
            negated_inverse(gram, threads)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            raise TrainingError(
                f"`reg` of ease must count beside the weights, of which the squares of one item add up to"
                f" {largest:.3g}; got {self.config.reg:g}. Raise it, or give smaller weights."
            ) from None
        # B = -P / diag(P) by columns, and `gram` holds -P.
        gram /= -diagonal
        diagonal[:] = 0
        return self._keep(train, items.astype(np.int32), gram)

    def affinities(self, liked: IntArray, items: IntArray | None = None) -> Scores:
        """Returns the weights (L, C) by which liked items (L,) add to the scores of items (C,), or of all."""
        size = self.train.num_items
        units = csr_array((np.ones(len(liked), np.float32), (np.arange(len(liked)), liked)), shape=(len(liked), size))
        return self._pick(units, items)

    def arrays(self) -> Arrays:
        """Returns the items that take part (J,) and their weights B (J, J)."""
        return {"items": self._items, "weights": self._weights}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes them back."""
        items, weights = np.unique(train.items).astype(np.int32), arrays.get("weights")
        if not np.array_equal(arrays.get("items", ()), items) or weights is None:
            raise ArtifactError(f"ease needs `items`, the {len(items)} items of its train rows; the run holds others.")
        if weights.shape != (len(items), len(items)) or weights.dtype != np.float32:
            raise ArtifactError(
                f"ease needs `weights`, float32 of shape ({len(items)}, {len(items)}); the run holds none such."
            )
        return self._keep(train, items, weights)

    def _keep(self, train: Interactions, items: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]) -> Self:
        self._know(train)
        self._items, self._weights = items, weights
        return self

    def _map(self, rows: csr_array) -> Scores:
        # 0 for an item nobody chose
        scores = np.zeros(rows.shape, np.float32)
        scores[:, self._items] = rows[:, self._items] @ self._weights
        return scores


def _gram(rows: csr_array, threads: int | None) -> npt.NDArray[np.float32]:
    """Returns X^T X (J, J) of X (U, J)."""
    columns = csr_array(rows.T)
    gram = np.empty((rows.shape[1], rows.shape[1]), np.float32)

    def fill(block: slice) -> None:
        (columns[block] @ rows).toarray(out=gram[block])

    spread(fill, slices(0, len(gram), _GRAM_ROWS), num_threads(threads))
    return gram


def negated_inverse(matrix: npt.NDArray[np.float32], threads: int | None) -> None:
    """Replaces a symmetric positive definite matrix (J, J) by minus its inverse, in place.

    The sweep (Beaton 1964; Goodnight 1979) by blocks: LAPACK inverts a block K of the diagonal, and matrix products
    take it out of the rest,
        A_KK <- -D with D = A_KK^-1,  A_IK <- A_IK D,  A_IJ <- A_IJ - A_IK D A_KJ.
    It costs what potrf and potri do and is as accurate, but the products are as large as the matrix, and a thread
    multiplies whole blocks alone: bits don't depend on the thread count, and no thread waits for one held up.
    """
    whole = torch.from_numpy(matrix)
    blocks = list(slices(0, len(whole), _BLOCK))
    with torch_threads(1):
        for pivot in blocks:
            inverse = torch.cholesky_inverse(torch.linalg.cholesky(whole[pivot, pivot]))
            # (J, K); only blocks on and below the diagonal are kept current.
            panel = torch.cat([whole[pivot, : pivot.start].T, torch.zeros_like(inverse), whole[pivot.stop :, pivot]])
            moved = panel @ inverse

            def eliminate(block: slice, panel: torch.Tensor = panel, moved: torch.Tensor = moved) -> None:
                whole[block.start :, block].addmm_(moved[block.start :], panel[block].T, alpha=-1)

            spread(eliminate, blocks, num_threads(threads))
            whole[pivot, : pivot.start] = moved[: pivot.start].T
            whole[pivot.stop :, pivot] = moved[pivot.stop :]
            whole[pivot, pivot] = -inverse
    for block in blocks:
        whole[block, block.stop :] = whole[block.stop :, block].T
