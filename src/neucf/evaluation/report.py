"""Evaluation: what a protocol gives for one model on one part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.data.vocabulary import IntArray, Vocabulary
from neucf.errors import ConfigError, DataError
from neucf.evaluation.beyond import beyond_accuracy
from neucf.evaluation.buckets import Range, activity_ranges, popularity_ranges
from neucf.evaluation.metrics import Values
from neucf.evaluation.statistics import bootstrap_interval

# Users, ascending, and their values by metric.
Group: TypeAlias = tuple[npt.NDArray[np.int64], dict[str, Values]]
# Of fewer, resampling tells too little: of one, an interval without any width.
_LEAST_USERS = 10
# A range of numbers of training rows, and the users judged in it.
Bucket: TypeAlias = tuple[Range, Group]


@dataclass(frozen=True, eq=False)
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
        activity: (U,) training rows of each user; of one held out, those given as history.
        popularity: (I,) training rows of each item.
        restricted: Given flags (I,), the users with a relevant item among those flagged, and their values with only
            such items relevant.
        listed: Gives the first max(ks) of the whole catalogue for each user averaged over, (M, K), -1 where a list
            ends; in the sampled protocol they are ranked when asked for.
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
    activity: npt.NDArray[np.int64] = field(repr=False)
    popularity: npt.NDArray[np.int64] = field(repr=False)
    restricted: Callable[[npt.NDArray[np.bool_]], Group] = field(repr=False)
    listed: Callable[[], IntArray] = field(repr=False)
    num_dropped: int = 0

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {self.mean(name):.4f}" for name in self.values)
        return f"Evaluation({self.protocol}, {self.on}, {self.num_users:,} users: {means})"

    @property
    def num_users(self) -> int:
        """M, the users averaged over."""
        return len(self.users)

    @cached_property
    def warm_users(self) -> Group:
        """Indices of the users training knows, and their values."""
        return _rows((self.users, self.values), self.activity[self.users] > 0)

    @cached_property
    def warm_items(self) -> Group:
        """The users with a relevant item that training saw, and their values with only such items relevant."""
        return self.restricted(self.popularity > 0)

    def group(self, among: str = "all") -> dict[str, Values]:
        """Returns the values of `all`, `warm_users` or `warm_items`."""
        groups = ("all", "warm_users", "warm_items")
        if among not in groups:
            raise ConfigError(f"`among` must be one of {', '.join(groups)}; got {among!r}.")
        if among == "all":
            return self.values
        return self.warm_users[1] if among == "warm_users" else self.warm_items[1]

    def mean(self, name: str, among: str = "all") -> float:
        """Returns a metric's mean over users; NaN where the group is empty."""
        values = self._column(name, among)
        return float(values.mean()) if len(values) else float("nan")

    def frame(self, user_ids: Vocabulary) -> pl.DataFrame:
        """Returns a row for each user averaged over: user_id, of the model's vocabulary, and a column a metric."""
        if not isinstance(user_ids, Vocabulary) or user_ids.kind != "user" or len(user_ids) != len(self.activity):
            raise DataError(
                f"`user_ids` must be the model's vocabulary of {len(self.activity):,} users; got {user_ids!r}. "
                "Pass `model.user_ids`."
            )
        return pl.DataFrame({"user_id": user_ids.series.gather(self.users), **self.values})

    def interval(self, name: str, seed: int = 0, among: str = "all") -> tuple[float, float]:
        """Returns the bootstrap 95 % interval of a metric's mean over users of this split."""
        low, high = bootstrap_interval(self._column(name, among), seed=seed)
        return float(low), float(high)

    def by_activity(self) -> list[Bucket]:
        """Returns the users of each range of activity that holds any, the cold ones first."""
        counts = self.activity[self.users]
        chosen = ((bounds, bounds.holds(counts)) for bounds in activity_ranges(self.activity))
        return [(bounds, _rows((self.users, self.values), rows)) for bounds, rows in chosen if rows.any()]

    def by_popularity(self) -> list[Bucket]:
        """Returns the users with a relevant item in each range of popularity, only such items relevant, cold first."""
        ranges = popularity_ranges(self.popularity)
        found = [(bounds, self.restricted(bounds.holds(self.popularity))) for bounds in ranges]
        return [(bounds, group) for bounds, group in found if len(group[0])]

    def beyond_accuracy(self, genres: csr_array | None = None) -> dict[str, float]:
        """Returns coverage, Gini, mean popularity and, given genres (I, G), diversity of the lists, at each k."""
        return beyond_accuracy(self.listed(), self.ks, self.popularity, genres)

    def to_json(self, split: str, split_seed: int, seed: int, genres: csr_array | None = None) -> dict[str, Any]:
        """Returns the document that `neucf evaluate --json` prints; `genres` (I, G) as `genre_flags` gives them."""
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
            "warm_users": _group_document(self.warm_users, seed),
            "warm_items": _group_document(self.warm_items, seed),
            "by_user_activity": [_bucket_document(bucket, seed) for bucket in self.by_activity()],
            "by_item_popularity": [_bucket_document(bucket, seed) for bucket in self.by_popularity()],
            "beyond_accuracy": self.beyond_accuracy(genres),
        }

    def _column(self, name: str, among: str) -> Values:
        group = self.group(among)
        if name not in group:
            raise ConfigError(f"`name` must be one of {', '.join(group)}; got {name!r}.")
        return group[name]


def _rows(group: Group, rows: npt.NDArray[np.bool_]) -> Group:
    users, values = group
    return users[rows], {name: column[rows] for name, column in values.items()}


def _bucket_document(bucket: Bucket, seed: int) -> dict[str, Any]:
    bounds, group = bucket
    return {"low": bounds.low, "high": bounds.high, **_group_document(group, seed)}


def _group_document(group: Group, seed: int) -> dict[str, Any]:
    users, values = group
    if len(users) >= _LEAST_USERS:
        return {"num_users": len(users), "metrics": _document(values, seed)}
    means = {name: {"mean": float(column.mean())} for name, column in values.items() if len(column)}
    return {"num_users": len(users), "metrics": means}


def _document(values: Mapping[str, Values], seed: int) -> dict[str, Any]:
    columns = {name: column for name, column in values.items() if len(column)}
    if not columns:
        return {}
    low, high = bootstrap_interval(np.stack(list(columns.values()), 1), seed=seed)
    return {
        name: {"mean": float(column.mean()), "ci95": [float(low[place]), float(high[place])]}
        for place, (name, column) in enumerate(columns.items())
    }
