"""Made-up data with planted tastes, whose best achievable ranking is known.

Every item belongs to one or two topics (its genres); every user mixes a few topics, and a little of what is popular
everywhere. A user's next item is drawn by p(item) = sum over topics of taste x p(item | topic), among the items not
drawn yet. So whatever part of a history is known, ranking the rest by p is the best anyone can do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from neucf.data.dataset import Dataset, ReadReport
from neucf.data.interactions import Interactions
from neucf.data.synthetic_items import made_up_items
from neucf.data.vocabulary import Vocabulary
from neucf.errors import ConfigError
from neucf.kernels.compile import num_threads, spread
from neucf.kernels.planting import draw_histories
from neucf.kernels.sampling import alias_table

# Share of a user's draws that follow popularity alone.
_WHIM = 0.1
# Of a Dirichlet distribution: the lower, the fewer topics a user likes.
_FOCUS = 0.15
# Popularity of rank r is (r + shift)^-exponent (Zipf and Mandelbrot).
_EXPONENT, _SHIFT = 0.9, 10
# How much an item belongs to its second topic, where it has one.
_SECOND = 0.25
_BLOCK = 4_096


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A data set beside the chances it was drawn by. T topics: `dim` tastes, and popularity last.

    Attributes:
        dataset: All rows are positives, user by user, each history in order of time.
        tastes: (U, T) float32, each row sums to 1: how a user's draws are spread over topics.
        topics: (T, I) float64, each row sums to 1: p(item | topic).
    """

    dataset: Dataset
    tastes: npt.NDArray[np.float32]
    topics: npt.NDArray[np.float64]

    def affinity(self, users: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Returns the true p(item | user) (B, I) of users (B,): the best ranking, once what is known is masked."""
        affinity: npt.NDArray[np.float32] = self.tastes[np.asarray(users)] @ self.topics.astype(np.float32)
        return affinity

    def write_parquet(self, path: str | Path, *, by_time: bool = False) -> None:
        """Writes user_id, item_id and timestamp, as a reader of files would meet them: by user, or as a log in time."""
        interactions = self.dataset.interactions
        assert interactions.timestamps is not None
        # External ids are the indices from 1.
        columns = {
            "user_id": interactions.users + np.int32(1),
            "item_id": interactions.items + np.int32(1),
            "timestamp": interactions.timestamps,
        }
        frame = pl.DataFrame(columns)
        (frame.sort("timestamp", maintain_order=True) if by_time else frame).write_parquet(path)


def synthetic(
    num_users: int,
    num_items: int,
    num_interactions: int,
    *,
    seed: int,
    dim: int = 16,
    threads: int | None = None,
) -> Synthetic:
    """Makes up a data set; the same for any number of threads.

    Args:
        num_users: U; activity is long-tailed.
        num_items: I; popularity is long-tailed.
        num_interactions: N distinct (user, item) pairs, at most half of all.
        seed: Drives everything.
        dim: Topics of taste, each a genre.
        threads: Threads that draw; by default every core.

    Raises:
        ConfigError: If a number is out of range.
    """
    most = num_users * max(num_items // 2, 1)
    for name, value, low, high in (
        ("num_users", num_users, 1, 2**31 - 1),
        ("num_items", num_items, 1, 2**31 - 1),
        ("num_interactions", num_interactions, 1, most),
        ("dim", dim, 1, num_items),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if not low <= value <= high:
            why = " (half of all pairs)" if name == "num_interactions" else ""
            raise ConfigError(f"`{name}` must be in {low}..{high}{why}; got {value}.")

    rng = np.random.default_rng(seed)
    membership = _membership(rng, num_items, dim)
    topics = _topics(rng, membership)
    tastes = _tastes(rng, num_users, dim)
    counts = _activity(rng, num_users, num_interactions, max(num_items // 2, 1))
    items, timestamps = _draw(counts, tastes, topics, seed, num_threads(threads))

    interactions = Interactions(
        users=np.repeat(np.arange(num_users, dtype=np.int32), counts),
        items=items,
        ratings=None,
        weights=None,
        timestamps=timestamps,
        user_ids=Vocabulary(pl.int_range(1, num_users + 1, eager=True), "user"),
        item_ids=Vocabulary(pl.int_range(1, num_items + 1, eager=True), "item"),
    )
    size = num_interactions
    dataset = Dataset(
        name="synthetic",
        interactions=interactions,
        below_threshold=interactions.take(np.empty(0, np.int64)),
        below_k_core=interactions.take(np.empty(0, np.int64)),
        items=made_up_items(rng, membership),
        fixed=None,
        report=ReadReport(rows=size, duplicates=0, below_threshold=0, below_k_core=0, positives=size),
        settings={"num_users": num_users, "num_items": num_items, "num_interactions": size, "seed": seed, "dim": dim},
    )
    return Synthetic(dataset, tastes, topics)


def _membership(rng: np.random.Generator, num_items: int, dim: int) -> npt.NDArray[np.float64]:
    """Returns how much each item belongs to each topic, (dim, I): 1, or .75 and .25."""
    every = np.arange(num_items)
    first = rng.permutation(num_items) % dim
    second = (first + rng.integers(1, max(dim, 2), num_items)) % dim
    shared = np.where(rng.random(num_items) < 0.5, _SECOND, 0.0)
    membership = np.zeros((dim, num_items))
    membership[first, every] = 1 - shared
    membership[second, every] += shared
    return membership


def _topics(rng: np.random.Generator, membership: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns p(item | topic), (dim + 1, I); the last row is popularity alone."""
    popularity = (rng.permutation(membership.shape[1]) + _SHIFT) ** -_EXPONENT
    weights = np.vstack([membership * popularity, popularity])
    topics: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return topics


def _tastes(rng: np.random.Generator, num_users: int, dim: int) -> npt.NDArray[np.float32]:
    """Returns each user's spread over topics, (U, dim + 1): few topics, and a whim for what is popular."""
    tastes = np.empty((num_users, dim + 1), np.float32)
    gammas = rng.standard_gamma(_FOCUS, (num_users, dim), dtype=np.float32)
    # A draw this concentrated can underflow to 0.
    gammas = np.maximum(gammas, np.float32(1e-30), out=gammas)
    tastes[:, :-1] = gammas / gammas.sum(axis=1, keepdims=True) * np.float32(1 - _WHIM)
    tastes[:, -1] = _WHIM
    return tastes


def _activity(rng: np.random.Generator, num_users: int, total: int, most: int) -> npt.NDArray[np.int64]:
    """Returns each user's number of interactions (U,): log-normal, at most `most`, with the given total."""
    least = min(3, most, total // num_users)
    weights = rng.lognormal(0.0, 1.0, num_users)
    extra = weights / weights.sum() * (total - least * num_users)
    counts: npt.NDArray[np.int64] = np.minimum(least + extra.astype(np.int64), most)
    while missing := total - int(counts.sum()):
        # What rounding and the limit took goes to those with room left.
        room = np.flatnonzero(counts < most)
        counts[rng.choice(room, min(missing, len(room)), replace=False)] += 1
    return counts


def _draw(
    counts: npt.NDArray[np.int64],
    tastes: npt.NDArray[np.float32],
    topics: npt.NDArray[np.float64],
    seed: int,
    threads: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Returns items and timestamps (N,), user by user."""
    tables = [alias_table(topic) for topic in topics]
    accept = np.stack([table[0] for table in tables]).astype(np.float32)
    alias = np.stack([table[1] for table in tables]).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    items, timestamps = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.int64)

    def block(number: int) -> None:
        users = slice(number * _BLOCK, (number + 1) * _BLOCK)
        rows = slice(offsets[users.start], offsets[min(users.stop, len(counts))])
        draw_histories(counts[users], tastes[users], topics, accept, alias, seed, number, items[rows], timestamps[rows])

    spread(block, range(-(-len(counts) // _BLOCK)), threads)
    return items, timestamps
