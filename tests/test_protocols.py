"""Both protocols against hand-worked values, a brute-force oracle, chance, and the published popularity figure."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from handmade import HAND, HAND_SCORES, Table, part, random_split

from neucf.data.interactions import Interactions
from neucf.data.splits import Candidates, Split
from neucf.errors import ConfigError, DataError, TrainingError
from neucf.evaluation import evaluate, full_ranking, sampled_candidates
from neucf.evaluation.candidates import clean, drawn
from neucf.models.popularity import Popularity


def test_full_ranking_hand_worked():
    """Test masks train and valid: user 0 gets 2 4 5, user 1 gets 3 4 5, user 2 gets 0 1 3 5, user 3 gets 0 1 2."""
    found = full_ranking(Table(HAND_SCORES, HAND.train), HAND, on="test", ks=(2, 3))
    assert found.users.tolist() == [0, 1, 2, 3]
    assert found.values["recall@2"].tolist() == [0.5, 1, 0, 1]
    assert found.values["recall@3"].tolist() == [1, 1, 1, 1]
    assert found.values["precision@3"].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert found.values["mrr@3"].tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1])
    second = 1 / np.log2(3)
    assert found.values["ndcg@2"].tolist() == pytest.approx([1 / (1 + second), second, 0, 1])
    assert found.mean("recall@2") == 0.625
    assert (found.num_users, found.num_cold_users, found.num_relevant) == (4, 1, 5)
    assert (found.num_cold_relevant, found.num_cold_items) == (1, 1)


def test_warm_users_and_warm_items_hand_worked():
    """Without user 3; and with item 5 relevant to nobody, user 0 is left with one relevant item, ranked first."""
    found = full_ranking(Table(HAND_SCORES, HAND.train), HAND, on="test", ks=(2,))
    assert found.warm_users[0].tolist() == [0, 1, 2]
    assert found.mean("recall@2", "warm_users") == 0.5
    assert found.warm_items[0].tolist() == [0, 1, 2, 3]
    assert found.group("warm_items")["recall@2"].tolist() == [1, 1, 0, 1]
    assert found.group("warm_items")["ndcg@2"].tolist() == pytest.approx([1, 1 / np.log2(3), 0, 1])


def test_what_a_model_trained_anew_knows_is_counted():
    train = HAND.train_and_valid
    found = full_ranking(Popularity().fit(train), HAND, on="test", ks=(2,))
    assert found.activity.tolist() == np.bincount(train.users, minlength=4).tolist()
    assert found.popularity.tolist() == np.bincount(train.items, minlength=6).tolist()
    # What others call train is another thing
    other = Table(HAND_SCORES, HAND.train)
    other.train = other.score
    assert full_ranking(other, HAND, on="test", ks=(2,)).activity.tolist() != found.activity.tolist()
    before = full_ranking(Popularity().fit(HAND.train), HAND, on="test", ks=(2,))
    assert before.activity.tolist() == np.bincount(HAND.train.users, minlength=4).tolist() != found.activity.tolist()


def test_a_model_is_not_judged_by_what_it_was_trained_on():
    anew = Popularity().fit(HAND.train_and_valid)
    with pytest.raises(DataError, match=rf"{len(HAND.valid)} of the {len(HAND.valid)} valid rows are among"):
        evaluate(anew, HAND, "valid")
    other = replace(HAND, train=HAND.valid, test=HAND.train, valid=None)
    with pytest.raises(DataError, match="test rows are among its training rows"):
        evaluate(Popularity().fit(HAND.train), other, protocol="sampled")


@pytest.mark.parametrize("ks", [np.array([2, 3]), {2, 3}, range(2, 4), (np.int64(3), 2, 2)])
def test_list_lengths_may_stand_in_any_collection(ks):
    assert evaluate(Table(HAND_SCORES, HAND.train), HAND, ks=ks).ks == (2, 3)


@pytest.mark.parametrize("ks", [(True,), (1.5,), 5, np.array(5), (), "20", None])
def test_what_are_no_list_lengths_is_refused(ks):
    with pytest.raises(ConfigError, match="`ks` must hold list lengths"):
        evaluate(Table(HAND_SCORES, HAND.train), HAND, ks=ks)


def test_what_is_no_model_or_no_split_is_named():
    for model, got in (("mf", "str"), (Popularity, "Popularity"), (HAND, "Split")):
        with pytest.raises(ConfigError, match=f"`model` must be a fitted model; got {got}"):
            evaluate(model, HAND)
    with pytest.raises(DataError, match="`split` must be a Split; got Interactions"):
        evaluate(Table(HAND_SCORES, HAND.train), HAND.train)


def test_a_frame_names_users_by_the_users_vocabulary():
    found = evaluate(Table(HAND_SCORES, HAND.train), HAND)
    assert found.frame(HAND.train.user_ids).height == found.num_users
    for wrong in (HAND.train.item_ids, None):
        with pytest.raises(DataError, match="`user_ids` must be the model's vocabulary of 4 users"):
            found.frame(wrong)


def test_a_k_beyond_any_list_costs_no_memory():
    found = full_ranking(Table(HAND_SCORES, HAND.train), HAND, on="test", ks=(2, 2**31 - 1))
    assert found.mean(f"ndcg@{2**31 - 1}") > found.mean("ndcg@2")
    with pytest.raises(ConfigError, match="`ks` must hold list lengths"):
        full_ranking(Table(HAND_SCORES, HAND.train), HAND, on="test", ks=(10**20,))


def test_full_ranking_on_valid_masks_train_alone():
    found = full_ranking(Table(HAND_SCORES, HAND.train), HAND, on="valid", ks=(1,))
    assert found.users.tolist() == [0, 1]
    assert found.values["hit@1"].tolist() == [1, 1]


def test_users_held_out_are_scored_by_their_history_and_never_shown_it():
    split = Split(
        train=part([(0, 0), (0, 1)]),
        valid=None,
        test=part([(2, 2), (3, 5)]),
        test_history=part([(2, 1), (2, 0), (3, 4)]),
    )
    model = Table(np.full((4, 6), np.nan), split.train)  # any use of `score` would end in an error
    found = full_ranking(model, split, on="test", ks=(1,))
    assert found.values["hit@1"].tolist() == [1, 1]
    assert (found.num_cold_users, found.num_cold_items) == (0, 2)
    sampled = sampled_candidates(model, split, on="test", ks=(1,), num_negatives=3)
    assert sampled.values["hit@1"].tolist() == [1, 1]


@pytest.mark.parametrize("on", ["valid", "test"])
def test_full_ranking_agrees_with_brute_force(on):
    split = random_split(1)
    scores = np.random.default_rng(2).permutation(30 * 40).reshape(30, 40)
    found = full_ranking(Table(scores, split.train), split, on=on, ks=(3, 10))
    expected = {}
    for user in range(30):
        relevant = set(getattr(split, on).items[getattr(split, on).users == user].tolist())
        hidden = set(split.train.items[split.train.users == user].tolist())
        if on == "test":
            hidden |= set(split.valid.items[split.valid.users == user].tolist())
        if relevant:
            ranking = sorted(set(range(40)) - hidden, key=lambda item: -scores[user, item])
            expected[user] = [len(relevant & set(ranking[:k])) / len(relevant) for k in (3, 10)]
    assert found.users.tolist() == list(expected)
    assert found.values["recall@3"].tolist() == pytest.approx([three for three, _ in expected.values()])
    assert found.values["recall@10"].tolist() == pytest.approx([ten for _, ten in expected.values()])


def test_a_constant_scorer_gets_what_chance_gets():
    split = random_split(3, num_users=800, num_items=40)
    found = full_ranking(Table(np.zeros((800, 40)), split.train), split, on="test", ks=(5,))
    known = np.zeros((800, 40), bool)
    for each in (split.train, split.valid):
        known[each.users, each.items] = True
    # A random list of 5 from the free items holds each of them with probability 5 / free.
    chance = 5 / (40 - known[found.users].sum(1))
    error = found.values["recall@5"].std() / np.sqrt(found.num_users)
    assert abs(found.mean("recall@5") - chance.mean()) < 4 * error


def test_a_repeated_test_row_counts_once():
    split = Split(part([(0, 1)]), None, part([(0, 2), (0, 2), (0, 3)]))
    found = full_ranking(Table(HAND_SCORES, split.train), split, on="test", ks=(2,))
    assert found.values["recall@2"].tolist() == [0.5]


def test_k_beyond_a_small_catalogue_is_a_list_that_ends_early():
    found = full_ranking(Table(HAND_SCORES, HAND.train), HAND, on="test", ks=(20,))
    assert found.values["recall@20"].tolist() == [1, 1, 1, 1]
    assert found.values["precision@20"].tolist() == [0.1, 0.05, 0.05, 0.05]


GIVEN = Candidates(
    users=np.array([0, 0, 1]), positives=np.array([2, 5, 4]), negatives=np.array([[1, 4, 4], [5, 4, 1], [0, 3, -1]])
)


def test_cleaning_drops_the_own_positive_and_repeats():
    assert clean(GIVEN).negatives.tolist() == [[1, 4, -1], [-1, 4, 1], [0, 3, -1]]
    assert GIVEN.negatives.tolist()[0] == [1, 4, 4]


@pytest.mark.parametrize(
    ("ties", "expected_hit", "expected_ndcg", "expected_mrr"),
    [
        # User 0: its positives rank 1 of 3 and 3 of 3. User 1: 2 candidates, one higher and one tied: rank 2 or 3.
        ("optimistic", [0.5, 1], [0.5, 1 / np.log2(3)], [2 / 3, 1 / 2]),
        ("pessimistic", [0.5, 0], [0.5, 0], [2 / 3, 1 / 3]),
        ("average", [0.5, 0.5], [0.5, 0.5 / np.log2(3)], [2 / 3, (1 / 2 + 1 / 3) / 2]),
    ],
)
def test_given_candidates_hand_worked(ties, expected_hit, expected_ndcg, expected_mrr):
    scores = np.array([[0, 5, 9, 0, 4, 1], [9, 0, 0, 7, 7, 0], [0] * 6, [0] * 6])
    split = replace(HAND, candidates=GIVEN)
    found = sampled_candidates(Table(scores, HAND.train), split, on="test", ks=(2,), ties=ties)
    assert found.users.tolist() == [0, 1]
    assert found.values["hit@2"].tolist() == pytest.approx(expected_hit)
    assert found.values["ndcg@2"].tolist() == pytest.approx(expected_ndcg)
    assert found.values["mrr"].tolist() == pytest.approx(expected_mrr)
    assert (found.num_dropped, found.num_relevant, found.num_cold_relevant) == (3, 3, 1)
    assert found.group("warm_items")["hit@2"].tolist() == pytest.approx([1, expected_hit[1]])


def test_average_is_what_ordering_ties_at_random_gives():
    rng = np.random.default_rng(0)
    split = random_split(4)
    scores = rng.integers(0, 3, (30, 40))
    average = sampled_candidates(Table(scores, split.train), split, on="test", ks=(3,), num_negatives=9)
    # The same candidates with noise that only orders ties.
    tries = [
        sampled_candidates(
            Table(scores + rng.random((30, 40)) / 2, split.train), split, on="test", ks=(3,), num_negatives=9
        ).mean("ndcg@3")
        for _ in range(200)
    ]
    assert abs(np.mean(tries) - average.mean("ndcg@3")) < 4 * np.std(tries) / np.sqrt(len(tries))


def test_drawn_candidates_avoid_every_positive_and_repeat_nothing():
    split = random_split(5)
    parts = [split.train, split.valid, split.test]
    known = {(u, i) for each in parts for u, i in zip(each.users.tolist(), each.items.tolist(), strict=True)}
    (lists,) = drawn(split.test, parts, 9, seed=0)
    assert lists.positives.tolist() == split.test.items.tolist()
    for user, row in zip(lists.users.tolist(), lists.negatives.tolist(), strict=True):
        assert len(set(row)) == 9
        assert all(0 <= item < 40 and (user, item) not in known for item in row)


@pytest.mark.parametrize("num_negatives", [2, 10, 25])
def test_drawn_candidates_are_uniform(num_negatives):
    """Both ways of drawing, around the switch at 2 N: of 30 free items, each stands in N / 30 of the lists."""
    rows = 4000
    test = part([(0, item) for item in range(10)] * (rows // 10), 1, 40)
    (lists,) = drawn(test, [test], num_negatives, seed=1)
    counts = np.bincount(lists.negatives.ravel(), minlength=40)
    assert counts[:10].tolist() == [0] * 10
    expected = rows * num_negatives / 30
    # Chi-square with 29 degrees of freedom, scaled since a list repeats nothing: the .9999 quantile is 68.
    assert ((counts[10:] - expected) ** 2 / expected).sum() * 29 / (30 - num_negatives) < 68


def test_a_user_with_few_items_left_gets_all_of_them():
    test = part([(0, 0), (0, 1)], 1, 6)
    (lists,) = drawn(test, [test], 99, seed=0)
    for row in lists.negatives.tolist():
        assert sorted(row) == [-1] * 95 + [2, 3, 4, 5]
    found = sampled_candidates(Table(HAND_SCORES, test), Split(test, None, test), on="test", ks=(1,))
    assert found.values["hit@1"].tolist() == [1]
    assert found.values["mrr"].tolist() == [1]


def test_candidates_are_seeded_and_validation_draws_its_own():
    split = replace(random_split(6), candidates=GIVEN)
    scores = np.random.default_rng(0).random((30, 40))
    model = Table(scores, split.train)

    def ranks(seed):
        return evaluate(model, split, "valid", "sampled", (5,), seed=seed).values["mrr"].tolist()

    split = replace(split, train=split.train)
    assert ranks(0) == ranks(0)
    few = [sampled_candidates(model, split, on="valid", num_negatives=5, seed=seed) for seed in (0, 1)]
    assert few[0].values["mrr"].tolist() != few[1].values["mrr"].tolist()
    assert few[0].num_users == len(set(split.valid.users.tolist()))


def test_json_holds_the_contract():
    model = Table(HAND_SCORES, HAND.train)
    document = evaluate(model, HAND, "test", "full", (2,)).to_json("random:0.8/0.1/0.1", 1, 0)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    head = {key: document[key] for key in ("protocol", "on", "split", "split_seed", "seed", "ties")}
    assert head == {
        "protocol": "full",
        "on": "test",
        "split": "random:0.8/0.1/0.1",
        "split_seed": 1,
        "seed": 0,
        "ties": "hash",
    }
    assert (document["num_users"], document["num_cold_users"]) == (4, 1)
    assert document["metrics"]["recall@2"]["mean"] == 0.625
    low, high = document["metrics"]["recall@2"]["ci95"]
    assert 0 <= low < 0.625 < high <= 1
    found = evaluate(model, HAND, "test", "full", (2,))
    assert found.interval("recall@2") == (low, high)


def test_json_of_an_empty_group_has_no_numbers():
    split = Split(part([(0, 1)]), None, part([(2, 5)]))
    found = full_ranking(Table(HAND_SCORES, split.train), split, on="test", ks=(1,))
    document = found.to_json("none", 1, 0)
    assert document["warm_users"] == {"num_users": 0, "metrics": {}}
    assert document["warm_items"] == {"num_users": 0, "metrics": {}}
    assert np.isnan(found.mean("recall@1", "warm_users"))


def test_scores_that_are_not_finite_name_the_user():
    scores = HAND_SCORES.astype(float).copy()
    scores[2] = np.inf
    with pytest.raises(TrainingError, match="user 2"):
        full_ranking(Table(scores, HAND.train), HAND, on="test")
    with pytest.raises(TrainingError, match="user 2"):
        sampled_candidates(Table(scores, HAND.train), HAND, on="test")


def test_wrong_requests_are_refused():
    model = Table(HAND_SCORES, HAND.train)
    with pytest.raises(ConfigError, match="`on` must be valid or test; got 'train'"):
        evaluate(model, HAND, "train")
    with pytest.raises(ConfigError, match="`protocol` must be full or sampled; got 'half'"):
        evaluate(model, HAND, "test", "half")
    with pytest.raises(ConfigError, match=r"`ks` must hold list lengths in 1\.\.2147483647; got \(0,\)"):
        evaluate(model, HAND, "test", "full", (0,))
    with pytest.raises(ConfigError, match="`ties` must be average, pessimistic or optimistic; got 'lucky'"):
        evaluate(model, HAND, "test", "sampled", ties="lucky")
    with pytest.raises(ConfigError, match="`num_negatives` must be at least 1; got 0"):
        sampled_candidates(model, HAND, num_negatives=0)
    with pytest.raises(DataError, match="must hold a valid part"):
        evaluate(model, replace(HAND, valid=None), "valid")
    with pytest.raises(DataError, match="must share the model's vocabularies"):
        evaluate(Table(HAND_SCORES, part([(0, 0)], 4, 7)), HAND)
    with pytest.raises(ConfigError, match="`among` must be one of all, warm_users, warm_items; got 'cold'"):
        evaluate(model, HAND).mean("recall@20", "cold")
    with pytest.raises(ConfigError, match=r"`name` must be one of recall@20, .*; got 'recall@7'"):
        evaluate(model, HAND).mean("recall@7")


def ncf_split(folder) -> Split:
    """Reads the published split without the package's own readers."""
    users, items = [], []
    for line in (folder / "ml-1m.train.users").read_text().splitlines():
        user, *chosen = map(int, line.split())
        users += [user] * len(chosen)
        items += chosen
    test_users, test_items, negatives = [], [], []
    for line in (folder / "ml-1m.test.negative").read_text().splitlines():
        pair, *others = line.split("\t")
        user, item = map(int, pair.strip("()").split(","))
        test_users.append(user)
        test_items.append(item)
        negatives.append([int(other) for other in others])
    train, test = (
        Interactions.from_arrays(np.array(u), np.array(i), user_ids=range(6040), item_ids=range(3706))
        for u, i in ((users, items), (test_users, test_items))
    )
    return Split(train, None, test, candidates=Candidates(test.users, test.items, np.array(negatives)))


@pytest.mark.data
def test_popularity_gets_the_published_figure_on_ncf_ml_1m(data_dir):
    """Ferrari Dacrema et al. 2019: .4531 / .2542. Ties make .0004 of difference."""
    split = ncf_split(data_dir / "ncf-ml-1m")
    model = Popularity().fit(split.train)
    pessimistic = evaluate(model, split, "test", "sampled", (10,), ties="pessimistic")
    assert pessimistic.mean("hit@10") == pytest.approx(0.4531, abs=0.0001)
    assert pessimistic.mean("ndcg@10") == pytest.approx(0.2541, abs=0.0001)
    average = evaluate(model, split, "test", "sampled", (10,))
    assert average.mean("hit@10") == pytest.approx(0.4535, abs=0.0001)
    assert average.mean("ndcg@10") == pytest.approx(0.2543, abs=0.0001)
    assert (average.num_users, average.num_dropped) == (6040, 156)


@pytest.mark.data
def test_popularity_gets_the_known_figure_on_the_lectures_split(data_dir):
    """Full ranking of the lecture's own 38,864 / 4,858 / 4,858 split, 9,742 movies: Recall@20 .1266, nDCG@20 .1018."""
    ratings = np.loadtxt(data_dir / "ml-latest-small" / "ratings.csv", delimiter=",", skiprows=1)
    liked = ratings[ratings[:, 2] >= 4]
    with open(data_dir / "ml-latest-small" / "movies.csv", encoding="utf-8") as lines:
        movies = [int(line.split(",", 1)[0]) for line in list(lines)[1:]]
    place = {movie: index for index, movie in enumerate(movies)}
    every = Interactions.from_arrays(
        liked[:, 0].astype(int) - 1,
        np.array([place[int(movie)] for movie in liked[:, 1]]),
        user_ids=range(1, 611),
        item_ids=movies,
    )
    # scikit-learn's train_test_split(test_size=.2, random_state=1), its second part halved the same way.
    held_out, train = np.split(np.random.RandomState(1).permutation(len(liked)), [9716])
    test, valid = np.split(held_out[np.random.RandomState(1).permutation(9716)], [4858])
    split = Split(every.take(train), every.take(valid), every.take(test))
    assert [len(each) for each in (split.train, split.valid, split.test)] == [38_864, 4_858, 4_858]
    found = evaluate(Popularity().fit(split.train), split, "test", "full", (20,))
    assert found.mean("recall@20") == pytest.approx(0.1266, abs=0.001)
    assert found.mean("ndcg@20") == pytest.approx(0.1018, abs=0.001)
