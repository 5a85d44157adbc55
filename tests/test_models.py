"""The contract every entry of MODELS keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import planted

import neucf
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.errors import ConfigError, DataError, NeucfError, NotFittedError, UnknownIdError
from neucf.evaluation import evaluate
from neucf.evaluation.ranking import top_k
from neucf.models import MODELS, trained
from neucf.models.base import Model
from neucf.models.trained import TrainedModel
from neucf.recommender import Recommender, to_numpy

# Small data wants small, quick models; everything else is the default.
SETTINGS: dict[str, dict[str, Any]] = {
    "ials": {"dim": 8},
    "multi-vae": {"hidden": 32, "dim": 8, "lr": 0.01},
    "bpr-mf": {"dim": 8, "epochs": 40, "hardness": 1},
    "gmf": {"dim": 8, "epochs": 40, "batch_size": 64, "lr": 0.03},
    "mlp": {"tower": "16-8-8", "epochs": 60, "batch_size": 64, "lr": 0.02, "reg": 0.001},
    "neumf": {"dim": 4, "tower": "8-4", "epochs": 30, "batch_size": 64, "lr": 0.02, "reg": 0.03, "reg_mlp": 0.03},
}
PERSONAL = [name for name in MODELS if name != "popularity"]
TRAIN, HELD = planted()


def build(name: str) -> Model:
    return MODELS[name](**SETTINGS.get(name, {}))


@pytest.fixture(scope="module", params=list(MODELS))
def fitted(request: pytest.FixtureRequest) -> Model:
    return build(request.param).fit(TRAIN, seed=1, threads=1)


def test_is_a_recommender(fitted: Model) -> None:
    assert isinstance(fitted, Recommender)
    assert fitted.name in MODELS
    assert fitted.user_ids == TRAIN.user_ids


def test_weights_play_a_part_where_it_is_said(fitted: Model) -> None:
    weights = np.random.default_rng(0).integers(1, 9, len(TRAIN))
    weighed = build(fitted.name).fit(replace(TRAIN, weights=weights.astype(np.float64)), seed=1, threads=1)
    same = np.allclose(
        to_numpy(weighed.score(np.arange(9))), to_numpy(fitted.score(np.arange(9))), rtol=1e-3, atol=1e-5
    )
    assert same is not fitted.uses_weights


def test_scores_have_the_promised_shapes_and_agree(fitted: Model) -> None:
    users = np.array([3, 0, 59])
    whole = to_numpy(fitted.score(users))
    assert whole.shape == (3, TRAIN.num_items)
    assert np.isfinite(whole).all()
    items = np.array([7, 0, 7, 39])
    np.testing.assert_allclose(to_numpy(fitted.score(users, items)), whole[:, items], rtol=1e-5, atol=1e-4)
    own = np.array([[1, 2], [3, 3], [0, 39]])
    np.testing.assert_allclose(
        to_numpy(fitted.score(users, own)), np.take_along_axis(whole, own, 1), rtol=1e-5, atol=1e-4
    )


def test_batch_equals_single(fitted: Model) -> None:
    batch = to_numpy(fitted.score(np.arange(10)))
    single = np.concatenate([to_numpy(fitted.score(np.array([user]))) for user in range(10)])
    np.testing.assert_allclose(batch, single, rtol=1e-5, atol=1e-4)
    histories = TRAIN.csr()[:5]
    batch = to_numpy(fitted.score_history(histories))
    single = np.concatenate([to_numpy(fitted.score_history(histories[[row]])) for row in range(5)])
    np.testing.assert_allclose(batch, single, rtol=1e-3, atol=1e-3)


def test_score_history_has_the_promised_shapes(fitted: Model) -> None:
    histories = TRAIN.csr()[:4]
    histories.data[:] = 2.5
    whole = to_numpy(fitted.score_history(histories))
    assert (histories.data == 2.5).all(), "what is passed in stays as it is"
    assert whole.shape == (4, TRAIN.num_items)
    items = np.array([5, 1])
    np.testing.assert_allclose(to_numpy(fitted.score_history(histories, items)), whole[:, items], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PERSONAL)
def test_learns_a_planted_pattern(name: str) -> None:
    model = build(name).fit(TRAIN, seed=0, threads=1)
    result = evaluate(model, Split(TRAIN, None, HELD), "test", "full", (5,))
    # At most 4 of 34 unseen items share the user's group: chance is about .15, knowing the group gives 1
    assert result.mean("hit@5") > 0.8


@pytest.mark.parametrize("name", PERSONAL)
def test_folds_in_people_it_never_saw(name: str) -> None:
    model = build(name).fit(TRAIN, seed=0, threads=1)
    history = TRAIN.csr()[:20]
    best = top_k(model, None, 3, histories=history, mask=history).items
    in_group = (best % 4) == (np.arange(20) % 4)[:, None]
    assert in_group.mean() > 0.8


@pytest.mark.parametrize("name", list(MODELS))
def test_fits_on_no_row_at_all(name: str) -> None:
    nothing = Interactions.from_arrays([], [], user_ids=range(5), item_ids=range(7))
    small = {"batch_size": 64} if "batch_size" in MODELS[name].config_class.model_fields else {}
    scores = to_numpy(MODELS[name](**small).fit(nothing, threads=1).score([0, 1]))
    assert scores.shape == (2, 7)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", list(MODELS))
def test_same_seed_same_scores_and_refit_equals_fit(name: str) -> None:
    model = build(name)
    first = to_numpy(model.fit(TRAIN, seed=3, threads=1).score(np.arange(5))).copy()
    again = to_numpy(model.fit(TRAIN, seed=3, threads=1).score(np.arange(5)))
    fresh = to_numpy(build(name).fit(TRAIN, seed=3, threads=1).score(np.arange(5)))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, fresh)


@pytest.mark.parametrize("name", PERSONAL)
def test_another_seed_gives_other_scores(name: str) -> None:
    if not issubclass(MODELS[name], TrainedModel):
        pytest.skip("closed forms have no seed")
    first = to_numpy(build(name).fit(TRAIN, seed=3, threads=1).score(np.arange(5)))
    other = to_numpy(build(name).fit(TRAIN, seed=4, threads=1).score(np.arange(5)))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", MODELS)
def test_fits_on_rows_it_may_not_write_to_as_on_others(name: str) -> None:
    """A run that was read back holds such rows; warnings are errors here."""

    def locked(part: Interactions) -> Interactions:
        users, items = part.users.copy(), part.items.copy()
        for column in (users, items):
            column.setflags(write=False)
        return replace(part, users=users, items=items)

    settings = SETTINGS.get(name, {}) | ({"epochs": 2} if "epochs" in MODELS[name].config_class.model_fields else {})
    scores = [
        to_numpy(MODELS[name](**settings).fit(*parts, seed=1, threads=1).score([0, 1]))
        for parts in ((TRAIN, HELD), (locked(TRAIN), locked(HELD)))
    ]
    np.testing.assert_array_equal(*scores)


def test_save_and_load_give_the_same_scores(fitted: Model, tmp_path: Path) -> None:
    neucf.save(fitted, tmp_path / "run")
    loaded = neucf.load(tmp_path / "run")
    assert loaded.config == fitted.config
    np.testing.assert_array_equal(to_numpy(loaded.score(np.arange(9))), to_numpy(fitted.score(np.arange(9))))
    history = TRAIN.csr()[:3]
    np.testing.assert_allclose(
        to_numpy(loaded.score_history(history)), to_numpy(fitted.score_history(history)), rtol=1e-5, atol=1e-5
    )


def test_seen_items_are_excluded(fitted: Model) -> None:
    for answer, user in zip(neucf.recommend(fitted, ["u0", "u7"], k=10), (0, 7), strict=True):
        seen = set((TRAIN.items[TRAIN.users == user] + 100).tolist())
        recommended = [item.item_id for item in answer.items]
        assert len(recommended) == 10
        assert not seen & set(recommended)


def test_unknown_ids_and_too_large_k_are_refused(fitted: Model) -> None:
    with pytest.raises(UnknownIdError, match="nobody"):
        neucf.recommend(fitted, ["nobody"], k=3)
    with pytest.raises(NeucfError, match=r"`k` must be in 1\.\.40"):
        neucf.recommend(fitted, ["u0"], k=41)
    with pytest.raises(DataError, match=r"0\.\.59"):
        fitted.score(np.array([60]))
    with pytest.raises(DataError, match=r"0\.\.39"):
        fitted.score(np.array([0]), np.array([40]))
    for rows in (1, 3):
        with pytest.raises(DataError, match=rf"a row for each of the 2 people .* got {rows} rows"):
            fitted.score(np.array([0, 1]), np.zeros((rows, 4), np.int64))
        with pytest.raises(DataError, match=rf"a row for each of the 2 people .* got {rows} rows"):
            fitted.score_history(TRAIN.csr()[:2], np.zeros((rows, 4), np.int64))


@pytest.mark.parametrize("name", list(MODELS))
def test_an_unfitted_model_says_so(name: str) -> None:
    with pytest.raises(NotFittedError):
        build(name).arrays()
    with pytest.raises(NotFittedError, match="fit"):
        build(name).score(np.array([0]))


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'neumf'"):
        MODELS["neunf"]
    with pytest.raises(ConfigError, match="Did you mean 'dim'"):
        MODELS["mf"](dims=3)
    with pytest.raises(ConfigError, match="`dim` of mf"):
        MODELS["mf"](dim=0)


@pytest.mark.parametrize("name", ["gmf", "lightgcn", "multi-vae"])
def test_devices_that_are_absent_or_unknown_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="`device` must exist here"):
        build(name).fit(TRAIN, device="cuda:99")
    with pytest.raises(ConfigError, match="`device` must be auto, cpu, cuda"):
        build(name).fit(TRAIN, device="abacus")


@pytest.mark.parametrize("metric", ["recall@20", "precision@5", "mrr@10", "map@3"])
def test_a_metric_that_its_protocol_does_not_give_is_refused(metric: str) -> None:
    with pytest.raises(ConfigError, match=f"`metric_protocol` of mf: sampled gives hit@k and ndcg@k alone.*{metric}"):
        MODELS["mf"](metric=metric, metric_protocol="sampled")
    assert MODELS["mf"](metric=metric).config.metric == metric
    assert MODELS["mf"](metric="hit@5", metric_protocol="sampled").config.metric_protocol == "sampled"


def test_settings_may_be_texts() -> None:
    assert MODELS["mlp"](tower="32-16-8", lr="0.01").config.model_dump()["tower"] == (32, 16, 8)
    with pytest.raises(ConfigError, match="tower needs"):
        MODELS["mlp"](tower="33-16")


@pytest.mark.parametrize("loss", ["bpr", "bce", "softmax"])
@pytest.mark.parametrize("name", ["mf", "gmf", "mlp", "neumf"])
@pytest.mark.parametrize("sampler", ["uniform", "popularity", "shared", "in-batch"])
def test_every_net_trains_with_every_loss_and_sampler(name: str, loss: str, sampler: str) -> None:
    settings = {**SETTINGS.get(name, {}), "loss": loss, "sampler": sampler, "epochs": 25, "reg": 0.0}
    model = MODELS[name](**settings).fit(TRAIN, seed=0, threads=1)
    random = MODELS[name](**{**settings, "lr": 1e-9, "epochs": 1}).fit(TRAIN, seed=0, threads=1)
    own = TRAIN.csr().toarray() > 0

    def margin(scored: Model) -> float:
        scores = to_numpy(scored.score(np.arange(TRAIN.num_users)))
        return float(scores[own].mean() - scores[~own].mean())

    assert margin(model) > margin(random)


@pytest.mark.parametrize("given", [None, neucf, np.eye(3), Split(TRAIN, None, None)])
def test_fit_takes_interactions_alone(given: Any) -> None:
    with pytest.raises(DataError, match="`train` must be Interactions"):
        build("popularity").fit(given)
    if given is not None:
        with pytest.raises(DataError, match="`valid` must be Interactions"):
            build("popularity").fit(TRAIN, given)


def test_fit_refuses_nobody_and_the_ids_of_others() -> None:
    with pytest.raises(DataError, match="`train` must know of users and items"):
        build("mf").fit(Interactions.from_arrays([], []))
    with pytest.raises(DataError, match="`valid` must have the ids of `train`"):
        build("mf").fit(TRAIN, Interactions.from_arrays([0], [0]))


@pytest.mark.parametrize("seed", [None, -1, 2**70, 1.5, "a", True])
def test_a_seed_is_an_integer_of_63_bits(seed: Any) -> None:
    model = build("popularity").fit(TRAIN, seed=np.int64(2))  # type: ignore[arg-type]
    for call in (model.fit, lambda train, seed: evaluate(model, Split(train, None, HELD), seed=seed), neucf.split):
        with pytest.raises(ConfigError, match="seed` must be in 0"):
            call(TRAIN, **({"spec": "none"} if call is neucf.split else {}), seed=seed)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["mf", "ials", "lightgcn", "multi-vae"])
def test_validation_users_of_whom_nothing_is_known_choose_no_epoch(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []
    monkeypatch.setattr(trained, "evaluate", lambda *given, **options: judged.append(1) or evaluate(*given, **options))
    parts = neucf.split(TRAIN, "users:0.8/0.1/0.1")
    model = MODELS[name](epochs=2, dim=8, eval_every=1)
    assert isinstance(model, TrainedModel)
    assert (model.fit(parts.train, parts.valid).best_epoch, judged) == (2, [])
    assert "`model.valid_history = parts.valid_history`" in caplog.text
    model.valid_history = parts.valid_history
    model.fit(parts.train, parts.valid)
    assert len(judged) == 2


def test_the_registry_is_a_mapping() -> None:
    assert "unheard" not in MODELS
    assert MODELS.get("unheard") is None
    assert MODELS.get("mf") is MODELS["mf"]
    with pytest.raises(ConfigError, match="got None"):
        MODELS[None]  # type: ignore[index]


def test_users_items_and_histories_have_their_shapes(fitted: Model) -> None:
    history = TRAIN.csr()[:2]
    wrong = history.copy()
    wrong.data[0] = np.nan
    for users, items in ((0, None), ([[0]], None), ([0], 3)):
        with pytest.raises(DataError, match=r"must be 1-d"):
            fitted.score(users, items)  # type: ignore[arg-type]
    for given in (history[0], [0, 1], history.toarray(), wrong):
        with pytest.raises(DataError, match="`histories` must"):
            fitted.score_history(given)  # type: ignore[arg-type]


def test_models_print_on_one_line() -> None:
    assert repr(MODELS["mf"](dim=4)) == "<mf(dim=4), not fitted>"
    assert repr(build("popularity").fit(TRAIN)) == f"<popularity(), fitted on {TRAIN!r}>"


def test_a_pair_that_stands_twice_ends_no_training(fitted: Model) -> None:
    twice = Interactions.from_arrays([0, 0, 0, 1], [0, 1, 1, 0])
    scores = to_numpy(build(fitted.name).fit(twice, threads=1).score([0, 1]))
    assert np.isfinite(scores).all()
