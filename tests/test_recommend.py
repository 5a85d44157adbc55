from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.sparse import csr_array

import neucf
from neucf.artifacts import Run, load, open_run, save, write_run, writing
from neucf.data.interactions import Interactions
from neucf.data.readers import read_dataset
from neucf.data.splits import Split
from neucf.data.splitting import split
from neucf.errors import ConfigError, DataError, UnknownIdError
from neucf.models import MODELS, Model
from neucf.models.config import Config
from neucf.serving import HistoryItem, NamedItem, Recommendations, RecommendedItem, Service, recommend

USERS = [30, 7, 2**60, -4]
ITEMS = ["a", "b", "c", "d", "e"]


class _Table(Model):
    """Scores by a table, and new people by the mean index of their history: easy to work out by hand."""

    name: ClassVar[str] = "table"
    config_class: ClassVar[type[Config]] = Config
    table: ClassVar[npt.NDArray[np.float32]] = np.array(
        [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [9, 9, 9, 9, 9], [9, 9, 9, 9, 9]], np.float32
    )

    def fit(self, train: Interactions, valid: Interactions | None = None, **_: Any) -> Self:
        del valid
        self._train = train
        return self

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        rows = self.table[np.asarray(users)]
        return rows if items is None else rows[:, np.asarray(items)]

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        assert items is None
        # An item scores 10 less its distance from the mean index of the history.
        means = histories @ np.arange(5, dtype=np.float32) / histories.sum(axis=1)
        return (10 - np.abs(np.arange(5)[None, :] - means[:, None])).astype(np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        assert not arrays
        return self.fit(train)


def part(users: list[int], items: list[int], **columns: Any) -> Interactions:
    return Interactions.from_arrays(users, items, user_ids=USERS, item_ids=ITEMS, **columns)


def run() -> Run:
    """User 30 trained on e, validated on d, tested on c, and rated b low; 2^60 is held out; -4 is unknown to all."""
    train = part([0, 1, 1], [4, 0, 1], ratings=[5.0, 4.5, 5.0], timestamps=[1, 2, 3])
    split = Split(
        train=train,
        valid=part([0], [3], ratings=[4.0], timestamps=[4]),
        test=part([0, 2], [2, 3], ratings=[5.0, 5.0], timestamps=[9, 9]),
        test_history=part([2], [1], ratings=[5.0], timestamps=[5]),
    )
    items = pl.DataFrame(
        {
            "item_id": ITEMS,
            "title": ["Alien", "Brazil", "Casablanca", None, "Eraserhead"],
            "year": [1979, 1985, 1942, None, 1977],
            "genres": [["Horror", "Sci-Fi"], ["Comedy"], [], None, ["Horror"]],
        }
    )
    return Run(
        Path("run"), {}, _Table().fit(train), split, part([0], [1], ratings=[2.0], timestamps=[6]), part([], []), items
    )


def ids(found: Recommendations) -> list[Any]:
    return [item.item_id for item in found.items]


def test_what_is_known_of_a_user_is_hidden_and_the_test_part_is_not() -> None:
    service = Service(run())
    assert ids(service.recommend([30], 5)[0]) == ["c", "a"]
    assert ids(service.recommend([30], 5, mask="positives")[0]) == ["c", "b", "a"]
    assert ids(service.recommend([30], 5, mask="none")[0]) == ["e", "d", "c", "b", "a"]


def test_users_come_back_in_the_order_asked_with_scores_and_titles() -> None:
    found = recommend(run(), np.array([7, 30, 7]), 2)
    assert [answer.user_id for answer in found] == [7, 30, 7]
    assert found[0] == found[2]
    assert found[0].items == (
        RecommendedItem("c", 3.0, "Casablanca", 1942, ()),
        RecommendedItem("d", 2.0, None, None, ()),
    )
    assert found[1].items[1] == RecommendedItem("a", 1.0, "Alien", 1979, ("Horror", "Sci-Fi"))
    assert found[0].fallback is None


def test_a_user_without_history_gets_what_is_popular() -> None:
    model = _Table().fit(part([0, 1, 2], [4, 4, 1]))
    nobody = recommend(model, [-4], 2)[0]
    assert ids(nobody) == ["e", "b"]
    assert nobody.fallback == "popularity"
    assert nobody.items[0].score == 2.0


def test_a_user_held_out_is_ranked_by_the_history_given_not_by_the_test_part() -> None:
    found = Service(run()).recommend([2**60], 5)[0]
    assert found.fallback is None
    # History b: a and c are one away, d two, e three; b itself is hidden, d is the future and is not.
    assert sorted(ids(found)[:2]) == ["a", "c"]
    assert ids(found)[2:] == ["d", "e"]
    assert [item.score for item in found.items] == [9, 9, 8, 7]


def test_a_model_alone_hides_what_it_was_trained_on() -> None:
    model = run().model
    assert ids(recommend(model, [30], 5)[0]) == ["d", "c", "b", "a"]
    assert recommend(model, [30], 1)[0].items == (RecommendedItem("d", 4.0),)


def test_a_model_in_memory_knows_what_is_given_with_it(tmp_path: Path) -> None:
    rows = [(user, item, 5.0) for user in range(6) for item in range(6) if (user + item) % 3] + [(0, 0, 1.0)]
    frame = pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row")
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"{item},Film {item}\n" for item in range(6)))
    data = read_dataset(frame, min_rating=4, items=tmp_path / "items.csv")
    parts = split(data, "random:0.6/0.2/0.2")
    model = MODELS["ease"]().fit(parts.train)
    save(model, tmp_path / "run", split=parts, dataset=data)
    given = recommend(model, [0, 3], 6, split=parts, dataset=data)
    assert given == recommend(open_run(tmp_path / "run"), [0, 3], 6)
    valid = {(u, i) for u, i in zip(parts.valid.users, parts.valid.items, strict=True)}  # type: ignore[union-attr]
    listed = {(answer.user_id, item.item_id) for answer in given for item in answer.items}
    assert not {(model.user_ids[u], model.item_ids[i]) for u, i in valid} & listed
    assert (0, 0) not in listed
    assert all(item.title == f"Film {item.item_id}" for answer in given for item in answer.items)
    with pytest.raises(DataError, match="those the model was fitted on"):
        recommend(run().model, [30], 1, split=parts)
    with pytest.raises(ConfigError, match="a run has its own"):
        recommend(run(), [30], 1, split=parts)


def test_new_people_are_ranked_by_their_history_which_is_hidden() -> None:
    found = recommend(run(), [["a", "c", "a"], []], 3)
    # The mean of a and c is b.
    assert found[0].items[0] == RecommendedItem("b", 10.0, "Brazil", 1985, ("Comedy",))
    assert ids(found[0]) == ["b", "d", "e"]
    assert (found[0].user_id, found[0].fallback, found[1].fallback) == (None, None, "popularity")
    assert set(ids(found[1])) == {"a", "b", "e"}
    shown = recommend(run(), [["a"]], 1, mask="none")[0]
    assert ids(shown) == ["a"]


def test_histories_may_be_a_sparse_matrix() -> None:
    matrix = csr_array(np.array([[1, 0, 1, 0, 0]], np.float32))
    assert recommend(run(), matrix, 3) == recommend(run(), [["a", "c"]], 3)


def test_no_people_get_no_answers() -> None:
    assert recommend(run(), [], 3) == []


@pytest.mark.parametrize("k", [0, -1, 6, 2.5])
@pytest.mark.parametrize("people", [[30], [["a"]], []])
def test_k_must_lie_within_the_catalogue(k: int, people: Any) -> None:
    with pytest.raises(ConfigError, match=rf"`k` must be in 1\.\.5 \(the catalogue\); got {k}\."):
        recommend(run(), people, k)


def test_unknown_ids_name_the_nearest() -> None:
    with pytest.raises(UnknownIdError, match=r"31.*Nearest existing: 30, 7, -4"):
        recommend(run(), [31], 3)
    with pytest.raises(UnknownIdError, match="item_id"):
        recommend(run(), [["z"]], 3)


def test_a_bare_id_and_a_wrong_mask_get_one_sentence() -> None:
    with pytest.raises(DataError, match=r"Write \[30\]"):
        recommend(run(), 30, 3)
    with pytest.raises(ConfigError, match="`mask` must be one of default, positives, none; got 'all'"):
        recommend(run(), [30], 3, mask="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("people", [[1.5], [None], [True], [30, ["a"]], [["a"], 3.0], [["a"], "b"], [[0.0, 1.0]]])
def test_people_who_are_neither_ids_nor_histories_get_one_sentence(people: Any) -> None:
    with pytest.raises(DataError, match=r"`(user|item)` ids must be"):
        recommend(run(), people, 3)


@pytest.mark.parametrize(
    ("people", "rule"),
    [
        (None, "must be a list"),
        (np.array(30), "must be a list"),
        (np.ones((2, 5)), "must hold ids, or be a sparse matrix; got a dense one"),
        (pl.DataFrame({"user_id": [30]}), "must be user ids or histories; got DataFrame"),
        (pl.LazyFrame({"user_id": [30]}), "must be user ids or histories; got LazyFrame"),
    ],
)
def test_tables_are_not_taken_for_ids(people: Any, rule: str) -> None:
    with pytest.raises(DataError, match=f"`people` {rule}"):
        recommend(run(), people, 3)


@pytest.mark.parametrize("value", [0, -1, np.nan])
def test_a_stored_value_that_is_no_weight_is_no_like(value: float) -> None:
    with pytest.raises(DataError, match="`histories` must store values above 0"):
        recommend(run(), csr_array((np.array([value]), ([0], [1])), shape=(1, 5)), 3)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"filters": None}, "filters"),
        ({"filters": {"genres": ["x"]}}, "filters"),
        ({"diversity": "0.5"}, "diversity"),
        ({"k": True}, "k"),
        ({"threads": 2.5}, "threads"),
    ],
)
def test_options_of_another_type_are_named(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(ConfigError, match=f"`{argument}` must be"):
        recommend(run(), [30], **{"k": 3, **options})


def test_what_is_no_split_and_no_data_set_is_refused(tmp_path: Path) -> None:
    model = run().model
    for given in ({"split": model.train}, {"dataset": pl.DataFrame()}):
        with pytest.raises(DataError, match=f"`{next(iter(given))}` must be a"):
            recommend(model, [30], 3, **given)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=f"`{next(iter(given))}` must be a"):
            save(model, tmp_path / "run", **given)  # type: ignore[arg-type]


def test_ids_of_another_kind_are_unknown() -> None:
    with pytest.raises(UnknownIdError):
        recommend(run(), [["a", 30]], 3)
    with pytest.raises(UnknownIdError):
        recommend(run(), [30, "a"], 3)


def test_a_liked_item_is_no_reason_for_itself() -> None:
    train = part([0, 0, 1, 1], [0, 1, 1, 2])
    model = MODELS["item-knn"]().fit(train)
    for item in recommend(model, [["a", "b"]], 5, mask="none")[0].items:
        assert item.item_id not in [reason.item_id for reason in item.because]


def test_json_holds_exactly_the_contract() -> None:
    answer = Service(run()).recommend([2**60, -4, 30], 1)
    assert json.loads(json.dumps(answer[2].to_json())) == {
        "user_id": 30,
        "matched": [],
        "fallback": None,
        "items": [
            {
                "item_id": "c",
                "title": "Casablanca (1942)",
                "year": 1942,
                "genres": [],
                "score": 3.0,
                "placed": None,
                "because": [],
            }
        ],
    }
    assert answer[0].to_json()["user_id"] == str(2**60)
    assert answer[1].to_json()["fallback"] == "popularity"
    matched = tuple(NamedItem(item_id) for item_id in (2**53, 2**53 + 1, -(2**53) - 1))
    assert Recommendations(None, (), matched=matched).to_json() == {
        "user_id": None,
        "matched": [{"item_id": each, "title": None} for each in (2**53, str(2**53 + 1), str(-(2**53) - 1))],
        "fallback": None,
        "items": [],
    }


def test_a_history_shows_the_best_rated_first_and_never_the_test_part() -> None:
    service = Service(run())
    assert service.history(30) == [
        HistoryItem("e", 5.0, "Eraserhead", 1977, ("Horror",)),
        HistoryItem("d", 4.0, None, None, ()),
        HistoryItem("b", 2.0, "Brazil", 1985, ("Comedy",)),
    ]
    assert [item.item_id for item in service.history(7, 1)] == ["b"]
    assert service.history(-4) == []
    with pytest.raises(UnknownIdError):
        service.history(8)


def test_a_history_without_ratings_shows_the_latest_first() -> None:
    model = MODELS["popularity"]().fit(part([0, 0, 0], [1, 4, 2], timestamps=[5, 9, 7]))
    assert Service(model).history(30) == [HistoryItem("e", None), HistoryItem("c", None), HistoryItem("b", None)]


class _Vectors(_Table):
    def factors(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], None]:
        items = np.array([[1, 0], [3, 4], [0, 0], [-2, 0], [0, 9]], np.float32)
        return np.zeros((4, 2), np.float32), items, None


def test_similar_items_by_the_cosine_of_their_vectors() -> None:
    found = Service(_Vectors().fit(run().model.train)).similar("a", 4)
    assert [(item.item_id, round(item.score, 6)) for item in found.items] == [
        ("b", 0.6),
        ("c", 0.0),
        ("e", 0.0),
        ("d", -1.0),
    ]
    assert set(found.to_json()) == {"item_id", "title", "items"}


def test_similar_needs_vectors_a_known_item_and_a_sane_k() -> None:
    with pytest.raises(ConfigError, match="popularity does not"):
        Service(MODELS["popularity"]().fit(run().model.train)).similar("a", 1)
    service = Service(_Vectors().fit(run().model.train))
    with pytest.raises(UnknownIdError, match="item_id"):
        service.similar("z", 1)
    with pytest.raises(ConfigError, match=r"1\.\.4"):
        service.similar("a", 5)


def test_a_trained_model_recommends_the_same_after_its_run_is_opened(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # Two camps: the first thirty users touch the first twenty items only, the rest the others.
    pairs = [(user, (user // 30) * 20 + item) for user in range(60) for item in rng.choice(20, 6, replace=False)]
    train = Interactions.from_arrays(*np.array(pairs).T, user_ids=range(100, 160), item_ids=range(40))
    model = MODELS["bpr-mf"](dim=2, epochs=100, lr=0.1, batch_size=1, hardness=1)
    model.fit(train, seed=0, device="cpu", threads=1)
    neucf.save(model, tmp_path / "run")
    everyone = range(100, 160)
    before, after = neucf.recommend(model, everyone, 4), neucf.recommend(neucf.load(tmp_path / "run"), everyone, 4)
    assert before == after
    seen = {(user, item) for user, item in pairs}
    for user, answer in enumerate(before):
        assert {item // 20 for item in ids(answer)} == {user // 30}
        assert not {(user, item) for item in ids(answer)} & seen


def test_a_run_on_disk_answers_with_titles(tmp_path: Path) -> None:
    made = run()
    model = MODELS["popularity"]().fit(made.split.train)
    with writing(tmp_path / "run") as partial:
        write_run(partial.folder, model=model, split=made.split, dataset=None, manifest={})
    opened = open_run(tmp_path / "run")
    assert sorted(ids(recommend(opened, [30], 3, mask="default")[0])) == ["a", "b", "c"]
    save(model, tmp_path / "again")
    assert sorted(ids(recommend(load(tmp_path / "again"), [30], 4)[0])) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("name", ["ease", "ials", "mf", "user-knn", "multi-vae"])
def test_what_training_never_saw_says_nothing_of_anybody(name: str) -> None:
    # Nobody has chosen c; the last user is known by it alone
    named: dict[str, Any] = {"user_ids": [0, 1, 2, 3], "item_ids": ["a", "b", "c"]}
    train = Interactions.from_arrays([0, 0, 1, 2], [0, 1, 0, 0], **named)
    valid = Interactions.from_arrays([3], [2], **named)
    model = MODELS[name](**({} if name in ("ease", "user-knn") else {"epochs": 1})).fit(train, seed=0, threads=1)
    alone, both, _ = recommend(model, [["c"], ["c", "b"], []], 2)
    assert (alone.fallback, both.fallback) == ("popularity", None)
    assert ids(alone) == ["a", "b"]
    known = recommend(model, [3], 2, split=Split(train, valid, None))[0]
    assert (known.fallback, ids(known)) == ("popularity", ["a", "b"])


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for call in (lambda: recommend(object(), [30]), lambda: save(object(), tmp_path / "run")):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"`model` must be derived from neucf\.models\.Model.*got object"):
            call()
