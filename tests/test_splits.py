"""The ways to split, against scikit-learn, hand-worked rows and their properties."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from neucf.data.dataset import Dataset, ReadReport
from neucf.data.interactions import Interactions
from neucf.data.readers import read_dataset
from neucf.data.shares import WAYS, WAYS_WITH_SHARES, parse_spec
from neucf.data.splits import Candidates, Split
from neucf.data.splitting import split
from neucf.errors import ConfigError, DataError


def numbered(users, timestamps=None) -> Interactions:
    """Interactions whose item is the file row, so that parts can be told apart."""
    return Interactions.from_arrays(users, np.arange(len(users)), timestamps=timestamps)


def rows(part: Interactions | None) -> list[int]:
    return [] if part is None else part.items.tolist()


def parts(made: Split) -> list[Interactions]:
    every = (made.train, made.valid, made.test, made.valid_history, made.test_history)
    return [part for part in every if part is not None]


def dataset(interactions: Interactions, fixed: Split | None = None) -> Dataset:
    size = len(interactions)
    return Dataset(
        name="toy",
        interactions=interactions,
        below_threshold=interactions.take(np.zeros(size, bool)),
        below_k_core=interactions.take(np.zeros(size, bool)),
        items=None,
        fixed=fixed,
        report=ReadReport(rows=size, duplicates=0, below_threshold=0, below_k_core=0, positives=size),
    )


# --- random: scikit-learn is the oracle


@pytest.mark.parametrize("num_rows", [10, 11, 37, 100, 101, 999, 4_858, 48_580])
@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1])
def test_random_equals_the_lectures_two_calls_of_scikit_learn(num_rows, seed):
    train, held = train_test_split(np.arange(num_rows), test_size=0.2, random_state=seed)
    valid, test = train_test_split(held, test_size=0.5, random_state=seed)
    made = split(numbered(np.zeros(num_rows, int)), "random:0.8/0.1/0.1", seed)
    assert rows(made.train) == sorted(train)
    assert rows(made.valid) == sorted(valid)
    assert rows(made.test) == sorted(test)


@settings(max_examples=60, deadline=None)
@given(
    num_rows=st.integers(5, 3_000),
    hundredths=st.tuples(st.integers(1, 60), st.integers(1, 38)),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_shares_equal_scikit_learn(num_rows, hundredths, seed):
    valid_share, test_share = hundredths
    spec = f"random:{(100 - valid_share - test_share) / 100}/{valid_share / 100}/{test_share / 100}"
    try:
        train, held = train_test_split(
            np.arange(num_rows), test_size=(valid_share + test_share) / 100, random_state=seed
        )
        valid, test = train_test_split(held, test_size=test_share / (valid_share + test_share), random_state=seed)
    except ValueError:  # a part would be empty
        with pytest.raises(DataError):
            split(numbered(np.zeros(num_rows, int)), spec, seed)
        return
    made = split(numbered(np.zeros(num_rows, int)), spec, seed)
    assert (rows(made.train), rows(made.valid), rows(made.test)) == (sorted(train), sorted(valid), sorted(test))


@pytest.mark.parametrize("seed", [0, 7])
def test_random_without_validation_is_one_call_of_scikit_learn(seed):
    train, test = train_test_split(np.arange(333), test_size=0.3, random_state=seed)
    made = split(numbered(np.zeros(333, int)), "random:0.7/0/0.3", seed)
    assert made.valid is None
    assert rows(made.train) == sorted(train)
    assert rows(made.test) == sorted(test)


# --- hand-worked rows


def test_temporal_cuts_everything_once_and_breaks_ties_by_file_row():
    #                    row: 0  1  2  3  4  5  6  7  8  9
    data = numbered(np.arange(10) % 2, timestamps=[9, 1, 5, 5, 5, 5, 2, 8, 0, 3])
    made = split(data, "temporal:0.6/0.2/0.2")
    # In time: 8 1 6 9 2 3 | 4 5 | 7 0
    assert rows(made.train) == [1, 2, 3, 6, 8, 9]
    assert rows(made.valid) == [4, 5]
    assert rows(made.test) == [0, 7]


def test_temporal_user_cuts_each_history():
    data = numbered([0, 1, 0, 0, 0, 0, 1, 2], timestamps=[5, 3, 1, 4, 4, 2, 3, 9])
    made = split(data, "temporal-user:0.6/0.2/0.2")
    # User 0 in time: 2 5 3 | 4 | 0 (4 after 3: equal times by row). User 1, two rows: 1 | 6 test. User 2 has one row.
    assert rows(made.train) == [1, 2, 3, 5, 7]
    assert rows(made.valid) == [4]
    assert rows(made.test) == [0, 6]
    assert made.notes == ("1 user with a single interaction is in train only.",)


def test_leave_last_out_takes_the_last_two_by_time():
    data = numbered([0, 0, 0, 0, 1, 1, 2, 2, 2, 3], timestamps=[4, 9, 1, 7, 5, 6, 3, 3, 3, 1])
    made = split(data, "leave-last-out")
    assert rows(made.test) == [1, 8]
    assert rows(made.valid) == [3, 7]
    assert rows(made.train) == [0, 2, 4, 5, 6, 9]
    assert made.notes == ("2 users with fewer than three interactions are in train only.",)


def test_leave_last_out_without_times_is_a_seeded_choice():
    data = numbered(np.repeat(np.arange(50), 10))
    one, same, other = (split(data, "leave-last-out", seed) for seed in (1, 1, 2))
    assert rows(one.test) == rows(same.test) != rows(other.test)
    for part in (one.valid, one.test):
        assert part.users.tolist() == list(range(50))
    assert "chosen at random" in one.notes[-1]
    # Not always the same place in the history: 50 choices among 10 places all equal has probability 10^-49.
    assert len(set(np.array(rows(one.test)) % 10)) > 3


def test_random_user_holds_a_share_of_every_history():
    users = np.repeat(np.arange(40), np.arange(1, 41))
    made = split(numbered(users), "random-user:0.75/0/0.25")
    held = np.bincount(made.test.users, minlength=40)
    # A quarter rounded up, but never a user's only row.
    assert held.tolist() == [0, *(-(-size // 4) for size in range(2, 41))]
    assert (np.bincount(made.train.users, minlength=40) > 0).all()


def test_users_holds_out_whole_users_with_four_fifths_as_history():
    users = np.concatenate([np.repeat(np.arange(50), 12), [50, 51]])
    made = split(numbered(users), "users:0.8/0.1/0.1", 3)
    train, valid, test = (set(part.users.tolist()) for part in (made.train, made.valid, made.test))
    assert len(train) + len(valid) + len(test) == len(train | valid | test)
    assert (len(train), len(valid), len(test)) == (40 + 2, 5, 5)
    assert {50, 51} <= train
    assert made.notes == ("2 users with a single interaction are in train.",)
    for part, history in ((made.valid, made.valid_history), (made.test, made.test_history)):
        assert set(part.users.tolist()) == set(history.users.tolist())
        # A fifth of 12, rounded up.
        assert set(np.bincount(part.users)) == {0, 3}
        assert set(np.bincount(history.users)) == {0, 9}


def test_users_with_two_rows_are_known_by_one_and_asked_for_the_other():
    made = split(numbered(np.repeat(np.arange(10), 2)), "users:0.8/0.1/0.1")
    assert len(made.test) == len(made.test_history) == len(made.valid) == len(made.valid_history) == 1


def test_none_trains_on_everything():
    data = numbered([0, 1, 2])
    made = split(data, "none")
    assert made.train is data
    assert made.valid is made.test is None


# --- fixed, and carving validation


@pytest.fixture
def published() -> Dataset:
    #                 row: 0  1  2  3  4  5  6  7  8
    data = numbered([0, 0, 0, 1, 1, 2, 0, 1, 2], timestamps=[5, 7, 6, 2, 2, 1, 9, 9, 9])
    train, test = data.take(np.arange(6)), data.take(np.arange(6, 9))
    candidates = Candidates(test.users, test.items, np.full((3, 2), -1, np.int32))
    return dataset(data, Split(train, None, test, candidates=candidates, notes=("As published.",)))


def test_fixed_carves_the_latest_item_where_times_are_known(published):
    made = split(published, "fixed")
    assert rows(made.valid) == [1, 4]
    assert rows(made.train) == [0, 2, 3, 5]
    assert made.test is published.fixed.test
    assert made.candidates is published.fixed.candidates
    assert made.notes == (
        "As published.",
        "Validation is carved from train by latest-item.",
        "1 user with a single training interaction is not in validation.",
    )


def test_fixed_carves_a_tenth_at_random_where_they_are_not(published):
    untimed = replace(published.fixed, train=numbered(np.arange(40) % 4))
    made = split(replace(published, fixed=untimed), "fixed", 5)
    assert len(made.valid) == 4
    assert sorted(rows(made.train) + rows(made.valid)) == list(range(40))
    again = split(replace(published, fixed=untimed), "fixed", 5, valid="random:0.1")
    assert rows(again.valid) == rows(made.valid)
    other = split(replace(published, fixed=untimed), "fixed", 6)
    assert rows(other.valid) != rows(made.valid)


def test_valid_carves_in_any_split_without_validation():
    data = numbered(np.repeat(np.arange(20), 10), timestamps=np.tile(np.arange(10), 20))
    bare = split(data, "random-user:0.8/0/0.2")
    made = split(data, "random-user:0.8/0/0.2", valid="latest-item")
    assert bare.valid is None
    assert rows(made.test) == rows(bare.test)
    train = np.array(rows(bare.train)).reshape(20, 8)
    assert rows(made.valid) == train[:, -1].tolist()
    assert rows(made.train) == train[:, :-1].ravel().tolist()
    assert len(split(data, "none", valid="random:0.25").valid) == 50


def test_last_carves_the_end_of_each_history_by_time_or_as_the_file_has_it():
    # Rows 0..9 are user 0's, 10..12 user 1's, 13 user 2's, whose only one stays in train.
    users = [0] * 10 + [1] * 3 + [2]
    assert rows(split(numbered(users), "none", valid="last:0.2").valid) == [8, 9, 12]
    backwards = numbered(users, timestamps=-np.arange(14))
    made = split(backwards, "none", valid="last:0.2")
    assert rows(made.valid) == [0, 1, 10]
    assert rows(made.train) == [2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13]
    assert "1 user with a single training interaction is not in validation." in made.notes
    # Nobody is left without a train row, however large the share.
    assert rows(split(numbered(users), "none", valid="last:0.99").train) == [0, 10, 13]


# --- what is refused


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("rndom:0.8/0.1/0.1", "Did you mean 'random'?"),
        ("", "must be one of random, random-user"),
        ("random", "three shares"),
        ("random:", "three shares"),
        ("random:0.8/0.2", "three shares"),
        ("random:0.7/0.1/0.1/0.1", "three shares"),
        ("random:80/10/10", "in 0..1; got '80'"),
        ("random:1.1/-0.2/0.1", "in 0..1; got '1.1'"),
        ("random:0.9/-0.1/0.2", "in 0..1; got '-0.1'"),
        ("random:0.8/0.1/x", "in 0..1; got 'x'"),
        ("random:0.8/0.1/nan", "in 0..1; got 'nan'"),
        ("random:0.8/0.1/", "in 0..1; got ''"),
        ("temporal:0.8/0.2/0.2", "sum to 1; got 'temporal:0.8/0.2/0.2', with sum 1.2"),
        ("temporal:0.8/0.1/0.05", "with sum 0.95"),
        ("users:0/0.5/0.5", "share for train"),
        ("none:0.8/0.1/0.1", "takes no shares"),
        ("leave-last-out:", "takes no shares"),
    ],
)
def test_bad_specs_are_refused_with_the_rule(spec, words):
    with pytest.raises(ConfigError, match="`split`") as caught:
        split(numbered([0, 1]), spec)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "valid",
    [
        "latest",
        "last",
        "last:0",
        "latest:0.1",
        "random",
        "random:",
        "random:0",
        "random:1",
        "random:1.5",
        "random:nan",
        "",
    ],
)
def test_bad_valid_is_refused(valid):
    with pytest.raises(ConfigError, match="`valid` must be latest-item, last:SHARE or random:SHARE"):
        split(numbered([0] * 10), "none", valid=valid)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(ConfigError, match="`split_seed`"):
        split(numbered([0] * 10), "random:0.8/0.1/0.1", seed)


@pytest.mark.parametrize("spec", ["random:0.8/0.1/0.1", "leave-last-out"])
def test_valid_beside_a_validation_share_is_refused(spec):
    with pytest.raises(ConfigError, match="no validation part"):
        split(numbered([0] * 10), spec, valid="random:0.1")


@pytest.mark.parametrize(
    ("spec", "fix"),
    [("temporal:0.8/0.1/0.1", "random:0.8/0.1/0.1"), ("temporal-user:0.8/0.1/0.1", "random-user:0.8/0.1/0.1")],
)
def test_time_without_timestamps_is_refused_with_the_fix(spec, fix):
    with pytest.raises(DataError, match=f"needs timestamps.*--time-col.*or use {fix}"):
        split(numbered([0] * 10), spec)
    with pytest.raises(DataError, match=r"`valid` latest-item needs timestamps.*or use random:0.1"):
        split(numbered([0] * 10), "none", valid="latest-item")


def test_fixed_without_a_published_split_is_refused(published):
    for data in (published.interactions, replace(published, fixed=None)):
        with pytest.raises(DataError, match="needs a data set with a published split"):
            split(data, "fixed")


@pytest.mark.parametrize("spec", [f"{way}:0.8/0.1/0.1" for way in WAYS_WITH_SHARES] + ["leave-last-out"])
@pytest.mark.parametrize("size", [0, 1, 2])
def test_an_empty_part_is_refused(spec, size):
    data = Interactions.from_arrays(
        np.zeros(size, int), np.arange(size), timestamps=np.zeros(size, int), user_ids=range(2), item_ids=range(3)
    )
    with pytest.raises(DataError, match="leaves no"):
        split(data, spec)


def test_carving_everything_or_nothing_is_refused():
    with pytest.raises(DataError, match=r"`valid` random:0\.5 leaves no train rows"):
        split(numbered([0]), "none", valid="random:0.5")
    with pytest.raises(DataError, match="`valid` latest-item leaves no validation rows"):
        split(numbered([0, 1], timestamps=[1, 2]), "none", valid="latest-item")


def test_shares_are_exact_decimals():
    # 0.1 + 0.2 is 0.30000000000000004 in floats, which would round 3 of 10 up to 4.
    _, shares = parse_spec("random:0.7/0.1/0.2")
    assert [int(size) for size in shares.sizes(10)] == [1, 2]


# --- properties


@st.composite
def interactions(draw) -> Interactions:
    users = draw(st.lists(st.integers(0, 8), min_size=40, max_size=80))
    times = draw(st.none() | st.lists(st.integers(0, 20), min_size=len(users), max_size=len(users)))
    return Interactions.from_arrays(
        users, np.arange(len(users)), timestamps=times, user_ids=[f"u{x}" for x in range(10)], item_ids=range(100)
    )


@settings(max_examples=150, deadline=None)
@given(data=interactions(), way=st.sampled_from(sorted(set(WAYS) - {"fixed"})), seed=st.integers(0, 2**32 - 1))
def test_parts_are_disjoint_cover_everything_and_keep_file_order(data, way, seed):
    spec = f"{way}:0.6/0.2/0.2" if way in WAYS_WITH_SHARES else way
    if way.startswith("temporal") and data.timestamps is None:
        data = replace(data, timestamps=np.zeros(len(data), np.int64))
    # Fewer than five could leave no user for one of the parts.
    assume(way != "users" or (np.bincount(data.users) >= 2).sum() >= 5)
    made = split(data, spec, seed)
    every = [rows(part) for part in parts(made)]
    assert sorted(chain(*every)) == list(range(len(data)))
    assert all(part == sorted(part) for part in every)
    for part in parts(made):
        assert part.user_ids is data.user_ids
        assert part.item_ids is data.item_ids
        assert (part.users == data.users[part.items]).all()
        assert data.timestamps is None or (part.timestamps == data.timestamps[part.items]).all()
    again = split(data, spec, seed)
    assert [rows(part) for part in parts(again)] == every
    if way in ("random-user", "temporal-user") or way == "leave-last-out":
        assert set(made.train.users) == set(data.users)


@settings(max_examples=60, deadline=None)
@given(data=interactions(), way=st.sampled_from(["temporal", "temporal-user", "leave-last-out"]))
def test_test_follows_validation_follows_train_in_time(data, way):
    if data.timestamps is None:
        data = replace(data, timestamps=np.arange(len(data))[::-1].copy())
    made = split(data, way if way == "leave-last-out" else f"{way}:0.6/0.2/0.2")
    owners = np.zeros(len(data), int) if way == "temporal" else data.users
    for owner in np.unique(owners):
        times = [part.timestamps[owners[part.items] == owner] for part in (made.train, made.valid, made.test)]
        present = [part for part in times if len(part)]
        assert all(before.max() <= after.min() for before, after in pairwise(present))


# --- real data


@pytest.mark.data
def test_the_lectures_split_of_ml_latest_small(data_dir: Path):
    data = read_dataset("ml-latest-small").interactions
    made = split(data, "random:0.8/0.1/0.1")
    assert [len(part) for part in parts(made)] == [38_864, 4_858, 4_858]
    positives = pl.read_csv(data_dir / "ml-latest-small" / "ratings.csv").filter(pl.col("rating") >= 4)
    train, held = train_test_split(np.arange(48_580), test_size=0.2, random_state=1)
    valid, test = train_test_split(held, test_size=0.5, random_state=1)
    for part, chosen in zip(parts(made), (train, valid, test), strict=True):
        expected = positives[np.sort(chosen)]
        assert data.user_ids.series.gather(part.users).to_list() == expected["userId"].to_list()
        assert data.item_ids.series.gather(part.items).to_list() == expected["movieId"].to_list()


@pytest.mark.data
def test_fixed_takes_each_users_latest_train_item_of_ncf_ml_1m(data_dir: Path):
    data = read_dataset("ncf-ml-1m")
    made = split(data, "fixed")
    assert [len(part) for part in parts(made)] == [994_169 - 6_040, 6_040, 6_040]
    assert made.valid.users.tolist() == list(range(6_040))
    assert len(made.candidates.users) == 6_040
    # The file of whole histories in time order, its test item taken out, ends in the validation item. The catalogue
    # stands in the order of the paper's ids, so its indices are those ids.
    test_item = dict(zip(made.test.users.tolist(), made.test.items.tolist(), strict=True))
    lines = (data_dir / "ncf-ml-1m" / "ml-1m.chrono.users").read_text().splitlines()
    for line, item in zip(lines, made.valid.items.tolist(), strict=True):
        user, *history = map(int, line.split())
        assert [one for one in history if one != test_item[user]][-1] == item


@pytest.mark.data
@pytest.mark.usefixtures("data_dir")
def test_fixed_takes_a_tenth_of_gowalla_at_random():
    made = split(read_dataset("gowalla"), "fixed")
    assert [len(part) for part in parts(made)] == [810_128 - 81_013, 81_013, 217_242]
    assert made.notes == ("Validation is carved from train by random:0.1.",)


def test_a_pair_that_stands_twice_is_refused() -> None:
    # The last item of a user is the first of the next, which is no repeat.
    split(Interactions.from_arrays([0, 1, 1], [2, 2, 3]), "random:0.4/0.3/0.3")
    with pytest.raises(DataError, match="each pair once; got user 1 with item 2 more than once"):
        split(Interactions.from_arrays([0, 1, 1, 1], [2, 2, 3, 2]), "random:0.4/0.3/0.3")


def test_data_without_positives_say_what_left_none() -> None:
    data = read_dataset(pl.DataFrame({"user": [1], "item": [1], "rating": [3.0]}), min_rating=4)
    with pytest.raises(DataError, match="1 rows were read and none is left"):
        split(data, "random:0.8/0.1/0.1")


@pytest.mark.parametrize("data", [None, pl.DataFrame({"user": [1]}), np.eye(2)])
def test_what_is_no_data_set_is_refused(data):
    with pytest.raises(DataError, match="`data` must be a Dataset or Interactions; got"):
        split(data, "none")
    with pytest.raises(ConfigError, match="`split` must be one of"):
        split(Interactions.from_arrays([0], [0]), None)
