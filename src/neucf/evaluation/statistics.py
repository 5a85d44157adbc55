"""Intervals over users, paired tests between two models, and corrections for many comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neucf.errors import DataError

Values = npt.NDArray[np.float64]

# Elements a chunk of resamples may hold: 32 MiB of float64.
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
        DataError: If there is no user, or a value is not finite.
    """
    table = _finite("values", values)
    size = len(table)
    if not size:
        raise DataError("`values` must hold at least one user; got none.")
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // size)
    means = np.empty((draws, *table.shape[1:]))
    for first in range(0, draws, chunk):
        num = min(chunk, draws - first)
        # Counting how often each user was drawn, one resample after the other, stays in cache at any M.
        times = np.stack(
            [np.bincount(rng.integers(0, size, size, np.int32), minlength=size) for _ in range(num)], dtype=np.float64
        )
        means[first : first + num] = times @ table / size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model against a reference, paired by user on one metric.

    Attributes:
        difference: Mean over users of model less reference.
        interval: Bootstrap 95 % interval of it, over users of this split.
        p_value: Of the sign-flip randomisation test, two-sided.
        wilcoxon_p_value: Of Wilcoxon's signed-rank test, two-sided; None for hit rates and what equals them (recall of
            one held-out item), whose differences other than zero are of one size, and have no ranks.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    wilcoxon_p_value: float | None


def compare(model: npt.ArrayLike, reference: npt.ArrayLike, metric: str, *, seed: int = 0) -> Comparison:
    """Compares two models' values (M,) on the same users.

    Args:
        model: (M,) values, averaged over seeds where there are several.
        reference: (M,) values of the same users in the same order.
        metric: Its name, such as `ndcg@20`.
        seed: Drives resampling and sign flips.

    Raises:
        DataError: If the lengths differ, there is no user, or a value is not finite.
    """
    ours, theirs = _finite("model", model), _finite("reference", reference)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise DataError(
            f"`model` and `reference` must hold the same users, (M,) each; got {ours.shape} and {theirs.shape}."
        )
    return compare_columns((ours - theirs)[:, None], [metric], seed=seed)[0]


def compare_columns(differences: Values, metrics: Sequence[str], *, seed: int = 0) -> list[Comparison]:
    """Returns what `compare` says of each of C columns of paired differences (M, C), in one pass over the users.

    Args:
        differences: (M, C) model less reference, by user.
        metrics: The metric of each column.
        seed: Drives resampling and sign flips, which all columns share.
    """
    low, high = bootstrap_interval(differences, seed=seed)
    p_values = sign_flip_test(differences, seed=seed)
    return [
        Comparison(
            difference=float(column.mean()),
            interval=(float(low[place]), float(high[place])),
            p_value=float(p_values[place]),
            wilcoxon_p_value=None if metric.startswith("hit") or _of_one_size(column) else wilcoxon_test(column),
        )
        for place, (metric, column) in enumerate(zip(metrics, differences.T, strict=True))
    ]


def _of_one_size(differences: Values) -> bool:
    return len(np.unique(np.round(np.abs(differences[differences != 0]), 12))) == 1


def sign_flip_test(differences: npt.ArrayLike, *, seed: int = 0, draws: int = 10_000) -> Values:
    """Returns the two-sided p-value of a mean difference if each user's sign were a coin's.

    p = (b + 1) / (n + 1), where b of n random sign patterns give a mean at least as far from zero.

    Args:
        differences: (M,) paired differences, or (M, C) for C pairs of models at once, which share the signs.
        seed: Drives the signs.
        draws: n.

    Returns:
        The p-value, of shape () or (C,).
    """
    # A zero stays zero under either sign, so only the rest is flipped.
    table = _finite("differences", differences)
    table = table[(table != 0) if table.ndim == 1 else (table != 0).any(1)]
    # Sums in another order may differ in the last bits; what is equal on paper counts as equal.
    least = np.abs(table.sum(0)) - 1e-9 * np.abs(table).sum(0)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(1, len(table)))
    extreme = np.zeros(table.shape[1:], np.int64)
    for first in range(0, draws, chunk):
        flips = rng.integers(0, 2, (min(chunk, draws - first), len(table)), np.int8)
        extreme += (np.abs(2 * (flips.astype(np.float64) @ table) - table.sum(0)) >= least).sum(0)
    p_values: Values = (extreme + 1) / (draws + 1)
    return p_values


def wilcoxon_test(differences: npt.ArrayLike) -> float:
    """Returns the two-sided p-value of Wilcoxon's signed-rank test (M,), zeros dropped; 1 where all are zero."""
    from scipy import stats  # takes a third of a second to import, and only comparisons need it

    # What is 0 on paper, or as large as another, may differ in the last bits; of metrics 12 decimals are beyond doubt.
    moved = np.round(_finite("differences", differences), 12)
    moved = moved[moved != 0]
    return float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0


def holm(p_values: npt.ArrayLike) -> Values:
    """Returns p-values (C,) corrected for C comparisons by Holm's step-down method, in the order given."""
    given = _finite("p_values", p_values)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate((len(given) - np.arange(len(given))) * given[order])
    corrected = np.empty(len(given))
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def corrected_interval(
    differences: npt.ArrayLike, num_train: float, num_test: float, *, level: float = 0.95
) -> tuple[float, float]:
    """Returns the interval of a mean difference over repeated splits, corrected for overlapping training data.

    Nadeau and Bengio 2003 (Inference for the Generalization Error, Machine Learning 52): the variance of the mean over
    R splits is s^2 (1/R + num_test / num_train), not s^2 / R, with Student's t of R - 1 degrees of freedom.

    Args:
        differences: (R,) one mean difference a split.
        num_train: Rows trained on in each split; only the ratio to `num_test` counts.
        num_test: Rows tested on.
        level: Confidence.

    Raises:
        DataError: If there are fewer than two splits.
    """
    from scipy import stats

    mean, error, degrees = _over_splits(differences, num_train, num_test)
    reach = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    return mean - reach, mean + reach


def corrected_t_test(differences: npt.ArrayLike, num_train: float, num_test: float) -> float:
    """Returns the two-sided p-value that belongs to `corrected_interval`: Nadeau and Bengio's resampled t-test."""
    from scipy import stats

    mean, error, degrees = _over_splits(differences, num_train, num_test)
    if not error:
        # Every split differs by the same: by nothing, or beyond doubt.
        return float(mean == 0)
    return float(2 * stats.t.sf(abs(mean) / error, degrees))


def _over_splits(differences: npt.ArrayLike, num_train: float, num_test: float) -> tuple[float, float, int]:
    """Returns the mean, its corrected standard error, and the degrees of freedom."""
    values = _finite("differences", differences)
    if not (0 < num_train < np.inf and 0 <= num_test < np.inf):
        raise DataError(f"`num_train` must be above 0 and `num_test` not below; got {num_train} and {num_test} rows.")
    if len(values) < 2:
        raise DataError(
            f"`differences` must hold at least two splits; got {len(values)}. Repeat with more split seeds."
        )
    error = np.sqrt(values.var(ddof=1) * (1 / len(values) + num_test / num_train))
    return float(values.mean()), float(error), len(values) - 1


def _finite(name: str, values: npt.ArrayLike) -> Values:
    """Returns values as float64; raises DataError at one that is not finite, which no comparison would ever reach."""
    table = np.asarray(values, np.float64)
    if not np.isfinite(table).all():
        wrong = table[~np.isfinite(table)].flat[0]
        raise DataError(f"`{name}` must be finite; got {wrong}. Leave out whoever has no value.")
    return table
