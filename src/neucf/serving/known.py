"""Known: what recommending knows of each user, and what it hides from each."""

from __future__ import annotations

from functools import cached_property, reduce
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.artifacts import Run
from neucf.data.dataset import Dataset
from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Split
from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError, DataError
from neucf.models import Model

Mask: TypeAlias = Literal["default", "positives", "none"]
MASKS: tuple[Mask, ...] = ("default", "positives", "none")


class Known:
    """What is known of the users of a model, or of a run, which knows more; never the test part, the future.

    Args:
        source: A fitted model or an opened run.
        split: Of a model: what it was trained on, and chosen by.
        dataset: Of a model: where the split comes from.

    Raises:
        DataError: If `split` or `dataset` has other vocabularies than the model.
    """

    def __init__(self, source: Model | Run, split: Split | None = None, dataset: Dataset | None = None) -> None:
        more: Run | Dataset | None = dataset
        if isinstance(source, Run):
            self.train, split, more = source.model.train, source.split, source
        else:
            self.train = source.train
        parts: list[Interactions | None] = [self.train]
        if split is not None:
            parts = [split.train, split.valid, split.valid_history, split.test_history]
        self._below: list[Interactions] = []
        if more is not None:
            parts, self._below = [*parts, more.below_k_core], [more.below_threshold]
        self._positives = [part for part in parts if part is not None]
        for part in self._positives + self._below:
            if part.user_ids != self.train.user_ids or part.item_ids != self.train.item_ids:
                raise DataError("`split` and `dataset` must be those the model was fitted on; got other ids.")
        self._hidden: dict[Mask, csr_array] = {}

    @cached_property
    def trained(self) -> npt.NDArray[np.bool_]:
        """(U,) whether the model was trained on any row of a user."""
        return _flags([self.train])

    @cached_property
    def any(self) -> npt.NDArray[np.bool_]:
        """(U,) whether any positive of a user is known."""
        return _flags(self._positives)

    @cached_property
    def histories(self) -> csr_array:
        """(U, I) all known positives."""
        wide = reduce(concatenate, self._positives).csr()
        # Offsets as narrow as the columns: scipy would else widen all columns whenever it picks out rows.
        return csr_array((wide.data, wide.indices, wide.indptr), shape=wide.shape)

    def hidden(self, mask: Mask) -> csr_array | None:
        """Returns the items never suggested to each user (U, I), or None; built once a mask.

        Raises:
            ConfigError: If `mask` is not one of MASKS.
        """
        check_mask(mask)
        if mask == "none":
            return None
        if mask not in self._hidden:
            parts = self._positives + (self._below if mask == "default" else [])
            users, items = (np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items"))
            self._hidden[mask] = matrix(users, items, (self.train.num_users, self.train.num_items))
        return self._hidden[mask]

    def rows(self, user: int) -> pl.DataFrame:
        """Returns item, rating and time of a user's known rows, best rated first, then latest first."""
        rows = []
        for part in self._positives + self._below:
            mine = np.flatnonzero(part.users == user)
            columns = {"item": part.items, "rating": part.ratings, "time": part.timestamps}
            values: dict[str, Any] = {
                name: [None] * len(mine) if column is None else column[mine] for name, column in columns.items()
            }
            rows.append(pl.DataFrame(values, schema={"item": pl.Int32, "rating": pl.Float64, "time": pl.Int64}))
        return pl.concat(rows).sort("rating", "time", descending=True, nulls_last=True, maintain_order=True)


def check_mask(mask: str) -> None:
    """Raises ConfigError unless `mask` is one of MASKS."""
    if mask not in MASKS:
        raise ConfigError(f"`mask` must be one of {', '.join(MASKS)}; got {mask!r}.")


def matrix(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> csr_array:
    """Returns a csr matrix with ones at (row, column), sorted; by counting, so 20 million rows take a second or two."""
    ones = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    ones.sum_duplicates()
    ones.data[:] = 1
    return ones


def _flags(parts: list[Interactions]) -> npt.NDArray[np.bool_]:
    flags = np.zeros(parts[0].num_users, np.bool_)
    for part in parts:
        flags[part.users] = True
    return flags
