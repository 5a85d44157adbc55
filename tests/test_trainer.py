"""The loop: schedules, early stopping, best weights, resume, and what happens when the loss explodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from planted import planted

from neucf.data.interactions import Interactions
from neucf.errors import TrainingError
from neucf.evaluation import evaluate
from neucf.models import MODELS, trained
from neucf.recommender import EpochRecord, to_numpy
from neucf.training.schedules import rate

TRAIN, HELD = planted()


class Recorder:
    """Keeps what a fit reports; `stop_at` kills the fit after that epoch's checkpoint."""

    def __init__(self, start: Mapping[str, Any] | None = None, stop_at: int | None = None) -> None:
        self.records: list[EpochRecord] = []
        self.start, self.stop_at, self.saved = start, stop_at, start

    def epoch(self, record: EpochRecord) -> None:
        self.records.append(record)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        self.saved = state
        if state["epoch"] == self.stop_at:
            raise KeyboardInterrupt

    def resume(self) -> Mapping[str, Any] | None:
        return self.start


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("bpr-mf", {"dim": 8, "epochs": 8, "eval_every": 2}),
        ("gmf", {"dim": 8, "epochs": 8, "batch_size": 64, "schedule": "cosine", "warmup": 2}),
        ("gmf", {"dim": 8, "epochs": 8, "batch_size": 64, "optimizer": "lazy-adam"}),
        ("neumf", {"dim": 4, "tower": "8-4", "epochs": 8, "batch_size": 64, "dropout": 0.3, "optimizer": "adagrad"}),
        ("mlp", {"tower": "8-4", "epochs": 8, "batch_size": 64, "optimizer": "adamw", "clip": 1.0}),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(name: str, settings: dict[str, Any]) -> None:
    whole = MODELS[name](**settings).fit(TRAIN, HELD, seed=5, threads=1)
    killed = Recorder(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        MODELS[name](**settings).fit(TRAIN, HELD, seed=5, threads=1, monitor=killed)
    resumed = Recorder(start=killed.saved)
    again = MODELS[name](**settings).fit(TRAIN, HELD, seed=5, threads=1, monitor=resumed)
    assert resumed.records[0].epoch == 4
    assert again.best_epoch == whole.best_epoch
    for key, value in whole.arrays().items():
        np.testing.assert_array_equal(again.arrays()[key], value)


def test_every_epoch_is_reported_and_evaluated_when_due() -> None:
    watch = Recorder()
    MODELS["gmf"](dim=4, loss="bce", negatives=8, epochs=5, eval_every=2, batch_size=64).fit(
        TRAIN, HELD, threads=1, monitor=watch
    )
    assert [record.epoch for record in watch.records] == [1, 2, 3, 4, 5]
    assert [record.valid_metrics is not None for record in watch.records] == [False, True, False, True, True]
    for record in watch.records:
        assert (record.valid_loss is None) == (record.valid_metrics is None)
        assert record.samples == len(TRAIN) * 9
        assert record.valid_metrics is None or "ndcg@20" in record.valid_metrics


def test_there_is_no_loss_on_held_out_users() -> None:
    watch = Recorder()
    model = MODELS["gmf"](dim=4, epochs=2, eval_every=1)
    model.valid_history = TRAIN
    model.fit(TRAIN, HELD, threads=1, monitor=watch)
    assert [record.valid_loss for record in watch.records] == [None, None]
    assert all(record.valid_metrics for record in watch.records)


@pytest.mark.parametrize("name", ["bpr-mf", "gmf", "mlp"])
def test_validation_of_users_who_have_every_item_brings_no_loss(name: str) -> None:
    users, items = np.divmod(np.arange(12), 4)
    of_all = Interactions.from_arrays(users, items, user_ids=range(4), item_ids=range(4))
    train = Interactions.from_arrays([*users, 3], [*items, 0], user_ids=of_all.user_ids, item_ids=of_all.item_ids)
    watch = Recorder()
    MODELS[name](epochs=1, loss="bce").fit(train, of_all, threads=1, monitor=watch)
    assert watch.records[0].valid_loss == 0


@pytest.mark.parametrize("sampled", [{"loss": "bce"}, {"sampler": "shared", "negatives": 10}])
def test_validation_loss_uses_the_same_negatives_at_every_evaluation(sampled: dict[str, Any]) -> None:
    watch = Recorder()
    settings = {"dim": 4, "epochs": 3, "eval_every": 1, "lr": 1e-12, "batch_size": 64, **sampled}
    MODELS["gmf"](**settings).fit(TRAIN, HELD, threads=1, monitor=watch)
    losses = [record.valid_loss for record in watch.records]
    assert losses[0] == pytest.approx(losses[2], rel=1e-6)


def test_training_stops_early_and_restores_the_best_weights() -> None:
    watch = Recorder()
    settings = {"loss": "bce", "dim": 8, "epochs": 200, "lr": 0.05, "batch_size": 64}
    model = MODELS["gmf"](**settings, patience=3, eval_every=1, metric="ndcg@5")
    model.fit(TRAIN, HELD, threads=1, monitor=watch)
    values = [record.valid_metrics["ndcg@5"] for record in watch.records if record.valid_metrics]
    assert len(watch.records) < 200
    assert len(values) == len(values[: model.best_epoch]) + 3
    assert values[(model.best_epoch or 0) - 1] == max(values)
    stopped = MODELS["gmf"](**settings)
    stopped.stop_after = model.best_epoch
    stopped.fit(TRAIN, threads=1)
    np.testing.assert_array_equal(to_numpy(stopped.score([0, 1])), to_numpy(model.score([0, 1])))


@pytest.mark.parametrize("name", ["gmf", "bpr-mf"])
def test_a_loss_that_explodes_stops_with_epoch_batch_and_advice(name: str) -> None:
    # Cosines cannot explode
    loss = {"loss": "bce"} if name == "gmf" else {}
    model = MODELS[name](lr=1e30, epochs=50, optimizer="sgd", **loss)
    with pytest.raises(TrainingError, match=r"epoch \d+, batch \d+.*Lower `lr`"):
        model.fit(TRAIN, threads=1)
    assert all(np.isfinite(value).all() for value in model.arrays().values())


@pytest.mark.parametrize(
    "settings", [{"loss": "bce", "engine": "torch"}, {"loss": "softmax", "sampler": "all"}], ids=["torch", "catalogue"]
)
def test_dropout_is_off_where_weights_are_judged(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"tower": "8-4", "dropout": 0.5, "batch_size": 64, **settings}
    source = MODELS["mlp"](**sizes, epochs=2).fit(TRAIN, threads=1)
    model = MODELS["mlp"](**sizes, epochs=1)
    model.start_from(source)
    judged = []

    def judge(fitted: Any, *given: Any, **named: Any) -> Any:
        judged.append(torch.equal(fitted.score([0, 1]), source.score([0, 1])))
        return evaluate(fitted, *given, **named)

    monkeypatch.setattr(trained, "evaluate", judge)
    model.fit(TRAIN, HELD, threads=1)
    assert judged == [True, False]
    failing = MODELS["mlp"](**sizes, lr=1e30, epochs=50)
    with pytest.raises(TrainingError):
        failing.fit(TRAIN, threads=1)
    assert torch.equal(failing.score([0, 1]), failing.score([0, 1]))


def test_schedules_by_hand() -> None:
    def at(name: str, done: float, **changes: Any) -> float:
        options = {"decay": 0.5, "decay_every": 2, "warmup": 0.0, **changes}
        return rate(name, 0.1, done, 10, **options)  # type: ignore[arg-type]

    assert at("constant", 7) == pytest.approx(0.1)
    assert [at("linear", done) for done in (0, 2.5, 10)] == pytest.approx([0.1, 0.075, 0.0])
    assert [at("exponential", done) for done in (0, 1.9, 2, 4.5)] == pytest.approx([0.1, 0.1, 0.05, 0.025])
    assert at("cosine", 2.5) == pytest.approx(0.05 * (1 + math.cos(math.pi / 4)))
    assert [at("constant", done, warmup=2) for done in (0, 1, 3)] == pytest.approx([0.0, 0.05, 0.1])
