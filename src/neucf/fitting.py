"""Fitting: the step from a read data set to a run folder, the same for every command that trains."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neucf.artifacts import Partial, Run, claim, open_run, write_run, write_weights
from neucf.artifacts.curve import draw_curve
from neucf.artifacts.folder import FIRST_FIT
from neucf.artifacts.manifest import CURVE, FIRST_WEIGHTS, LOG
from neucf.artifacts.monitor import RunMonitor, Watch
from neucf.data.dataset import Dataset
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.data.splitting import split
from neucf.errors import ConfigError
from neucf.evaluation import evaluate
from neucf.evaluation.beyond import genre_flags
from neucf.models import Model
from neucf.models.trained import TrainedModel
from neucf.plan import Plan
from neucf.recommender import Monitor


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a training gave.

    Attributes:
        model: The model to keep.
        split: What it was trained, chosen and will be judged on.
        manifest: What was written of it.
    """

    model: Model
    split: Split
    manifest: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """Seconds of training, validation and refit included."""
        return float(sum(fit["seconds"] for fit in self.manifest["fits"]))


def fit_into(
    partial: Partial,
    plan: Plan,
    dataset: Dataset,
    parts: Split | None = None,
    *,
    watch: Watch | None = None,
    record: Mapping[str, Any] | None = None,
) -> Fitted:
    """Trains as planned and fills a run folder.

    Validation chooses the epoch and is evaluated by the model it chose; the test part is not looked at. With
    `plan.refits` the model is then trained anew on train and validation, on the same schedule, up to that epoch.

    Args:
        partial: The folder in the making; a resumed one goes on from its checkpoint.
        plan: What to train.
        dataset: What to train on.
        parts: Its split, where the caller has made it already.
        watch: Called after each epoch.
        record: What else the manifest says; an interrupted run goes on only if it is asked for the same.
    """
    parts = split(dataset, plan.split, plan.split_seed, valid=plan.valid) if parts is None else parts
    asked = {
        "split": plan.split,
        "split_seed": plan.split_seed,
        "valid": plan.valid,
        "seed": plan.seed,
        "refit": plan.refits,
        "init_from": None if plan.init_from is None else str(plan.init_from),
        "halves": None if plan.half_runs is None else [half.name for half in plan.half_runs],
        **(record or {}),
    }
    halves = open_halves(plan, parts)
    config = plan.config.model_dump(mode="json")
    claim(partial.folder, {"model": plan.model, "config": config, "data": dataset.interactions.sha256(), **asked})

    first_fit = partial.folder / FIRST_FIT
    first = _read_first(first_fit)
    if first is not None:
        fit, metrics = first
    else:
        first_halves = [half.first_model for half in halves]
        known = (parts.valid, parts.valid_history)
        with RunMonitor(partial, "fit", watch) as monitor:
            model, fit = fit_model(plan, "fit", parts.train, known, halves=first_halves, monitor=monitor)
        fit = _of_all_sittings(fit, monitor)
        metrics = {"valid": None}
        if parts.valid is not None:
            evaluation = evaluate(model, parts, "valid", plan.protocol, plan.ks, seed=plan.seed, threads=plan.threads)
            metrics["valid"] = evaluation.to_json(plan.split, plan.split_seed, plan.seed, genre_flags(dataset.items))
        if plan.refits and parts.valid is not None:
            # An interrupted refit goes on from here.
            write_weights(partial.folder / FIRST_WEIGHTS, model)
            first_fit.write_text(json.dumps([fit, metrics]))
    fits = [fit]
    if plan.refits and parts.valid is not None:
        whole = parts.train_and_valid
        refitted = [half.model for half in halves]
        with RunMonitor(partial, "refit", watch) as monitor:
            model, refit = fit_model(plan, "refit", whole, halves=refitted, stop_at=fit["epochs"], monitor=monitor)
        fits.append(_of_all_sittings(refit, monitor))

    manifest = {**asked, "device": plan.device, "threads": plan.threads, "fits": fits, "metrics": metrics}
    if plan.metric is not None:
        draw_curve(partial.folder / LOG, plan.metric, partial.folder / CURVE)
    write_run(partial.folder, model=model, split=parts, dataset=dataset, manifest=manifest)
    return Fitted(model, parts, manifest)


def _read_first(file: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Returns what an interrupted run kept of its first fit; None, and it is done anew, where that cannot be read."""
    try:
        fit, metrics = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return fit, metrics


def _of_all_sittings(fit: dict[str, Any], monitor: RunMonitor) -> dict[str, Any]:
    """Returns what the manifest says of a fit, with the seconds of the sittings that it goes on from."""
    return {**fit, "seconds": round(fit["seconds"] + monitor.seconds_before, 3)}


def open_halves(plan: Plan, parts: Split) -> list[Run]:
    """Opens the runs that a neumf starts from; raises ConfigError unless they were trained on this very split."""
    paths = plan.half_runs
    if paths is None:
        return []
    runs = [open_run(path) for path in paths]
    for name, run in zip(("gmf", "mlp"), runs, strict=True):
        if run.model.name != name:
            raise ConfigError(f"`{name}` must be a run of {name}; {run.path} is one of {run.model.name}.")
        if run.split.train.sha256() != parts.train.sha256():
            raise ConfigError(
                f"`{name}` must be trained on this run's train rows, else it may have seen what is held out; "
                f"{run.path} was trained on others. Train it with the same data, --split, --split-seed and --valid."
            )
    return runs


def fit_model(
    plan: Plan,
    stage: str,
    train: Interactions,
    known: tuple[Interactions | None, Interactions | None] = (None, None),
    *,
    halves: Sequence[Model] = (),
    stop_at: Sequence[int] | None = None,
    monitor: Monitor | None = None,
) -> tuple[Model, dict[str, Any]]:
    """Returns a fitted model, and what the manifest says of the fit.

    Args:
        plan: What to train.
        stage: What the manifest calls the fit.
        train: What to train on.
        known: The validation part and its history.
        halves: The fitted gmf and mlp that a neumf starts from.
        stop_at: Epochs to stop at, as a refit does.
        monitor: Watches the fit.
    """
    model = plan.new_model()
    valid, valid_history = known
    if isinstance(model, TrainedModel):
        model.valid_history = valid_history
    if halves:
        model.halves = tuple(halves)  # type: ignore[attr-defined]
    if stop_at is not None:
        model.stop_at(tuple(stop_at))
    start = time.perf_counter()
    model.fit(train, valid, seed=plan.seed, device=plan.device, threads=plan.threads, monitor=monitor)
    return model, {
        "stage": stage,
        "rows": len(train),
        "epochs": list(model.best_epochs),
        "engine": model.engine,
        "seconds": round(time.perf_counter() - start, 3),
    }
