"""write_run: a fitted model, its split and what is known of the items, as the files of a run folder."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from neucf.artifacts.folder import writing
from neucf.artifacts.manifest import (
    CANDIDATES,
    FORMAT,
    INTERACTIONS,
    ITEMS,
    MANIFEST,
    METRICS,
    USERS,
    WEIGHTS,
    FileName,
    PartName,
    describe_file,
    versions,
)
from neucf.data.dataset import Dataset, check_origin
from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Candidates, Split
from neucf.errors import ArtifactError, ConfigError, DataError
from neucf.models import Model

COLUMNS = {"ratings": "rating", "weights": "weight", "timestamps": "timestamp"}
INTERACTIONS_SCHEMA: dict[str, Any] = {
    "user": pl.Int32,
    "item": pl.Int32,
    "rating": pl.Float64,
    "weight": pl.Float64,
    "timestamp": pl.Int64,
    "part": pl.Enum(get_args(PartName)),
}


def save(
    model: Model,
    path: str | Path,
    *,
    split: Split | None = None,
    dataset: Dataset | None = None,
    force: bool = False,
) -> None:
    """Writes a fitted model as a run folder, with its training interactions and what else is given.

    Args:
        model: A fitted model.
        path: The folder to make.
        split: The split it was fitted on, to judge it and to hide validation when recommending.
        dataset: Where the split comes from: titles, and what was rated low or left out.
        force: Replace an existing run.

    Raises:
        ArtifactError: If the folder exists.
        DataError: If `split` or `dataset` has other vocabularies than the model.
        NotFittedError: If the model is not fitted.
    """
    if not isinstance(model, Model):
        raise ConfigError(f"`model` must be derived from neucf.models.Model; got {type(model).__name__}.")
    check_origin(split, dataset)
    split = Split(train=model.train, valid=None, test=None) if split is None else split
    with writing(path, force=force) as partial:
        write_run(partial.folder, model=model, split=split, dataset=dataset, manifest={})


def write_run(
    folder: Path, *, model: Model, split: Split, dataset: Dataset | None, manifest: Mapping[str, Any]
) -> None:
    """Writes everything that `open_run` reads; log.jsonl, curve.png and first.safetensors must stand there before.

    Args:
        folder: The partial folder, from `writing`.
        model: Fitted on `split.train`, or on it and then `split.valid`.
        split: Its parts share vocabularies.
        dataset: Where the split comes from; gives titles and the rows below the threshold.
        manifest: What else to record: split spec and seed, seeds, fits, `metrics` (written to metrics.json too);
            the keys written here (`model`, `data`, `parts`, ...) win.
    """
    parts = _parts(split, dataset)
    _write_vocabularies(folder, split.train, dataset)
    _write_table(_interactions(parts), folder / INTERACTIONS)
    if split.candidates is not None:
        _write_table(_candidates(split.candidates), folder / CANDIDATES)
    write_weights(folder / WEIGHTS, model)
    write_json(folder / METRICS, manifest.get("metrics", {}))
    whole = {
        **manifest,
        "format": FORMAT,
        "versions": versions(),
        "model": {
            "name": model.name,
            "config": model.config.model_dump(mode="json"),
            "engine": model.engine,
            "best_epoch": model.best_epoch,
            "fitted_on": _fitted_on(model, split),
        },
        "data": _data(split, dataset),
        "num_users": split.train.num_users,
        "num_items": split.train.num_items,
        "parts": {
            name: {"rows": len(part), "columns": [column for column in COLUMNS if getattr(part, column) is not None]}
            for name, part in parts.items()
        },
        "notes": list(split.notes),
        "candidates": None if split.candidates is None else len(split.candidates.users),
        "files": {
            name: describe_file(folder / name).model_dump() for name in get_args(FileName) if (folder / name).exists()
        },
    }
    write_json(folder / MANIFEST, whole)


def write_weights(file: Path, model: Model) -> None:
    """Writes what a fitted model learnt as a safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in model.arrays().items()}, file)
    share(file)


def share(file: Path) -> None:
    """Lets a file be read by whom new files are: safetensors lets its owner alone, a service may be another."""
    probe = file.with_name(f"{file.name}.mode")
    probe.touch()
    shutil.copymode(probe, file)
    probe.unlink()


def write_json(file: Path, value: Any) -> None:
    """Writes indented JSON, in UTF-8; a number that is not finite as null."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    file.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """Returns a JSON value with null for each number that is not finite, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parts(split: Split, dataset: Dataset | None) -> dict[PartName, Interactions]:
    parts: dict[PartName, Interactions] = {}
    for name in get_args(PartName):
        part: Interactions | None = getattr(dataset if name.startswith("below") else split, name, None)
        if part is None or (name == "below_k_core" and not len(part)):
            continue
        if part.user_ids != split.train.user_ids or part.item_ids != split.train.item_ids:
            raise DataError(f"`{name}` must have the vocabularies of `train`; it has others.")
        parts[name] = part
    return parts


def _write_vocabularies(folder: Path, train: Interactions, dataset: Dataset | None) -> None:
    _write_table(pl.DataFrame({"user_id": train.user_ids.series}), folder / USERS)
    items = pl.DataFrame({"item_id": train.item_ids.series})
    if dataset is not None and dataset.items is not None:
        if dataset.items.height != items.height:
            raise DataError(f"`items` must have a row for each of {items.height} items; got {dataset.items.height}.")
        items = dataset.items.select("title", "year", "genres").insert_column(0, items["item_id"])
    _write_table(items, folder / ITEMS)


def _write_table(table: pl.DataFrame, file: Path) -> None:
    try:
        table.write_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise ArtifactError(f"{file} could not be written: {error}.") from None


def _interactions(parts: Mapping[PartName, Interactions]) -> pl.DataFrame:
    """Returns the rows of all parts, each in its own order; a column that a part lacks is null there."""
    frames = [
        pl.DataFrame(
            {
                "user": part.users,
                "item": part.items,
                **{COLUMNS[name]: getattr(part, name) for name in COLUMNS},
                "part": pl.repeat(name, len(part), dtype=pl.String, eager=True),
            },
            schema_overrides=INTERACTIONS_SCHEMA,
        )
        for name, part in parts.items()
    ]
    rows = pl.concat(frames)
    unused = [name for name in COLUMNS.values() if rows[name].null_count() == len(rows)]
    return rows.drop(unused)


def _candidates(candidates: Candidates) -> pl.DataFrame:
    width = candidates.negatives.shape[1]
    negatives = np.ascontiguousarray(candidates.negatives, np.int32)
    return pl.DataFrame(
        {
            "user": candidates.users.astype(np.int32),
            "positive": candidates.positives.astype(np.int32),
            "negatives": pl.Series(negatives, dtype=pl.Array(pl.Int32, width)),
        }
    )


def _fitted_on(model: Model, split: Split) -> str:
    if _same_rows(model.train, split.train):
        return "train"
    if split.valid is not None and _same_rows(model.train, concatenate(split.train, split.valid)):
        return "train and valid"
    if split.valid_history is not None and _same_rows(model.train, split.train_and_valid):
        return "train, valid and valid_history"
    raise DataError(
        "`model` must be fitted on `split.train`, or on it and then `split.valid` (and `split.valid_history`); it was "
        "fitted on others."
    )


def _same_rows(first: Interactions, second: Interactions) -> bool:
    return np.array_equal(first.users, second.users) and np.array_equal(first.items, second.items)


def _data(split: Split, dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {"name": None, "sha256": split.train.sha256()}
    return {
        "name": dataset.name,
        "settings": dict(dataset.settings),
        "report": asdict(dataset.report),
        "sha256": dataset.interactions.sha256(),
    }
