"""Intervals over users, paired tests between two models, and corrections for many comparisons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neucf.errors import DataError

Values = npt.NDArray[np.float64]

# Elements a chunk of resamples may hold: 32 MiB of int64.
_CHUNK = 1 << 22


def bootstrap_interval(
    values: npt.ArrayLike, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[Values, Values]:
    """Returns the percentile bootstrap interval of the mean over users.

    Columns share their resamples, so a metric's interval does not depend on what stands beside it.

    Args:
        values: (M,) one value a user, or (M, C) for C metrics at once.
        seed: Drives the resampling.
        draws: Number of resamples.
        level: Share of resampled means inside.

    Returns:
        The low and high ends, each of shape () or (C,).

    Raises:
        DataError: If there is no user.
    """
    table = np.asarray(values, np.float64)
    size = len(table)
    if not size:
        raise DataError("`values` must hold at least one user; got none.")
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // size)
    means = np.empty((draws, *table.shape[1:]))
    for first in range(0, draws, chunk):
        num = min(chunk, draws - first)
        picks = rng.integers(0, size, (num, size), np.int64)
        picks += size * np.arange(num)[:, None]
        times = np.bincount(picks.ravel(), minlength=num * size).reshape(num, size)
        means[first : first + num] = times @ table / size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
