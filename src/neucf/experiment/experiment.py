"""An experiment: every model of a recipe, for every seed, trained or taken over, and judged once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neucf.data.dataset import Dataset
from neucf.data.splits import Split
from neucf.data.splitting import split
from neucf.errors import ConfigError, TrainingError
from neucf.experiment.budget import Budget
from neucf.experiment.provenance import kept_hash
from neucf.experiment.recipe import Recipe, run_name, study_name
from neucf.experiment.recipe_tables import ModelTable
from neucf.experiment.records import RESULTS, Records, Result
from neucf.experiment.runs import (
    Training,
    explain,
    made_folder,
    per_user_of,
    record_header,
    run_fingerprint,
    train_and_judge,
    unseen,
)
from neucf.experiment.study_file import require_optuna
from neucf.experiment.trying import Watcher
from neucf.experiment.tuning import tune
from neucf.experiment.tuning_plots import draw
from neucf.plan import Plan

# Given a label, the metric that is maximised and the budget, shows the tuning that runs inside.
Tuning = Callable[[str, str, Budget], AbstractContextManager[Watcher | None]]


def check(recipe: Recipe, num_seeds: int = 1, device: str = "auto") -> None:
    """Checks what can be checked before any data is read; raises ConfigError."""
    if num_seeds < 1:
        raise ConfigError(f"`seeds` must be at least 1; got {num_seeds}.")
    for entry in recipe.models:
        recipe.plan(entry, device=device).check()
        if entry.tune is not None:
            require_optuna()


def run(
    recipe: Recipe,
    dataset: Dataset,
    out: str | Path,
    *,
    num_seeds: int = 1,
    device: str = "auto",
    threads: int | None = None,
    training: Training | None = None,
    tuning: Tuning | None = None,
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
        tuning: Shows the tuning of a model whose table asks for it.
        done: Called with each result as it ends.

    Returns:
        A result for each seed and model, seed by seed, in the recipe's order.
    """
    check(recipe, num_seeds, device)
    folder = made_folder(out)
    parts = split(dataset, recipe.data.split, recipe.data.split_seed, valid=recipe.data.valid)
    experiment = _Experiment(
        recipe=recipe,
        dataset=dataset,
        parts=parts,
        data=kept_hash(dataset, parts),
        out=folder,
        device=device,
        threads=threads,
        training=training or unseen,
        tuning=tuning or (lambda *_: contextlib.nullcontext()),
        records=Records(folder / RESULTS),
    )
    results: list[Result] = []
    for seed in range(num_seeds):
        ended: dict[str, Result] = {}
        for entry in recipe.in_order:
            ended[entry.label] = experiment.result(entry, seed, ended)
            if done is not None:
                done(ended[entry.label])
        results += [ended[entry.label] for entry in recipe.models]
    return results


@dataclass(frozen=True, slots=True)
class _Experiment:
    """What all trainings of one call share."""

    recipe: Recipe
    dataset: Dataset
    parts: Split
    data: str
    out: Path
    device: str
    threads: int | None
    training: Training
    tuning: Tuning
    records: Records
    # Label to the settings found.
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)

    def result(self, entry: ModelTable, seed: int, ended: dict[str, Result]) -> Result:
        """Returns how one model and seed ended; an error of any kind is a result too."""
        try:
            for half in entry.halves or ():
                if ended[half].error is not None:
                    raise TrainingError(f"{entry.label} starts from {half}, which failed.")
            return self._trained_and_judged(entry, seed, ended)
        except Exception as error:
            failed = Result(entry.label, entry.model, seed, error=explain(error, self.out, run_name(entry.label, seed)))
            self.records.append({**record_header(), "recipe": self.recipe.name, **failed.to_json()})
            return failed

    def _trained_and_judged(self, entry: ModelTable, seed: int, ended: dict[str, Result]) -> Result:
        more: dict[str, Any] = {"recipe": self.recipe.name}
        if entry.tune is not None:
            more["tuned"] = self._tune(entry, entry.tune.budget)
        plan = self._plan(entry, seed)
        folder, fingerprint = self.out / run_name(entry.label, seed), self._fingerprint(entry, plan, seed)
        row, reused = train_and_judge(
            folder,
            plan,
            self.dataset,
            self.parts,
            label=entry.label,
            fingerprint=fingerprint,
            records=self.records,
            more=more,
            training=self.training,
            seconds_before=sum(ended[half].train_seconds or 0.0 for half in entry.halves or ()),
        )
        return Result(
            label=entry.label,
            model=entry.model,
            seed=seed,
            run=str(folder),
            train_seconds=row["train_seconds"],
            metrics=row["metrics"],
            valid_metrics=row["valid_metrics"],
            reused=reused,
            per_user=per_user_of(folder, plan, self.parts, fingerprint) if self.recipe.evaluation.reference else None,
        )

    def _fingerprint(self, entry: ModelTable, plan: Plan, seed: int) -> str:
        halves = [self.recipe.by_label[label] for label in entry.halves or ()]
        return run_fingerprint(
            plan, self.data, [self._fingerprint(half, self._plan(half, seed), seed) for half in halves]
        )

    def _plan(self, entry: ModelTable, seed: int) -> Plan:
        return self.recipe.plan(entry, seed, self.out, self.tuned, device=self.device, threads=self.threads)

    def _tune(self, entry: ModelTable, budget: Budget) -> dict[str, Any]:
        """Tunes a model by seed 0, unless that was done, and returns what the record says of it."""
        folder = self.out / study_name(entry.label, self.recipe.data.split_seed)
        if entry.label not in self.tuned:
            plan, select = self._plan(entry, 0), self.recipe.evaluation.select
            with self.tuning(entry.label, select, budget) as watcher:
                found = tune(plan, self.dataset, self.parts, folder, budget, select, watcher=watcher)
            with contextlib.suppress(ImportError):
                draw(found, entry.label, folder)
            self.tuned[entry.label] = found.best.settings
        return {"budget": str(budget), "settings": self.tuned[entry.label]}
