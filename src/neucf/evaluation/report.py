"""Evaluation: what a protocol gives for one model on one part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from neucf.errors import ConfigError
from neucf.evaluation.metrics import Values
from neucf.evaluation.statistics import bootstrap_interval

# Users, ascending, and their values by metric.
Group: TypeAlias = tuple[npt.NDArray[np.int64], dict[str, Values]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model judged on one part: a value a user and metric.

    Attributes:
        protocol: `full` or `sampled`.
        on: `valid` or `test`.
        ties: How equal scores were ordered: `hash` in full ranking; `average`, `pessimistic` or `optimistic`.
        ks: List lengths.
        users: (M,) indices of the users averaged over: those with a relevant item in the part.
        values: Metric name, such as `recall@20`, to (M,) values.
        num_cold_users: Users among them that training knows nothing of.
        num_relevant: Relevant (user, item) pairs of the part.
        num_cold_relevant: Those whose item training never saw; they count as misses unless listed.
        num_cold_items: Distinct items among those.
        num_dropped: Candidates left out of given or drawn lists: own positives, repeats, padding.
        warm_users: Indices of the users training knows, and their values.
        warm_items: The users with a relevant item that training saw, and their values with only such items relevant.
    """

    protocol: str
    on: str
    ties: str
    ks: tuple[int, ...]
    users: npt.NDArray[np.int64]
    values: dict[str, Values]
    num_cold_users: int
    num_relevant: int
    num_cold_relevant: int
    num_cold_items: int
    warm_users: Group = field(repr=False)
    warm_items: Group = field(repr=False)
    num_dropped: int = 0

    @property
    def num_users(self) -> int:
        """M, the users averaged over."""
        return len(self.users)

    def group(self, among: str = "all") -> dict[str, Values]:
        """Returns the values of `all`, `warm_users` or `warm_items`."""
        groups = {"all": self.values, "warm_users": self.warm_users[1], "warm_items": self.warm_items[1]}
        if among not in groups:
            raise ConfigError(f"`among` must be one of {', '.join(groups)}; got {among!r}.")
        return groups[among]

    def mean(self, name: str, among: str = "all") -> float:
        """Returns a metric's mean over users; NaN where the group is empty."""
        values = self._column(name, among)
        return float(values.mean()) if len(values) else float("nan")

    def interval(self, name: str, seed: int = 0, among: str = "all") -> tuple[float, float]:
        """Returns the bootstrap 95 % interval of a metric's mean over users of this split."""
        low, high = bootstrap_interval(self._column(name, among), seed=seed)
        return float(low), float(high)

    def to_json(self, split: str, split_seed: int, seed: int) -> dict[str, Any]:
        """Returns the document that `neucf evaluate --json` prints."""
        return {
            "protocol": self.protocol,
            "on": self.on,
            "split": split,
            "split_seed": split_seed,
            "seed": seed,
            "ties": self.ties,
            "num_users": self.num_users,
            "num_cold_users": self.num_cold_users,
            "metrics": _document(self.values, seed),
            "num_relevant": self.num_relevant,
            "num_cold_relevant": self.num_cold_relevant,
            "num_cold_items": self.num_cold_items,
            "num_dropped": self.num_dropped,
            "warm_users": {"num_users": len(self.warm_users[0]), "metrics": _document(self.warm_users[1], seed)},
            "warm_items": {"num_users": len(self.warm_items[0]), "metrics": _document(self.warm_items[1], seed)},
        }

    def _column(self, name: str, among: str) -> Values:
        group = self.group(among)
        if name not in group:
            raise ConfigError(f"`name` must be one of {', '.join(group)}; got {name!r}.")
        return group[name]


def _document(values: Mapping[str, Values], seed: int) -> dict[str, Any]:
    columns = {name: column for name, column in values.items() if len(column)}
    if not columns:
        return {}
    low, high = bootstrap_interval(np.stack(list(columns.values()), 1), seed=seed)
    return {
        name: {"mean": float(column.mean()), "ci95": [float(low[place]), float(high[place])]}
        for place, (name, column) in enumerate(columns.items())
    }
