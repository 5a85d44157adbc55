"""Popularity: everyone gets what most people chose. The floor every model must clear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError
from neucf.models.base import Arrays, Model
from neucf.models.config import Config
from neucf.recommender import Monitor


class PopularityConfig(Config):
    """Popularity has no settings."""


class Popularity(Model):
    """Scores an item by its number of training interactions, the same for every user."""

    name: ClassVar[str] = "popularity"
    config_class: ClassVar[type[Config]] = PopularityConfig

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
        """Counts. `valid`, `seed`, `device`, `threads` and `monitor` change nothing."""
        del valid, seed, device, threads, monitor
        self._train = train
        # (I,)
        self._counts = train.item_counts().astype(np.float32)
        return self

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """Returns interaction counts, shapes as in Recommender."""
        return self._rows(len(self._check_users(users)), items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """Returns interaction counts; a history changes nothing."""
        return self._rows(self._check_histories(histories).shape[0], items)

    def arrays(self) -> Arrays:
        """Returns the counts (I,)."""
        return {"counts": self._counts}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the counts back."""
        counts = arrays.get("counts")
        if counts is None or counts.shape != (train.num_items,):
            raise ArtifactError(f"popularity needs `counts` of shape ({train.num_items},); the run holds none such.")
        self._train, self._counts = train, counts.astype(np.float32)
        return self

    def _rows(self, num_rows: int, items: npt.ArrayLike | None) -> npt.NDArray[np.float32]:
        if items is None:
            return np.broadcast_to(self._counts, (num_rows, len(self._counts)))
        chosen = self._counts[self._check_items(items, num_rows)]
        return np.broadcast_to(chosen, (num_rows, chosen.shape[-1]))
