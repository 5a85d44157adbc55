"""slim: sparse weights of items by items, by an elastic net."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.kernels.compile import num_threads, slices, spread
from neucf.kernels.slim import descend
from neucf.models.config import Config, Tunable
from neucf.models.linear import ItemItem
from neucf.recommender import Monitor

# Columns a thread fits before it takes the next ones.
_BLOCK = 128


class SLIMConfig(Config):
    """Settings of slim."""

    l1: Annotated[float, Tunable(0.01, 30.0, log=True)] = Field(
        1.0, ge=0, description="L1 strength: more leaves fewer weights, and takes less time."
    )
    l2: Annotated[float, Tunable(0.01, 300.0, log=True)] = Field(30.0, ge=0, description="L2 strength on the weights.")
    max_sweeps: int = Field(100, ge=1, description="Sweeps of coordinate descent over an item's weights, at most.")
    tolerance: float = Field(
        1e-3, ge=1e-6, description="Ends the sweeps: the largest change, as a part of a weight; float32 tells no less."
    )


class SLIM(ItemItem):
    """Sparse linear regression of each item on the others, weights not negative (Ning and Karypis 2011).

    Minimises 1/2 |X - X W|^2 + l2/2 |W|^2 + l1 |W|_1 over W >= 0 with diag(W) = 0 (equation 3).
    """

    name: ClassVar[str] = "slim"
    config_class: ClassVar[type[SLIMConfig]] = SLIMConfig
    config: SLIMConfig

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
        """Fits each item's weights. `valid`, `seed`, `device` and `monitor` change nothing."""
        del valid, seed, device, monitor
        rows, config = train.csr(), self.config
        columns = csr_array(rows.T)
        l1, l2 = np.float32(config.l1), np.float32(config.l2)

        def fit(block: slice) -> tuple[npt.NDArray[Any], ...]:
            fitted: tuple[npt.NDArray[Any], ...] = descend(
                block.start, block.stop, rows.indptr, rows.indices, rows.data, columns.indptr, columns.indices,
                columns.data, l1, l2, config.max_sweeps, np.float32(config.tolerance),
            )  # fmt: skip
            return fitted

        fitted = spread(fit, slices(0, train.num_items, _BLOCK), num_threads(threads))
        ends, offset = [np.zeros(1, np.int64)], 0
        for stops, items, _ in fitted:
            ends.append(stops + offset)
            offset += len(items)
        # (I, I), a row for each item j with the items i that speak for it: W is its transpose.
        weights = csr_array(
            (
                np.concatenate([weights for _, _, weights in fitted]),
                np.concatenate([items for _, items, _ in fitted]),
                np.concatenate(ends),
            ),
            shape=(train.num_items, train.num_items),
        )
        return self._keep(train, csr_array(weights.T))
