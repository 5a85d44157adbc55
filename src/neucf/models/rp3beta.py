"""rp3beta: random walks of three steps, popularity held back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.models.config import Config, Tunable
from neucf.models.linear import ItemItem, inverse
from neucf.models.neighbours import blockwise, keep_best
from neucf.recommender import Monitor


class RP3BetaConfig(Config):
    """Settings of rp3beta."""

    neighbours: Annotated[int, Tunable(10, 1000, log=True)] = Field(
        100, ge=1, description="Items each item keeps, those its walks most lead from."
    )
    alpha: Annotated[float, Tunable(0.3, 2.0)] = Field(0.6, ge=0, description="Power of each step's probability.")
    beta: Annotated[float, Tunable(0.0, 1.0)] = Field(
        0.2, ge=0, description="Power of an item's popularity that scores are divided by."
    )


class RP3Beta(ItemItem):
    """Random walks user, item, user, item, popularity held back (Paudel et al. 2017).

    The probability that a walk from user u ends at item j is the sum over the history of 1/|u| W_ij, with
    W_ij = sum_v (1/d_i)^alpha (1/|v|)^alpha / d_j^beta, v the users who have both, d_i an item's users and |v| a user's
    items: Cooper et al. 2014 (P3alpha), divided by popularity as in Paudel et al. 2017 (RP3beta). 1/|u| orders nothing
    and is left out.
    """

    name: ClassVar[str] = "rp3beta"
    config_class: ClassVar[type[RP3BetaConfig]] = RP3BetaConfig
    config: RP3BetaConfig

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
        """Multiplies the steps. `valid`, `seed`, `device` and `monitor` change nothing."""
        del valid, seed, device, monitor
        rows = train.csr()
        columns = csr_array(rows.T)
        popularity = columns.sum(1)
        # (I, U), from an item's point of view: P(user -> item j); (U, I): P(item i -> user)
        last_step = _powers(columns, inverse(rows.sum(1))[columns.indices], self.config.alpha)
        second_step = _powers(rows, inverse(popularity)[rows.indices], self.config.alpha)
        held = popularity ** np.float32(self.config.beta)

        def walks(items: slice) -> csr_array:
            ending = last_step[items] @ second_step
            places = np.repeat(np.arange(items.start, items.stop), np.diff(ending.indptr))
            ending.data[places == ending.indices] = 0
            np.divide(ending.data, held[places], out=ending.data, where=held[places] > 0)
            return keep_best(ending, self.config.neighbours)

        return self._keep(train, csr_array(blockwise(walks, train.num_items, train.num_items, threads).T))


def _powers(matrix: csr_array, share: np.ndarray, alpha: float) -> csr_array:
    values = ((matrix.data * share) ** alpha).astype(np.float32)
    return csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
