"""A run of an experiment: trained, or taken over where its folder holds just that, and judged once."""

from __future__ import annotations

import contextlib
import fcntl
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import neucf
from neucf.artifacts import Run, open_run, unfinished_request, writing
from neucf.artifacts.manifest import read_manifest
from neucf.artifacts.monitor import Watch
from neucf.data.dataset import Dataset
from neucf.data.splits import Split
from neucf.errors import ArtifactError, NeucfError
from neucf.evaluation import evaluate
from neucf.evaluation.beyond import genre_flags
from neucf.experiment.per_user import PerUser, find, keep
from neucf.experiment.provenance import commit, fingerprint
from neucf.experiment.records import Records
from neucf.experiment.selection import at_k, k_of
from neucf.fitting import fit_into
from neucf.models import Model
from neucf.plan import Plan

ERRORS, LOCK = "errors.log", ".lock"

# Given what is trained and the metric that chooses its epoch, shows the training that runs inside.
Training = Callable[[str, str | None], AbstractContextManager[Watch | None]]


def unseen(name: str, metric: str | None) -> AbstractContextManager[Watch | None]:
    """Shows nothing of a training."""
    del name, metric
    return contextlib.nullcontext()


def run_fingerprint(plan: Plan, data: str, halves: Sequence[str] = ()) -> str:
    """Returns the fingerprint of a run: of its plan, `kept_hash` of its data, and what tells its halves apart."""
    return fingerprint(
        {
            "model": plan.model,
            "config": plan.config.model_dump(mode="json"),
            "halves": list(halves),
            "data": data,
            "split": plan.split,
            "split_seed": plan.split_seed,
            "valid": plan.valid,
            "refit": plan.refits,
            "seed": plan.seed,
        }
    )


def train_and_judge(
    folder: Path,
    plan: Plan,
    dataset: Dataset,
    parts: Split,
    *,
    label: str,
    fingerprint: str,
    records: Records,
    more: Mapping[str, Any],
    training: Training = unseen,
    seconds_before: float = 0.0,
    on_test: bool = True,
) -> tuple[dict[str, Any], bool]:
    """Trains a run unless its folder holds it, and judges it unless a record says that this was done.

    Args:
        folder: The run folder.
        plan: What to train.
        dataset: What to train on.
        parts: Its split.
        label: What the run is called.
        fingerprint: Of the run, from `run_fingerprint`.
        records: Where the record is looked for, and added.
        more: What else the record says.
        training: Shows the training.
        seconds_before: Seconds of training that the run builds on.
        on_test: Whether to judge it on test, where there is one; on validation it always is.

    Returns:
        The record, and whether nothing had to be trained.
    """
    reused = recorded_fingerprint(folder) == fingerprint
    if not reused:
        resume = (unfinished_request(folder) or {}).get("fingerprint") == fingerprint
        with (
            writing(folder, force=True, resume=resume) as partial,
            training(f"{label}, seed {plan.seed}", plan.metric) as watch,
        ):
            fit_into(partial, plan, dataset, parts, watch=watch, record={"label": label, "fingerprint": fingerprint})
    judged_alike = _judged_alike(plan, fingerprint)
    # A run that was judged once is not judged again, even where another stood in its folder in between.
    row, on_test = records.find(judged_alike), on_test and parts.test is not None
    if row is None or (on_test and row["metrics"] is None):
        opened = open_run(folder)
        fits = opened.manifest["fits"]
        row = {
            **record_header(),
            **more,
            "label": label,
            "model": plan.model,
            "seed": plan.seed,
            **judged_alike,
            "train_seconds": round(sum(fit["seconds"] for fit in fits) + seconds_before, 3),
            "fits": fits,
            "config": opened.manifest["model"]["config"],
            **_judged(opened, parts, plan, on_test, fingerprint),
        }
        records.append(row)
    return row, reused


def per_user_of(folder: Path, plan: Plan, parts: Split, fingerprint: str) -> PerUser:
    """Returns each user's metrics on test: as they were kept when the run was judged, else judged again."""
    judged_alike = _judged_alike(plan, fingerprint)
    found = find(folder, judged_alike)
    if found is None:
        model = open_run(folder).model
        evaluation = evaluate(model, parts, "test", plan.protocol, plan.ks, seed=plan.seed, threads=plan.threads)
        found = PerUser.of(evaluation)
        keep(folder, judged_alike, found)
    return found


def _judged_alike(plan: Plan, fingerprint: str) -> dict[str, Any]:
    return {"fingerprint": fingerprint, "protocol": plan.protocol, "ks": list(plan.ks)}


def _judged(opened: Run, parts: Split, plan: Plan, on_test: bool, fingerprint: str) -> dict[str, Any]:
    """Returns the metrics on test, and on validation those of the model that was trained without it."""

    def judged(model: Model, on: str) -> dict[str, Any]:
        found = evaluate(model, parts, on, plan.protocol, plan.ks, seed=plan.seed, threads=plan.threads)
        if on == "test":
            keep(opened.path, _judged_alike(plan, fingerprint), PerUser.of(found))
        return found.to_json(plan.split, plan.split_seed, plan.seed, genre_flags(opened.items))

    valid: dict[str, Any] = opened.manifest["metrics"]["valid"]
    listed = set(map(k_of, at_k(valid["metrics"])))
    if valid["protocol"] != plan.protocol or listed != set(plan.ks):
        valid = judged(opened.first_model, "valid")
    return {"metrics": judged(opened.model, "test") if on_test else None, "valid_metrics": valid}


def explain(error: Exception, folder: Path, what: str) -> str:
    """Returns an error in one sentence; the traceback of one that nobody foresaw goes to errors.log."""
    if isinstance(error, NeucfError):
        return str(error)
    with (folder / ERRORS).open("a", encoding="utf-8") as file:
        file.write(f"{what}\n{''.join(traceback.format_exception(error))}\n")
    return f"{type(error).__name__}: {error} ({folder / ERRORS} says where)"


def record_header() -> dict[str, Any]:
    """Returns what every record begins with: when, and by which neucf."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": neucf.__version__,
        "commit": commit(),
    }


def recorded_fingerprint(folder: Path) -> str | None:
    """Returns the fingerprint of the run in a folder; None where there is no run, or none of an experiment."""
    try:
        _, manifest = read_manifest(folder)
    except ArtifactError:
        return None
    return manifest.get("fingerprint")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the folder of an experiment against other processes; raises ArtifactError where another holds it."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(f"{folder} is in use by another process. Wait for it, or choose another.") from None
        yield


def made_folder(out: str | Path) -> Path:
    """Returns the folder of an experiment, made where it is missing; raises ArtifactError where it cannot be."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"`out` must be a folder that can be written; {out} cannot ({error.strerror}).") from None
    return folder
