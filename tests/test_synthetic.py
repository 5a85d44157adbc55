"""Synthetic data: drawn by the chances it claims, so that its affinity is the ranking to beat."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import polars as pl
import pytest

from neucf.data.splitting import split
from neucf.data.synthetic import Synthetic, synthetic
from neucf.errors import ConfigError


@pytest.fixture(scope="module")
def small() -> Synthetic:
    return synthetic(1_000, 500, 30_000, seed=3, threads=1)


def histories(made: Synthetic, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Users with at least `length` rows, and the first `length` items of each, in order."""
    data = made.dataset.interactions
    counts = np.bincount(data.users, minlength=data.num_users)
    users = np.flatnonzero(counts >= length)
    starts = np.searchsorted(data.users, users)
    return users, data.items[starts[:, None] + np.arange(length)]


def assert_counts_agree(counts, chances):
    """counts (I,) of independent users' events with chances (U, I): within 4.5 standard deviations each."""
    deviation = np.sqrt((chances * (1 - chances)).sum(axis=0))
    assert (np.abs(counts - chances.sum(axis=0)) < 4.5 * deviation + 1e-9).all()


def test_first_draws_follow_the_planted_chances():
    made = synthetic(20_000, 60, 60_000, seed=1, dim=5)
    users, first = histories(made, 1)
    chances = made.affinity(users).astype(np.float64)
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-5)
    assert_counts_agree(np.bincount(first[:, 0], minlength=60), chances)
    # Among the users whose favourite topic is the same, too: the chances are a user's own.
    favourite = made.tastes[users, :-1].argmax(axis=1)
    for topic in range(5):
        of_topic = favourite == topic
        assert_counts_agree(np.bincount(first[of_topic, 0], minlength=60), chances[of_topic])


@pytest.mark.parametrize("num_items", [6, 7])
def test_whole_histories_follow_the_law_of_draws_without_replacement(num_items):
    # Half the catalogue each, so that the last items come from what is left of it; every sequence is enumerated.
    made = synthetic(6_000, num_items, 18_000, seed=5, dim=2)
    users, drawn = histories(made, 3)
    assert len(users) == 6_000
    affinity = made.affinity(users).astype(np.float64)
    held = np.zeros((len(users), num_items))
    for one, two, three in permutations(range(num_items), 3):
        first, second, third = affinity[:, one], affinity[:, two], affinity[:, three]
        chance = first * second / (1 - first) * third / (1 - first - second)
        for item in (one, two, three):
            held[:, item] += chance
    assert_counts_agree(np.bincount(drawn.ravel(), minlength=num_items), held)


def test_someone_who_takes_half_of_everything_takes_the_likelier_half_more_often():
    made = synthetic(400, 200, 40_000, seed=2, threads=1)
    data = made.dataset.interactions
    assert (np.bincount(data.users) == 100).all()
    touched = data.csr().toarray() > 0
    assert touched.sum() == 40_000
    above = made.affinity(np.arange(400)) > np.median(made.affinity(np.arange(400)), axis=1, keepdims=True)
    assert touched[above].mean() > 0.7 > 0.3 > touched[~above].mean()


def test_the_true_affinity_ranks_far_better_than_popularity(small):
    made = split(small.dataset, "random:0.8/0/0.2", 1)
    train, test = made.train.csr().toarray() > 0, made.test.csr().toarray() > 0
    users = np.flatnonzero(test.any(axis=1))

    def recall(scores):
        top = np.argpartition(-np.where(train, -np.inf, scores), 20, axis=1)[:, :20]
        hits = np.take_along_axis(test, top, axis=1).sum(axis=1)
        return (hits[users] / np.minimum(test.sum(axis=1)[users], 20)).mean()

    best = recall(small.affinity(np.arange(1_000)))
    popular = recall(np.broadcast_to(train.sum(axis=0, dtype=np.float64), train.shape))
    assert best > 1.5 * popular > 0.0


def test_numbers_are_as_asked_and_pairs_distinct(small):
    data = small.dataset.interactions
    assert (data.num_users, data.num_items, len(data)) == (1_000, 500, 30_000)
    assert len(np.unique(data.users.astype(np.int64) * 500 + data.items)) == 30_000
    assert (np.bincount(data.users, minlength=1_000) >= 3).all()
    assert data.user_ids.series.to_list() == list(range(1, 1_001))
    assert data.item_ids.series.to_list() == list(range(1, 501))
    assert small.dataset.report.positives == 30_000
    assert len(small.dataset.below_threshold) == 0
    assert small.dataset.below_threshold.item_ids is data.item_ids


def test_popularity_and_activity_are_long_tailed(small):
    data = small.dataset.interactions
    for counts in (np.bincount(data.items, minlength=500), np.bincount(data.users, minlength=1_000)):
        busiest = np.sort(counts)[::-1][: len(counts) // 10]
        assert busiest.sum() > 0.25 * 30_000
        assert counts.mean() > 1.15 * np.median(counts)


def test_histories_stand_in_order_of_time(small):
    data = small.dataset.interactions
    assert (np.diff(data.users) >= 0).all()
    same_user = np.diff(data.users) == 0
    assert (np.diff(data.timestamps)[same_user] > 0).all()
    # 2014 to 2025 in seconds.
    assert 1.4e9 <= data.timestamps.min() <= data.timestamps.max() < 1.75e9


def test_genres_are_the_topics_that_users_like(small):
    genres = [set(of_item) for of_item in small.dataset.items["genres"].to_list()]
    belongs = small.topics[:-1] > 0
    assert belongs.sum(axis=0).tolist() == [len(of_item) for of_item in genres]
    # One genre is common to all items of a topic: its name.
    names = [set.intersection(*(genres[item] for item in np.flatnonzero(topic))) for topic in belongs]
    assert all(len(name) == 1 for name in names)
    assert len(set.union(*names)) == 16

    users, first = histories(small, 1)
    favourite, strength = small.tastes[users, :-1].argmax(axis=1), small.tastes[users, :-1].max(axis=1)
    devoted = strength > 0.5
    matches = belongs[favourite, first[:, 0]][devoted]
    assert len(matches) > 100
    # A first item comes from the favourite topic with a chance over .5; 4.5 standard deviations below that.
    assert matches.mean() > 0.5 - 4.5 * np.sqrt(0.5 * 0.5 / len(matches))


def test_items_have_titles_years_and_genres(small):
    items = small.dataset.items
    assert items.columns == ["item_id", "title", "year", "genres"]
    assert items["item_id"].to_list() == list(range(1, 501))
    assert items["title"].n_unique() == 500
    assert items["title"].str.contains(r"^[A-Z][a-z]+ [A-Z].+$").all()
    assert items["year"].is_between(1920, 2020).all()
    assert items["genres"].dtype == pl.List(pl.String)
    assert set(items["genres"].list.len()) == {1, 2}
    assert (items["genres"].list.n_unique() == items["genres"].list.len()).all()


def test_seed_decides_everything_and_threads_nothing():
    one, same, other = (
        synthetic(9_000, 50, 40_000, seed=seed, threads=threads) for seed, threads in ((7, 1), (7, 3), (8, 1))
    )
    assert one.dataset.interactions.sha256() == same.dataset.interactions.sha256()
    assert one.dataset.interactions.sha256() != other.dataset.interactions.sha256()
    assert one.dataset.items.equals(same.dataset.items)
    assert not one.dataset.items.equals(other.dataset.items)


@pytest.mark.parametrize(
    ("users", "items", "interactions", "dim"), [(1, 1, 1, 1), (5, 1, 2, 1), (3, 2, 3, 2), (2, 40, 40, 30)]
)
def test_tiny_sizes_work(users, items, interactions, dim):
    made = synthetic(users, items, interactions, seed=0, dim=dim)
    assert len(made.dataset.interactions) == interactions
    assert made.affinity([users - 1]).shape == (1, items)
    assert len(made.dataset.items) == items
    assert made.topics.shape == (dim + 1, items)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_users": 0}, "`num_users` must be in 1"),
        ({"num_items": 0}, "`num_items` must be in 1"),
        ({"num_interactions": 51}, r"`num_interactions` must be in 1\.\.50 \(half of all pairs\); got 51"),
        ({"num_interactions": 0}, "`num_interactions`"),
        ({"dim": 11}, r"`dim` must be in 1\.\.10"),
        ({"dim": 0}, "`dim`"),
        ({"seed": -1}, "`seed`"),
    ],
)
def test_numbers_out_of_range_are_refused(change, words):
    asked = {"num_users": 10, "num_items": 10, "num_interactions": 20, "seed": 0, "dim": 4} | change
    with pytest.raises(ConfigError, match=words):
        synthetic(**asked)


def test_write_parquet_writes_external_ids(small, tmp_path):
    path = tmp_path / "events.parquet"
    small.write_parquet(path)
    read = pl.read_parquet(path)
    data = small.dataset.interactions
    assert read.columns == ["user_id", "item_id", "timestamp"]
    assert read["user_id"].to_list() == [data.user_ids[user] for user in data.users]
    assert read["item_id"].to_list() == [data.item_ids[item] for item in data.items]
    assert (read["timestamp"].to_numpy() == data.timestamps).all()
