"""The file of an index: ann.safetensors in the run folder; a folder from a stranger is safe to open."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neucf.artifacts import Run
from neucf.artifacts.manifest import WEIGHTS
from neucf.artifacts.writer import share
from neucf.errors import ArtifactError, ConfigError, NeucfError
from neucf.models import MODELS, Model
from neucf.serving.ann import Ann, Built, build, item_vectors

FILE = "ann.safetensors"
FORMAT = "1"
_PREFIX = "retriever."


def build_index(
    run: Run, retriever: Run | None = None, *, k: int = 10, probes: int | None = None, threads: int | None = None
) -> Built:
    """Builds the index of a run and writes it into its folder; an earlier one is replaced.

    Args:
        run: What ranks.
        retriever: A run whose scores are inner products, trained on the same rows; None where `run` is one.
        k: Recall is measured at K.
        probes: Cells looked into for a person; None for as many as a recall of 98 % takes.
        threads: Of the exact ranking.

    Returns:
        What was measured.

    Raises:
        ConfigError: If the retriever does not fit, or faiss is not installed.
    """
    from safetensors.numpy import save_file

    model = run.model if retriever is None else retriever.model
    if model.train.sha256() != run.model.train.sha256():
        raise ConfigError("`retriever` must be trained on this run's rows, else it knows others. Train it on the same.")
    ann, built = build(run.model, model, k=k, probes=probes, threads=threads)
    entry = None if retriever is None else {"name": model.name, "config": model.config.model_dump(mode="json")}
    about = {"format": FORMAT, "weights": _weights(run), "retriever": entry, "built": asdict(built)}
    arrays = {"centres": ann.centres}
    if retriever is not None:
        arrays |= {_PREFIX + name: np.ascontiguousarray(value) for name, value in model.arrays().items()}
    with tempfile.TemporaryDirectory(prefix=f".{FILE}.", dir=run.path) as folder:
        save_file(arrays, Path(folder) / FILE, {"about": json.dumps(about)})
        share(Path(folder) / FILE)
        os.replace(Path(folder) / FILE, run.path / FILE)
    return built


def open_index(run: Run) -> Ann:
    """Returns the index of a run; raises ArtifactError where there is none, or it is malformed or of other weights."""
    from safetensors import SafetensorError, safe_open

    file = run.path / FILE
    if file.is_symlink() or not file.is_file():
        raise ArtifactError(f"{run.path} must hold {FILE}, its index; it does not. Run: neucf index {run.path}")
    try:
        # The library checks every offset against the size of the file before it allocates.
        with safe_open(file, "numpy") as opened:
            about = json.loads((opened.metadata() or {}).get("about", "null"))
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if about["format"] != FORMAT or about["weights"] != _weights(run):
            raise ArtifactError("it is of another run's weights")
        centres, probes = arrays.pop("centres"), int(about["built"]["probes"])
        model = _retriever(run, about["retriever"], arrays)
        width = item_vectors(model).shape[1]
    except (SafetensorError, NeucfError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{file} must be an index of this run; it is not ({error}). Build it again: neucf index {run.path}"
        ) from None
    cells = centres.shape[0] if centres.ndim == 2 else 0
    if not (
        centres.dtype == np.float32
        and centres.ndim == 2
        and centres.shape[1] == width
        and 1 <= probes <= cells <= len(run.model.item_ids)
        and np.isfinite(centres).all()
    ):
        raise ArtifactError(f"{file} must hold `centres` (C, {width}), finite, of at most a cell an item; it does not.")
    return Ann(model, centres, probes)


def _retriever(run: Run, entry: Any, arrays: dict[str, Any]) -> Model:
    if entry is None:
        return run.model
    weights = {name.removeprefix(_PREFIX): value for name, value in arrays.items()}
    return MODELS[entry["name"]](**entry["config"]).restore(run.model.train, weights)


def _weights(run: Run) -> str:
    return str(run.manifest["files"][WEIGHTS]["sha256"])
