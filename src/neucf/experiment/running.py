"""run: every model of a recipe, for every seed, trained or taken over, and judged once."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import neucf
from neucf.artifacts import Run, open_run, unfinished_request, writing
from neucf.artifacts.manifest import read_manifest
from neucf.data.dataset import Dataset
from neucf.data.splits import Split
from neucf.data.splitting import split
from neucf.errors import ArtifactError, ConfigError, NeucfError, TrainingError
from neucf.evaluation import evaluate
from neucf.experiment.provenance import commit, data_hash, fingerprint
from neucf.experiment.recipe import ModelTable, Recipe, run_name
from neucf.experiment.records import RESULTS, Records, Result
from neucf.fitting import Plan, Watch, fit_into
from neucf.models import Model

ERRORS = "errors.log"

# Given what is trained and the metric that chooses its epoch, shows the training that runs inside.
Training = Callable[[str, str | None], AbstractContextManager[Watch | None]]


def run(
    recipe: Recipe,
    dataset: Dataset,
    out: str | Path,
    *,
    num_seeds: int = 1,
    device: str = "auto",
    threads: int | None = None,
    training: Training | None = None,
    done: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Trains and judges every model of a recipe; what `out` holds already is taken over where it fits.

    A model that fails becomes a result with an error, and the others go on.

    Args:
        recipe: What to train and how to judge it.
        dataset: The recipe's data, read.
        out: The folder of the runs and of results.jsonl.
        num_seeds: Seeds 0 to this less one.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; None for every core.
        training: Shows a training.
        done: Called with each result as it ends.

    Returns:
        A result for each seed and model, seed by seed, in the recipe's order.
    """
    if num_seeds < 1:
        raise ConfigError(f"`seeds` must be at least 1; got {num_seeds}.")
    for entry in recipe.models:
        recipe.plan(entry, device=device).check()
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"`out` must be a folder that can be written; {out} cannot ({error.strerror}).") from None
    parts = split(dataset, recipe.data.split, recipe.data.split_seed, valid=recipe.data.valid)
    study = _Study(
        recipe=recipe,
        dataset=dataset,
        parts=parts,
        data=data_hash(dataset, parts),
        out=folder,
        device=device,
        threads=threads,
        training=training or (lambda *_: contextlib.nullcontext()),
        records=Records(folder / RESULTS),
    )
    results: list[Result] = []
    for seed in range(num_seeds):
        ended: dict[str, Result] = {}
        for entry in recipe.in_order:
            ended[entry.label] = study.result(entry, seed, ended)
            if done is not None:
                done(ended[entry.label])
        results += [ended[entry.label] for entry in recipe.models]
    return results


@dataclass(frozen=True, slots=True)
class _Study:
    """What all trainings of one call share."""

    recipe: Recipe
    dataset: Dataset
    parts: Split
    data: str
    out: Path
    device: str
    threads: int | None
    training: Training
    records: Records

    def result(self, entry: ModelTable, seed: int, ended: dict[str, Result]) -> Result:
        """Returns how one model and seed ended; an error of any kind is a result too."""
        try:
            for half in entry.halves or ():
                if ended[half].error is not None:
                    raise TrainingError(f"{entry.label} starts from {half}, which failed.")
            return self._trained_and_judged(entry, seed, ended)
        except Exception as error:
            text = str(error)
            if not isinstance(error, NeucfError):
                with (self.out / ERRORS).open("a") as file:
                    file.write(f"{run_name(entry.label, seed)}\n{traceback.format_exc()}\n")
                text = f"{type(error).__name__}: {error} ({self.out / ERRORS} says where)"
            failed = Result(entry.label, entry.model, seed, error=text)
            self.records.append({**self._header(), **failed.to_json()})
            return failed

    def _trained_and_judged(self, entry: ModelTable, seed: int, ended: dict[str, Result]) -> Result:
        plan = self.recipe.plan(entry, seed, self.out, device=self.device, threads=self.threads)
        mark = self._fingerprint(entry, plan, seed)
        folder = self.out / run_name(entry.label, seed)
        reused = _recorded_fingerprint(folder) == mark
        if not reused:
            resume = (unfinished_request(folder) or {}).get("fingerprint") == mark
            with (
                writing(folder, force=True, resume=resume) as partial,
                self.training(f"{entry.label}, seed {seed}", plan.metric) as watch,
            ):
                record = {"label": entry.label, "fingerprint": mark}
                fit_into(partial, plan, self.dataset, self.parts, watch=watch, record=record)
        judged_alike = {"fingerprint": mark, "protocol": plan.protocol, "ks": list(plan.ks)}
        row = self.records.find(judged_alike) if reused else None
        if row is None:
            opened = open_run(folder)
            fits = opened.manifest["fits"]
            row = {
                **self._header(),
                "label": entry.label,
                "model": entry.model,
                "seed": seed,
                **judged_alike,
                "train_seconds": round(sum(fit["seconds"] for fit in fits) + self._seconds_of_halves(entry, ended), 3),
                "fits": fits,
                "config": opened.manifest["model"]["config"],
                **self._judged(opened, plan),
            }
            self.records.append(row)
        return Result(
            label=entry.label,
            model=entry.model,
            seed=seed,
            run=str(folder),
            train_seconds=row["train_seconds"],
            metrics=row["metrics"],
            valid_metrics=row["valid_metrics"],
            reused=reused,
        )

    def _judged(self, opened: Run, plan: Plan) -> dict[str, Any]:
        """Returns the metrics on test, and on validation those of the model that was trained without it."""

        def judged(model: Model, on: str) -> dict[str, Any]:
            found = evaluate(model, self.parts, on, plan.protocol, plan.ks, seed=plan.seed, threads=self.threads)
            return found.to_json(plan.split, plan.split_seed, plan.seed)

        valid: dict[str, Any] = opened.manifest["metrics"]["valid"]
        if valid["protocol"] != plan.protocol or set(valid["metrics"]) != set(self.recipe.evaluation.metrics):
            valid = judged(opened.first_model, "valid")
        return {"metrics": judged(opened.model, "test"), "valid_metrics": valid}

    def _fingerprint(self, entry: ModelTable, plan: Plan, seed: int) -> str:
        halves = [self.recipe.by_label[label] for label in entry.halves or ()]
        return fingerprint(
            {
                "model": plan.model,
                "config": plan.new_model().config.model_dump(mode="json"),
                "halves": [self._fingerprint(half, self.recipe.plan(half, seed), seed) for half in halves],
                "data": self.data,
                "split": plan.split,
                "split_seed": plan.split_seed,
                "valid": plan.valid,
                "refit": plan.refits,
                "seed": seed,
            }
        )

    def _seconds_of_halves(self, entry: ModelTable, ended: dict[str, Result]) -> float:
        return sum(ended[half].train_seconds or 0.0 for half in entry.halves or ())

    def _header(self) -> dict[str, Any]:
        return {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": neucf.__version__,
            "commit": commit(),
            "recipe": self.recipe.name,
        }


def _recorded_fingerprint(folder: Path) -> str | None:
    """Returns the fingerprint of the run in a folder; None where there is no run, or none of a recipe."""
    try:
        _, manifest = read_manifest(folder)
    except ArtifactError:
        return None
    return manifest.get("fingerprint")
