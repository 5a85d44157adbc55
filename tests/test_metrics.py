"""Metrics against hand-worked values, formulas written out in loops, and ranx."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neucf.evaluation.metrics import METRICS, average_precision, hit, measure, ndcg, precision, recall, reciprocal_rank

# One list of five: hits at ranks 2, 3 and 5; four items are relevant in all.
HITS = np.array([[False, True, True, False, True]])
FOUR = np.array([4])


@pytest.mark.parametrize(
    ("metric", "k", "value"),
    [
        (recall, 1, 0),
        (recall, 3, 2 / 4),
        (recall, 5, 3 / 4),
        (precision, 3, 2 / 3),
        (precision, 5, 3 / 5),
        (hit, 1, 0),
        (hit, 2, 1),
        (reciprocal_rank, 1, 0),
        (reciprocal_rank, 5, 1 / 2),
        # precision is 1/2 at rank 2, 2/3 at rank 3, 3/5 at rank 5; at most min(k, 4) hits
        (average_precision, 3, (1 / 2 + 2 / 3) / 3),
        (average_precision, 5, (1 / 2 + 2 / 3 + 3 / 5) / 4),
        # 1/log2(3) = .63093, 1/log2(4) = .5, 1/log2(5) = .43068, 1/log2(6) = .38685
        (ndcg, 3, (0.63093 + 0.5) / (1 + 0.63093 + 0.5)),
        (ndcg, 5, (0.63093 + 0.5 + 0.38685) / (1 + 0.63093 + 0.5 + 0.43068)),
    ],
)
def test_hand_worked(metric, k, value):
    assert metric(HITS, FOUR, k).tolist() == pytest.approx([value], abs=1e-5)


def test_a_perfect_list_gets_one_even_where_more_is_relevant_than_it_holds():
    perfect = np.array([[True, True, True]])
    for metric in (precision, ndcg, hit, reciprocal_rank, average_precision):
        assert metric(perfect, np.array([7]), 3).tolist() == [1]
    assert recall(perfect, np.array([7]), 3).tolist() == pytest.approx([3 / 7])


def test_a_list_shorter_than_k_ends_in_misses():
    assert precision(HITS, FOUR, 10).tolist() == [0.3]
    assert ndcg(HITS, FOUR, 10).tolist() == ndcg(HITS, FOUR, 5).tolist()


def test_a_user_without_relevant_items_gets_zero():
    found = measure(np.zeros((1, 3), bool), np.array([0]), (3,))
    assert {name: values.tolist() for name, values in found.items()} == {f"{name}@3": [0.0] for name in METRICS}


def written_out(name, hits, num_relevant, k):
    """The definitions, one rank at a time."""
    listed = hits[:k]
    found = sum(listed)
    ranks = [rank for rank, is_hit in enumerate(listed, 1) if is_hit]
    if name == "recall":
        return found / num_relevant
    if name == "precision":
        return found / k
    if name == "hit":
        return float(found > 0)
    if name == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if name == "map":
        return sum(sum(listed[:rank]) / rank for rank in ranks) / min(k, num_relevant)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, num_relevant) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5), st.data())
def test_agrees_with_the_definitions(rows, data):
    hits = np.array(rows)
    counts = [max(1, sum(row)) + data.draw(st.integers(0, 4)) for row in rows]
    found = measure(hits, np.array(counts), (1, 4, 6))
    assert list(found) == [f"{name}@{k}" for k in (1, 4, 6) for name in METRICS]
    for key, values in found.items():
        name, _, k = key.partition("@")
        expected = [written_out(name, row, count, int(k)) for row, count in zip(rows, counts, strict=True)]
        assert values.tolist() == pytest.approx(expected)


@pytest.mark.slow  # ranx compiles for a minute
def test_agrees_with_ranx():
    with warnings.catch_warnings():
        # ranx compiles signatures that its numba deprecates, on import and at the first call.
        warnings.simplefilter("ignore")
        from ranx import Qrels, Run
        from ranx import evaluate as ranx_evaluate

        rng = np.random.default_rng(7)
        num_users, num_items, k = 20, 30, 10
        scores = rng.permutation(num_users * num_items).reshape(num_users, num_items)
        # 1 to 10 each: ranx divides average precision by all relevant items, we by those a list of k can hold.
        relevant = rng.permuted(np.tile(np.arange(num_items), (num_users, 1)), axis=1) < 1 + np.arange(20)[:, None] % 10
        qrels = Qrels({f"u{u}": {f"i{i}": 1 for i in np.flatnonzero(relevant[u])} for u in range(num_users)})
        run = Run({f"u{u}": {f"i{i}": float(scores[u, i]) for i in range(num_items)} for u in range(num_users)})
        names = {name: name for name in ("recall", "precision", "ndcg", "mrr", "map")} | {"hit": "hit_rate"}
        theirs = {
            ours: ranx_evaluate(qrels, run, f"{name}@{k}", return_mean=False, make_comparable=True)
            for ours, name in names.items()
        }
    order = np.argsort(-scores, 1)[:, :k]
    counts = relevant.sum(1)
    users = [int(name[1:]) for name in qrels.keys()]  # noqa: SIM118
    found = measure(np.take_along_axis(relevant, order, 1), counts, (k,))
    for name, values in theirs.items():
        np.testing.assert_allclose(found[f"{name}@{k}"][users], values, atol=1e-9)
