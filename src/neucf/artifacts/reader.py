"""open_run: a run folder, checked file by file, as a model that scores and the split it was made on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from neucf.artifacts.folder import folder_of
from neucf.artifacts.manifest import (
    CANDIDATES,
    FIRST_WEIGHTS,
    INTERACTIONS,
    ITEMS,
    USERS,
    WEIGHTS,
    Manifest,
    ModelEntry,
    PartEntry,
    PartName,
    check_files,
    read_manifest,
)
from neucf.artifacts.writer import COLUMNS, INTERACTIONS_SCHEMA
from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Candidates, Split
from neucf.data.vocabulary import Vocabulary
from neucf.errors import ArtifactError, ConfigError, DataError
from neucf.models import MODELS, Model

ID_TYPES = (pl.Int64, pl.String)
ITEM_COLUMNS = {"title": pl.String, "year": pl.Int32, "genres": pl.List(pl.String)}
WIDTHS: dict[Any, int] = {pl.Int32: 4, pl.Float64: 8, pl.Int64: 8, pl.String: 16, pl.List: 16}
# Decoded bytes a table may take whatever its size, and beyond that a byte of the file: refuses decompression bombs.
FREE_BYTES, MAX_DENSITY = 1 << 30, 1000


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, opened.

    Attributes:
        path: The folder.
        manifest: Everything manifest.json says.
        model: The fitted model, ready to score.
        split: The split it was made on, row for row.
        below_threshold: The rows below `min_rating`, hidden from recommendations.
        below_k_core: The positives below `k_core`, no part of the split; known when recommending.
        items: item_id, title, year, genres in index order; None where no titles were known.
    """

    path: Path
    manifest: dict[str, Any]
    model: Model
    split: Split
    below_threshold: Interactions
    below_k_core: Interactions
    items: pl.DataFrame | None

    @property
    def first_model(self) -> Model:
        """The model trained on train alone, which validation may judge: `model`, unless that was trained anew."""
        entry = ModelEntry.model_validate(self.manifest["model"])
        if entry.fitted_on == "train":
            return self.model
        if FIRST_WEIGHTS not in self.manifest["files"]:
            raise ArtifactError(f"{self.path} must hold {FIRST_WEIGHTS}, the weights of its first fit; it does not.")
        return _restore(self.path / FIRST_WEIGHTS, entry, self.split.train)


def open_run(path: str | Path) -> Run:
    """Opens a run folder; a folder from a stranger is safe to open.

    Raises:
        ArtifactError: If a file is missing, altered, malformed or of another format; the message names it.
    """
    folder = folder_of(path)
    manifest, raw = read_manifest(folder)
    check_files(folder, manifest)
    user_ids, _ = _read_ids(folder / USERS, "user", manifest.num_users)
    item_ids, items = _read_ids(folder / ITEMS, "item", manifest.num_items)
    parts = _read_parts(folder / INTERACTIONS, manifest.parts, user_ids, item_ids)
    below, dropped = parts.pop("below_threshold", None), parts.pop("below_k_core", None)
    candidates = _read_candidates(folder / CANDIDATES, manifest)
    split = Split(**parts, candidates=candidates, notes=tuple(manifest.notes))  # type: ignore[arg-type]
    nothing = split.train.take(np.empty(0, np.int64))
    return Run(
        path=folder,
        manifest=raw,
        model=_restore(folder / WEIGHTS, manifest.model, _trained_on(manifest.model, split)),
        split=split,
        below_threshold=nothing if below is None else below,
        below_k_core=nothing if dropped is None else dropped,
        items=items,
    )


def load(path: str | Path) -> Model:
    """Returns the fitted model of a run folder; raises ArtifactError as `open_run`."""
    return open_run(path).model


def _read_table(file: Path, rows: int, allowed: Mapping[str, Any]) -> pl.DataFrame:
    """Reads a Parquet file after its schema, its row count and its density are found sane."""
    try:
        schema = pl.read_parquet_schema(file)
        if not set(schema) <= set(allowed) or any(schema[name] not in _types(allowed[name]) for name in schema):
            raise ArtifactError(f"{file} must have columns among {dict(allowed)}; got {dict(schema)}.")
        found = pl.scan_parquet(file).select(pl.len()).collect().item()
        if found != rows:
            raise ArtifactError(f"{file} must have {rows} rows, as manifest.json says; got {found}.")
        decoded = rows * sum(_width(kind) for kind in schema.values())
        if decoded > max(FREE_BYTES, MAX_DENSITY * file.stat().st_size):
            raise ArtifactError(f"{file} must not decode to {decoded} bytes out of {file.stat().st_size}.")
        return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ArtifactError(f"{file} must be a Parquet file; it cannot be read ({error}).") from None


def _types(allowed: Any) -> tuple[Any, ...]:
    return allowed if isinstance(allowed, tuple) else (allowed,)


def _width(kind: Any) -> int:
    """Returns the bytes of one decoded value, at least."""
    if isinstance(kind, pl.Array):
        return math.prod(kind.shape) * 4
    return WIDTHS.get(kind.base_type(), 1)


def _read_ids(file: Path, kind: str, rows: int) -> tuple[Vocabulary, pl.DataFrame | None]:
    table = _read_table(file, rows, {f"{kind}_id": ID_TYPES} | (ITEM_COLUMNS if kind == "item" else {}))
    if f"{kind}_id" not in table.columns or table.width not in (1, 4):
        raise ArtifactError(f"{file} must have the column {kind}_id, alone or with title, year and genres.")
    try:
        return Vocabulary(table[f"{kind}_id"], kind), table if table.width == 4 else None
    except DataError as error:
        raise ArtifactError(f"{file}: {error}") from None


def _read_parts(
    file: Path, entries: Mapping[PartName, PartEntry], user_ids: Vocabulary, item_ids: Vocabulary
) -> dict[PartName, Interactions | None]:
    table = _read_table(file, sum(entry.rows for entry in entries.values()), INTERACTIONS_SCHEMA)
    parts: dict[PartName, Interactions | None] = dict.fromkeys(get_args(PartName))
    for name, entry in entries.items():
        rows = table.filter(pl.col("part") == name) if len(table) else table
        if rows.height != entry.rows:
            raise ArtifactError(f"{file} must have {entry.rows} rows of {name}; got {rows.height}.")
        try:
            parts[name] = Interactions(
                users=_column(rows, "user"),
                items=_column(rows, "item"),
                **{key: _column(rows, COLUMNS[key]) if key in entry.columns else None for key in COLUMNS},
                user_ids=user_ids,
                item_ids=item_ids,
            )
        except DataError as error:
            raise ArtifactError(f"{file}: {error}") from None
    return parts


def _column(rows: pl.DataFrame, name: str) -> Any:
    if rows.height and (name not in rows.columns or rows[name].null_count()):
        raise DataError(f"`{name}` must have a value in each row; one is null.")
    values = rows[name] if rows.height else pl.Series(name, [], INTERACTIONS_SCHEMA[name])
    return np.ascontiguousarray(values.to_numpy())


def _read_candidates(file: Path, manifest: Manifest) -> Candidates | None:
    if manifest.candidates is None:
        return None
    if CANDIDATES not in manifest.files:
        raise ArtifactError(f"{file} must be listed in manifest.json; it is not.")
    try:
        width = pl.read_parquet_schema(file)["negatives"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, KeyError):
        raise ArtifactError(f"{file} must be a Parquet file with the column negatives; it is not.") from None
    if not isinstance(width, pl.Array) or width.inner != pl.Int32:
        raise ArtifactError(f"{file}: `negatives` must be an array of 32-bit integers; got {width}.")
    table = _read_table(file, manifest.candidates, {"user": pl.Int32, "positive": pl.Int32, "negatives": width})
    columns = {"user": manifest.num_users, "positive": manifest.num_items, "negatives": manifest.num_items}
    arrays = {}
    for name, size in columns.items():
        values = table[name].explode() if name == "negatives" and width.size else table[name]
        array = table[name].to_numpy().reshape(table.height, -1) if name == "negatives" else table[name].to_numpy()
        low = -1 if name == "negatives" else 0
        if values.null_count() or (array.size and not (low <= array.min() and array.max() < size)):
            raise ArtifactError(f"{file}: `{name}` must hold indices in {low}..{size - 1}; it does not.")
        arrays[name] = np.ascontiguousarray(array)
    return Candidates(users=arrays["user"], positives=arrays["positive"], negatives=arrays["negatives"])


def _trained_on(entry: ModelEntry, split: Split) -> Interactions:
    if entry.fitted_on == "train and valid" and split.valid is not None:
        return concatenate(split.train, split.valid)
    return split.train_and_valid if entry.fitted_on == "train, valid and valid_history" else split.train


def _restore(file: Path, entry: ModelEntry, train: Interactions) -> Model:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        model = MODELS[entry.name](**entry.config)
    except ConfigError as error:
        raise ArtifactError(f"The run's model cannot be built: {error}") from None
    try:
        # The library checks every offset against the size of the file before it allocates.
        arrays = load_file(file)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ArtifactError(f"{file} must be a safetensors file; it cannot be read ({error}).") from None
    model.restore(train, arrays)
    model.engine, model.best_epoch = entry.engine, entry.best_epoch
    return model
