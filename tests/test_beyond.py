"""Beyond accuracy and buckets: hand-worked values, and brute force over pairs."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from handmade import HAND, HAND_SCORES, Table, part, random_split
from hypothesis import given
from hypothesis import strategies as st

from neucf.data.splits import Candidates, Split
from neucf.evaluation import evaluate
from neucf.evaluation.beyond import (
    beyond_accuracy,
    coverage,
    genre_flags,
    gini,
    intra_list_diversity,
    mean_popularity,
)
from neucf.evaluation.buckets import Range, activity_ranges, popularity_ranges

# Two lists of two out of five items: item 0 twice, items 1 and 2 once, 3 and 4 never.
LISTS = np.array([[0, 1], [2, 0]])


def test_coverage_hand_worked():
    assert coverage(LISTS, 5) == 3 / 5
    assert coverage(np.array([[4, -1], [-1, -1]]), 5) == 1 / 5


def test_gini_hand_worked():
    # Ascending 0 0 1 1 2 of 4 places; 2j - 6 = -4 -2 0 2 4; (0 + 0 + 0 + 2 + 8) / 4 / 4.
    assert gini(LISTS, 5) == pytest.approx(10 / 16)
    assert gini(np.array([[0, 1], [2, 3]]), 4) == 0
    assert gini(np.array([[3, -1], [3, -1]]), 4) == 1


@given(st.lists(st.integers(0, 20), min_size=2, max_size=8).filter(any))
def test_gini_is_half_the_relative_mean_difference(times):
    """Its other definition: the mean difference of two places drawn without repeats, over twice the mean."""
    lists = np.repeat(np.arange(len(times)), times)[:, None]
    pairs = list(combinations(times, 2))
    differences = sum(abs(first - second) for first, second in pairs) / len(pairs)
    assert gini(lists, len(times)) == pytest.approx(differences / (2 * np.mean(times)))


def test_mean_popularity_hand_worked():
    popularity = np.array([10, 4, 1, 0, 7])
    assert mean_popularity(LISTS, popularity).tolist() == [7, 5.5]
    found = mean_popularity(np.array([[3, -1], [-1, -1]]), popularity)
    assert found[0] == 0
    assert np.isnan(found[1])


ITEMS = pl.DataFrame(
    {"genres": [["Drama", "War"], ["Drama"], ["Comedy"], [], ["War", "Drama", "War"]]},
    schema={"genres": pl.List(pl.String)},
)


def test_diversity_hand_worked():
    genres = genre_flags(ITEMS)
    assert genres.toarray().sum(1).tolist() == [2, 1, 1, 0, 2]
    # Items 0 and 1 share one of two genres, 0 and 2 none, 0 and 4 all; item 3 has none, so a list with it counts less.
    lists = np.array([[0, 1, 2], [0, 4, -1], [3, 0, 2], [3, 1, -1], [-1, -1, -1]])
    found = intra_list_diversity(lists, genres)
    assert found[:3].tolist() == pytest.approx([(1 / 2 + 1 + 1) / 3, 0, 1])
    assert np.isnan(found[3:]).all()


def test_diversity_agrees_with_pairs_one_by_one(monkeypatch):
    rng = np.random.default_rng(0)
    sets = [set(rng.choice(6, rng.integers(0, 4), replace=False).tolist()) for _ in range(30)]
    genres = genre_flags(pl.DataFrame({"genres": [[f"g{name}" for name in own] for own in sets]}))
    lists = np.array([rng.permutation(30)[:7] for _ in range(40)])
    lists[rng.random(lists.shape) < 0.1] = -1
    expected = []
    for row in lists.tolist():
        known = [sets[item] for item in row if item >= 0 and sets[item]]
        distances = [1 - len(first & second) / len(first | second) for first, second in combinations(known, 2)]
        expected.append(np.mean(distances) if distances else np.nan)
    np.testing.assert_allclose(intra_list_diversity(lists, genres), expected, rtol=1e-6)
    monkeypatch.setattr("neucf.evaluation.beyond._CHUNK", 1)
    np.testing.assert_allclose(intra_list_diversity(lists, genres), expected, rtol=1e-6)


def test_what_is_not_known_has_no_number():
    assert genre_flags(None) is None
    assert genre_flags(ITEMS.with_columns(genres=pl.lit([], dtype=pl.List(pl.String)))) is None
    popularity = np.array([10, 4, 1, 0, 7])
    assert set(beyond_accuracy(LISTS, (1, 2), popularity)) == {
        f"{name}@{k}" for name in ("coverage", "gini", "popularity") for k in (1, 2)
    }
    # A list of one has no pairs.
    found = beyond_accuracy(LISTS, (1, 2), popularity, genre_flags(ITEMS))
    assert "diversity@1" not in found
    assert found["diversity@2"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["coverage@1"] == 2 / 5
    assert found["popularity@2"] == 6.25


def test_ranges_hand_worked():
    # Ten users; quarters end at 2.5, 5 and 7.5 of them. The middles: counts 1 at 1.5, 2 at 4, 5 at 6, 9 at 8.5.
    counts = np.array([1, 1, 1, 2, 2, 5, 5, 9, 9, 9, 0, 0])
    assert activity_ranges(counts) == [Range(0, 0), Range(1, 1), Range(2, 2), Range(5, 5), Range(9, 9)]
    # Of 20 rows, six items with one hold 6, middle 3; then 2, 3 and 9 have theirs at 7, 9.5 and 15.5.
    assert popularity_ranges(np.array([9, 3, 2, 1, 1, 1, 1, 1, 1, 0])) == [
        Range(0, 0), Range(1, 1), Range(2, 3), Range(9, 9)
    ]  # fmt: skip
    assert activity_ranges(np.zeros(3, int)) == [Range(0, 0)]
    assert [str(each) for each in (Range(0, 0), Range(3, 1200))] == ["0", "3\N{EN DASH}1,200"]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_ranges_hold_every_count_once(counts):
    for ranges in (activity_ranges(np.array(counts)), popularity_ranges(np.array(counts))):
        assert sum(bounds.holds(np.array(counts)).astype(int) for bounds in ranges).tolist() == [1] * len(counts)
        assert len(ranges) <= 5


def test_buckets_hand_worked():
    """User 3 is cold, the others have two rows each; item 5 is cold, item 0 has two rows, the others one each."""
    found = evaluate(Table(HAND_SCORES, HAND.train), HAND, "test", "full", (2,))
    (cold, (users, values)), (warm, (others, _)) = found.by_activity()
    assert (cold, users.tolist(), values["recall@2"].tolist()) == (Range(0, 0), [3], [1])
    assert (warm, others.tolist()) == (Range(2, 2), [0, 1, 2])
    (cold, group), (once, _), (twice, last) = found.by_popularity()
    # Item 5 is relevant to user 0 only, whose list is 2, 4.
    assert (cold, group[0].tolist(), group[1]["recall@2"].tolist()) == (Range(0, 0), [0], [0])
    assert (once, twice) == (Range(1, 1), Range(2, 2))
    # Item 0 has two training rows and is relevant to user 3 only, whose list begins with it.
    assert (last[0].tolist(), last[1]["ndcg@2"].tolist()) == ([3], [1])


def test_item_buckets_share_the_hits_out():
    """Over its buckets, a user's hits and relevant items add up to those of all."""
    split = random_split(7)
    model = Table(np.random.default_rng(1).random((30, 40)), split.train)
    found = evaluate(model, split, "test", "full", (10,))
    buckets = found.by_popularity()
    assert len(buckets) == 4
    hits = np.zeros(30)
    for _, (users, values) in buckets:
        hits[users] += 10 * values["precision@10"]
    assert hits[found.users].tolist() == pytest.approx((10 * found.values["precision@10"]).tolist())
    activity = found.by_activity()
    assert sorted(np.concatenate([users for _, (users, _) in activity])) == found.users.tolist()


def test_sampled_lists_are_judged_by_bucket_too_and_whole_lists_beyond():
    given = Candidates(users=np.array([0, 0]), positives=np.array([2, 5]), negatives=np.array([[1, 4], [1, 4]]))
    split = Split(HAND.train, HAND.valid, HAND.test, candidates=given)
    scores = np.array([[0, 5, 9, 0, 4, 1]] * 4)
    found = evaluate(Table(scores, HAND.train), split, "test", "sampled", (1,))
    (_, (_, cold)), (_, (_, warm)) = found.by_popularity()
    assert (cold["hit@1"].tolist(), warm["hit@1"].tolist(), found.values["hit@1"].tolist()) == ([0], [1], [0.5])
    # The whole catalogue is ranked for user 0: items 0, 1 and 3 are hidden, 2 comes first.
    assert found.listed().tolist() == [[2]]
    assert found.beyond_accuracy()["coverage@1"] == 1 / 6


def test_json_holds_buckets_and_lists():
    document = evaluate(Table(HAND_SCORES, HAND.train), HAND, "test", "full", (2,)).to_json(
        "none", 1, 0, genre_flags(ITEMS[[0, 1, 2, 3, 4, 4]])
    )
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    cold, warm = document["by_user_activity"]
    assert {key: cold[key] for key in ("low", "high", "num_users")} == {"low": 0, "high": 0, "num_users": 1}
    # Of one user there is no interval
    assert cold["metrics"]["recall@2"] == {"mean": 1}
    assert warm["metrics"]["recall@2"]["mean"] == 0.5
    assert [bucket["high"] for bucket in document["by_item_popularity"]] == [0, 1, 2]
    # Lists 2 4, 3 4, 0 1 and 0 1: five of six items. Diversity 1, none, 1/2, 1/2, where item 3 has no genre.
    assert document["beyond_accuracy"] == pytest.approx(
        {"coverage@2": 5 / 6, "gini@2": gini(np.array([[2, 4], [3, 4], [0, 1], [0, 1]]), 6), "popularity@2": 1.25,
         "diversity@2": 2 / 3}
    )  # fmt: skip


def test_users_held_out_are_as_active_as_their_history():
    split = Split(
        train=part([(0, 0), (0, 1)]), valid=None, test=part([(2, 2), (3, 5)]), test_history=part([(2, 1), (2, 0)])
    )
    found = evaluate(Table(HAND_SCORES, split.train), split, "test", "full", (1,))
    assert [(str(bounds), users.tolist()) for bounds, (users, _) in found.by_activity()] == [("0", [3]), ("2", [2])]
