"""The manifest: what a run folder says of itself, checked as it is read."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neucf.errors import ArtifactError

FORMAT = 1
MANIFEST, METRICS, LOG, CURVE = "manifest.json", "metrics.json", "log.jsonl", "curve.png"
USERS, ITEMS, INTERACTIONS, CANDIDATES = "users.parquet", "items.parquet", "interactions.parquet", "candidates.parquet"
WEIGHTS = "weights.safetensors"
# What the first fit learnt, where the model was then trained anew on train and validation.
FIRST_WEIGHTS = "first.safetensors"
# A manifest is read whole before anything is checked.
MAX_BYTES = 64 << 20
# Runs that are named where a folder of them is given for one.
SHOWN = 20

PartName: TypeAlias = Literal[
    "train", "valid", "test", "valid_history", "test_history", "below_threshold", "below_k_core"
]
FileName: TypeAlias = Literal[
    "users.parquet",
    "items.parquet",
    "interactions.parquet",
    "candidates.parquet",
    "weights.safetensors",
    "first.safetensors",
    "metrics.json",
    "log.jsonl",
    "curve.png",
]
REQUIRED: tuple[FileName, ...] = ("users.parquet", "items.parquet", "interactions.parquet", "weights.safetensors")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class ModelEntry(_Entry):
    """How to build the model again."""

    name: str
    config: dict[str, Any]
    engine: str
    best_epoch: int | None
    fitted_on: Literal["train", "train and valid", "train, valid and valid_history"]


class PartEntry(_Entry):
    """One part of the interactions: its rows, and the columns it has beside user and item."""

    rows: int = Field(ge=0, lt=2**31)
    columns: list[Literal["ratings", "weights", "timestamps"]]


class SettingsEntry(_Entry):
    """How the data was read, as far as serving goes by it."""

    min_rating: Annotated[float, Field(allow_inf_nan=False)] | None = None


class DataEntry(_Entry):
    """What the data was."""

    name: str | None = None
    settings: SettingsEntry = SettingsEntry()


class FileEntry(_Entry):
    """One file as it was written."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(_Entry):
    """The part of manifest.json that reading relies on; everything else in it is for people."""

    model: ModelEntry
    num_users: int = Field(ge=0, lt=2**31)
    num_items: int = Field(ge=0, lt=2**31)
    parts: dict[PartName, PartEntry]
    candidates: int | None = Field(ge=0, lt=2**31)
    notes: list[str]
    data: DataEntry = DataEntry()
    files: dict[FileName, FileEntry]


def read_manifest(run: Path) -> tuple[Manifest, dict[str, Any]]:
    """Returns the checked manifest and all of it as plain JSON; raises ArtifactError."""
    file = run / MANIFEST
    if not run.is_dir():
        raise ArtifactError(f"{run} must be a run folder, made by `neucf train` or `save`; it is no folder.")
    if not file.is_file():
        inside = sorted(str(each.parent) for each in run.glob(f"*/{MANIFEST}"))
        if inside:
            shown = ", ".join(inside[:SHOWN]) + (", ..." if len(inside) > SHOWN else "")
            raise ArtifactError(f"{run} must be a run folder; it is a folder of runs. Name one of them: {shown}.")
        raise ArtifactError(f"{run} must hold {MANIFEST} to be a run folder; it does not.")
    if file.is_symlink() or file.stat().st_size > MAX_BYTES:
        raise ArtifactError(f"{file} must be a plain file of at most {MAX_BYTES >> 20} MiB; it is not.")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} must be JSON; it cannot be read ({error}).") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else None
        raise ArtifactError(
            f"{file} must have format {FORMAT}, the one this neucf reads; got {found!r}. "
            "Open it with the neucf that wrote it, or train again."
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ArtifactError(f"{file}: `{'.'.join(map(str, first['loc']))}`: {first['msg']}.") from None
    missing = [name for name in REQUIRED if name not in manifest.files]
    if missing or "train" not in manifest.parts:
        raise ArtifactError(f"{file} must list {missing[0] if missing else 'the part train'}; it does not.")
    return manifest, raw


def check_files(run: Path, manifest: Manifest) -> None:
    """Checks that each file listed is a plain file of the size and the SHA-256 written; raises ArtifactError."""
    for name, entry in manifest.files.items():
        file = run / name
        if file.is_symlink() or not file.is_file():
            raise ArtifactError(f"{file} must be a plain file; the manifest lists it, and it is not there.")
        size = file.stat().st_size
        if size != entry.bytes:
            raise ArtifactError(f"{file} must have {entry.bytes} bytes, as written; got {size}. It was altered or cut.")
        if describe_file(file).sha256 != entry.sha256:
            raise ArtifactError(f"{file} must have the SHA-256 that manifest.json gives; it was altered.")


def describe_file(file: Path) -> FileEntry:
    """Returns size and SHA-256 of a file."""
    with open(file, "rb") as handle:
        return FileEntry(sha256=hashlib.file_digest(handle, "sha256").hexdigest(), bytes=file.stat().st_size)


def versions() -> dict[str, str]:
    """Returns the versions that may bear on a result, and the machine's kind."""
    from neucf import __version__

    found = {"neucf": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in ("torch", "numpy", "scipy", "numba", "polars", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
