"""tune: trials of a model's settings, judged on validation alone; then the best, trained as always and tested once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neucf.artifacts import Run
from neucf.artifacts.manifest import WEIGHTS
from neucf.data.dataset import Dataset
from neucf.data.splits import Split
from neucf.errors import ConfigError, TrainingError
from neucf.experiment.budget import Budget
from neucf.experiment.provenance import data_hash, kept_hash
from neucf.experiment.records import RESULTS, Records
from neucf.experiment.runs import Training, made_folder, run_fingerprint, train_and_judge, unseen
from neucf.experiment.studies import Trial
from neucf.experiment.study_file import open_study, require_optuna
from neucf.experiment.trying import Trying, Watcher
from neucf.fitting import open_halves
from neucf.models.config import Config, Tunable, search_space
from neucf.plan import Plan

BEST = "best"


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a study found.

    Attributes:
        metric: What was maximised on validation.
        trials: Those that ended.
        importances: How much each setting mattered; empty for few trials, or where the study has more than these.
    """

    metric: str
    trials: tuple[Trial, ...]
    importances: Mapping[str, float]

    @property
    def best(self) -> Trial:
        """The complete trial with the highest value, the earliest of equals."""
        complete = [trial for trial in self.trials if trial.value is not None]
        return max(complete, key=lambda trial: trial.value or 0.0)


def space_of(plan: Plan) -> tuple[Config, dict[str, Tunable]]:
    """Returns a plan's config, and where its settings are looked for; raises ConfigError where there is nothing to."""
    config = plan.config
    if plan.half_runs is not None:
        # For what depends on it: a neumf with given halves is a pretrained one.
        config = config.model_copy(update={"pretrain": True})
    space = search_space(config)
    if not space:
        given = ", ".join(sorted(config.model_fields_set)) or "nothing"
        raise ConfigError(
            f"`model` must have settings left to look for; got {plan.model} with {given} given. "
            f"`neucf models {plan.model}` lists what can be tuned."
        )
    return config, space


def check(plan: Plan) -> None:
    """Checks what can be checked before any data is read; raises ConfigError."""
    require_optuna()
    plan.check()
    space_of(plan)


def tune(
    plan: Plan,
    dataset: Dataset,
    parts: Split,
    folder: str | Path,
    budget: Budget,
    metric: str,
    *,
    watcher: Watcher | None = None,
) -> Tuned:
    """Tries settings of a model until the budget is spent; a folder's study of the same goes on.

    The first trial is the defaults. A trial that falls below the median of earlier ones is pruned, one whose settings
    do not go together or whose loss is not finite fails, and both keep the reason. The test part is not looked at.

    Args:
        plan: What to train; its settings stay, all others are looked for.
        dataset: What to train on.
        parts: Its split.
        folder: Where the study is kept.
        budget: How much may be tried.
        metric: What to maximise on validation, such as `ndcg@20`.
        watcher: Sees it go on.

    Returns:
        Every trial that ended.

    Raises:
        ConfigError: If there is nothing to look for or no validation part, or the folder's study is of something else.
        TrainingError: If no trial completed.
    """
    if parts.valid is None:
        raise ConfigError(
            f"`split` must hold out validation, on which settings are chosen; got {plan.split!r}. "
            "Give it a share, or carve it from train: --valid random:0.1."
        )
    config, space = space_of(plan)
    halves = open_halves(plan, parts)
    asked = {
        "model": plan.model,
        "config": config.model_dump(mode="json", exclude=set(space)),
        "space": {name: str(tunable) for name, tunable in space.items()},
        "halves": _weights(halves),
        "metric": metric,
        "protocol": plan.protocol,
        "data": data_hash(dataset, parts),
        "split": plan.split,
        "split_seed": plan.split_seed,
        "valid": plan.valid,
        "seed": plan.seed,
    }
    # A trial never meets what settings are not chosen on.
    seen = replace(parts, test=None, test_history=None, candidates=None)
    place = made_folder(folder)
    with open_study(place, asked, config, space, plan.seed) as study:
        trying = Trying(plan, seen, metric, place, [half.first_model for half in halves], watcher)
        while True:
            trials = study.trials
            if budget.resumes(trials):
                trials = trials[:-1]
            if watcher is not None and trials:
                watcher.trials(budget.within(trials))
            if budget.spent(trials):
                break
            trying.next(study, budget, trials)
        # An equal budget is an equal one whatever a larger one found before
        whole, trials = trials, list(budget.within(trials))
        if not any(trial.value is not None for trial in trials):
            raise TrainingError(f"A trial of {plan.model} must complete; none did. The last: {trials[-1].reason}")
        return Tuned(metric, tuple(trials), study.importances() if trials == whole else {})


def tuned_plan(plan: Plan, tuned: Tuned) -> Plan:
    """Returns the plan with the best trial's settings."""
    return replace(plan, settings={**plan.settings, **tuned.best.settings})


def train_best(
    plan: Plan,
    dataset: Dataset,
    parts: Split,
    folder: str | Path,
    tuned: Tuned,
    *,
    on_test: bool = True,
    training: Training = unseen,
) -> dict[str, Any]:
    """Trains the best settings as `neucf train` does, into the folder's `best`, and judges them on test, once.

    A run that stands there already is taken over, and so are its metrics.

    Args:
        plan: The plan that was tuned.
        dataset: What to train on.
        parts: Its split.
        folder: The study's folder.
        tuned: What the study found.
        on_test: Whether to judge it on test, where the split has one.
        training: Shows the training.

    Returns:
        The record: settings, fits, `valid_metrics`, and `metrics` on test or None.
    """
    best = tuned_plan(plan, tuned)
    record, _ = train_and_judge(
        Path(folder) / BEST,
        best,
        dataset,
        parts,
        label=f"{plan.model}-tuned",
        fingerprint=run_fingerprint(best, kept_hash(dataset, parts), _weights(open_halves(plan, parts))),
        records=Records(Path(folder) / RESULTS),
        more={"trial": tuned.best.number, "settings": tuned.best.settings},
        training=training,
        on_test=on_test,
    )
    return record


def times_on_test(folder: str | Path) -> int:
    """Returns how many best runs of a study were judged on test, as one of each budget may be."""
    return Records(Path(folder) / RESULTS).num_on_test


def _weights(halves: Sequence[Run]) -> list[str]:
    """Returns the SHA-256 of what each half learnt: at the same path another may have come to stand."""
    return [half.manifest["files"][WEIGHTS]["sha256"] for half in halves]
