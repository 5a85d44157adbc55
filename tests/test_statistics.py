"""Intervals and tests against enumeration, closed forms, scipy and hand-worked values."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import neucf.evaluation.statistics as statistics
from neucf.errors import DataError
from neucf.evaluation.statistics import (
    bootstrap_interval,
    compare,
    compare_columns,
    corrected_interval,
    corrected_t_test,
    holm,
    sign_flip_test,
    wilcoxon_test,
)


def test_bootstrap_of_zeros_and_ones_follows_the_binomial():
    values = np.repeat([0.0, 1.0], [140, 60])
    low, high = bootstrap_interval(values, draws=20_000)
    expected = stats.binom(200, 0.3).ppf([0.025, 0.975]) / 200
    assert [low, high] == pytest.approx(expected, abs=0.005)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=300)
    low, high = bootstrap_interval(values, draws=10_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert [low, high] == pytest.approx([theirs.low, theirs.high], abs=0.02)


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(400):
        low, high = bootstrap_interval(rng.exponential(size=200), seed=seed, draws=500)
        covered += low <= 1 <= high
    # 4 standard deviations of a binomial with 400 trials, and the percentile method's known shortfall of a point or so.
    assert 0.90 < covered / 400 < 0.99


def test_bootstrap_is_the_same_in_chunks_and_beside_other_metrics(monkeypatch):
    values = np.random.default_rng(3).random((50, 2))
    both = bootstrap_interval(values, seed=4)
    alone = bootstrap_interval(values[:, 1], seed=4)
    assert alone[0] == pytest.approx(both[0][1], rel=1e-12)
    monkeypatch.setattr(statistics, "_CHUNK", 170)
    chunked = bootstrap_interval(values, seed=4)
    np.testing.assert_allclose(chunked, both, rtol=1e-12)
    assert bootstrap_interval(values, seed=5)[0].tolist() != both[0].tolist()


def test_bootstrap_of_one_user_and_of_none():
    assert bootstrap_interval([0.25]) == (0.25, 0.25)
    with pytest.raises(DataError, match="at least one user"):
        bootstrap_interval([])


def exact_sign_flip(differences) -> float:
    observed = abs(sum(differences))
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product([1, -1], repeat=10)]
    return float(np.mean([abs(total) >= observed - 1e-12 for total in sums]))


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.8])
def test_sign_flips_agree_with_all_patterns(shift):
    differences = (np.random.default_rng(5).standard_normal(10) + shift).tolist()
    exact = exact_sign_flip(differences)
    error = np.sqrt(exact * (1 - exact) / 10_000)
    assert sign_flip_test(differences) == pytest.approx(exact, abs=4 * error + 1e-4)


def test_sign_flips_count_equal_sums_and_never_give_zero():
    # Of the four patterns of two equal differences two are as extreme: p = 1/2. One difference: always, p = 1.
    assert sign_flip_test([0.1, 0.1]) == pytest.approx(0.5, abs=0.02)
    assert sign_flip_test([0.3]) == 1
    assert sign_flip_test([0.0, 0.0]) == 1
    assert sign_flip_test(np.ones(100), draws=999) == 1 / 1000


def test_zeros_change_nothing_and_chunks_neither(monkeypatch):
    differences = np.random.default_rng(6).standard_normal(20)
    p_value = sign_flip_test(differences, seed=1)
    assert sign_flip_test(np.concatenate([np.zeros(30), differences]), seed=1) == p_value
    monkeypatch.setattr(statistics, "_CHUNK", 100)
    assert sign_flip_test(differences, seed=1) == pytest.approx(p_value, abs=0.03)


def test_sign_flips_hold_their_level():
    rng = np.random.default_rng(7)
    p_values = [sign_flip_test(rng.standard_normal(30), seed=seed, draws=199) for seed in range(400)]
    assert abs(np.mean(np.array(p_values) <= 0.05) - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 400)


def test_wilcoxon_hand_worked():
    # Differences 1..5 all positive: the smallest rank sum, 0; two-sided p = 2 / 2^5. Zeros are dropped.
    assert wilcoxon_test([1, 2, 3, 4, 5, 0, 0]) == pytest.approx(2 / 32)
    # -1 2 3 4 5: rank sum 1; patterns with sum at most 1: {} and {1}, so p = 2 * 2 / 32.
    assert wilcoxon_test([-1, 2, 3, 4, 5]) == pytest.approx(4 / 32)
    assert wilcoxon_test([0, 0]) == 1


def test_wilcoxon_takes_what_is_equal_on_paper_as_equal():
    rng = np.random.default_rng(3)
    seeds = np.array([0.1, 0.2, 0.3, 0.63, 0.387])
    # Users of both models have the same five values in another order, or one value by .1 or .2 higher
    ours, theirs = (np.array([rng.permutation(seeds) for _ in range(40)]) for _ in range(2))
    theirs[:15, 0] += np.repeat([0.1, -0.1, 0.2], 5)
    # Summed in turn, as means over seeds are
    differences = np.mean(list(ours.T), axis=0) - np.mean(list(theirs.T), axis=0)
    assert 0 < np.abs(differences[15:]).max() < 1e-15
    on_paper = np.repeat([-1, 1, -2], 5)
    assert wilcoxon_test(differences) == stats.wilcoxon(on_paper).pvalue
    assert wilcoxon_test(differences[15:]) == 1


def test_holm_hand_worked():
    # Sorted .01 .02 .03 .5 times 4 3 2 1 = .04 .06 .06 .5; the third may not fall below the second.
    assert holm([0.03, 0.01, 0.5, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, level):
    rejected, order = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
    for step, place in enumerate(order):
        if (len(p_values) - step) * p_values[place] > level:
            break
        rejected.add(place)
    assert set(np.flatnonzero(holm(p_values) <= level).tolist()) == rejected


def test_corrected_interval_hand_worked():
    # Mean 2, variance 1, R = 3, test / train = 1/8: error sqrt(1/3 + 1/8) = .67700; t(.975, 2) = 4.30265.
    low, high = corrected_interval([1, 2, 3], 80, 10)
    assert (low, high) == pytest.approx((2 - 2.91292, 2 + 2.91292), abs=1e-4)
    with pytest.raises(DataError, match="at least two splits; got 1"):
        corrected_interval([1], 80, 10)


def test_corrected_t_test_hand_worked():
    # t = 2 / .67700 = 2.95420; with 2 degrees of freedom P(|T| > t) = 1 - t / sqrt(t^2 + 2).
    t = 2 / np.sqrt(1 / 3 + 1 / 8)
    assert corrected_t_test([1, 2, 3], 80, 10) == pytest.approx(1 - t / np.sqrt(t**2 + 2))
    # Without overlap it is the plain one-sample t-test.
    values = np.random.default_rng(0).standard_normal(8)
    assert corrected_t_test(values, 1, 0) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    plain = stats.ttest_1samp(values, 0).confidence_interval()
    assert corrected_interval(values, 1, 0) == pytest.approx((plain.low, plain.high))
    assert corrected_t_test([0, 0], 80, 10) == 1
    assert corrected_t_test([0.5, 0.5], 80, 10) == 0


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10), st.floats(1, 100))
def test_the_corrected_test_rejects_where_zero_lies_outside_its_interval(differences, num_train):
    low, high = corrected_interval(differences, num_train, 10)
    p_value = corrected_t_test(differences, num_train, 10)
    if abs(p_value - 0.05) > 1e-9 and high - low > 1e-12:
        assert (p_value < 0.05) == (not low <= 0 <= high)


def test_sign_flips_agree_with_scipys_permutations():
    differences = np.random.default_rng(9).standard_normal(40) + 0.3
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    ).pvalue
    assert sign_flip_test(differences) == pytest.approx(theirs, abs=0.01)


def test_columns_are_compared_as_each_alone():
    rng = np.random.default_rng(10)
    table = rng.normal([0, 0.2, 0.5], size=(60, 3))
    table[:, 2] = np.sign(table[:, 2]) * (rng.random(60) < 0.5)
    together = compare_columns(table, ["ndcg@20", "mrr", "hit@20"])
    for column, found, metric in zip(table.T, together, ["ndcg@20", "mrr", "hit@20"], strict=True):
        alone = compare(column, np.zeros(60), metric)
        assert found.difference == pytest.approx(alone.difference)
        assert found.interval == pytest.approx(alone.interval)
        assert found.wilcoxon_p_value == alone.wilcoxon_p_value
        # Zeros of a column alone are dropped, which changes the signs that are drawn.
        assert found.p_value == pytest.approx(alone.p_value, abs=0.02)
    assert sign_flip_test(np.zeros((4, 2))).tolist() == [1, 1]


def test_compare_pairs_by_user():
    rng = np.random.default_rng(8)
    reference = rng.random(200)
    model = reference + 0.05 + 0.1 * rng.standard_normal(200)
    found = compare(model, reference, "ndcg@20")
    assert found.difference == pytest.approx((model - reference).mean())
    assert found.interval[0] < found.difference < found.interval[1]
    # The pairing is what shows it: each user's own spread is far wider than the difference.
    assert found.p_value == pytest.approx(1 / 10_001)
    assert found.wilcoxon_p_value == pytest.approx(stats.wilcoxon(model, reference).pvalue)
    assert compare(model > 0.5, reference > 0.5, "hit@10").wilcoxon_p_value is None
    backwards = compare(reference, model, "ndcg@20")
    assert backwards.difference == -found.difference


def test_compare_refuses_other_users():
    with pytest.raises(DataError, match=r"same users, \(M,\) each; got \(2,\) and \(3,\)"):
        compare([1, 2], [1, 2, 3], "ndcg@20")


def test_what_is_not_finite_gives_no_p_value():
    for test in (sign_flip_test, bootstrap_interval, wilcoxon_test, holm):
        with pytest.raises(DataError, match="must be finite; got nan"):
            test([0.1, np.nan])
    with pytest.raises(DataError, match="`reference` must be finite; got inf"):
        compare([0.1], [np.inf], "ndcg@20")
    with pytest.raises(DataError, match="`num_train` must be above 0"):
        corrected_t_test([0.1, 0.2], 0, 5)
