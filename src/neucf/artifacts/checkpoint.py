"""Checkpoints: a tree of arrays, tensors and plain values in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neucf.errors import ArtifactError

CHECKPOINT = "checkpoint.safetensors"


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes `state`; a reader, or a crash at any moment, finds either the previous one or this one whole.

    Args:
        folder: The partial run folder.
        state: Torch tensors (any device), numpy arrays, None, bools, integers of any size, floats and texts, in
            dicts, lists and tuples of any depth; all come back as they were, tensors on the CPU.

    Raises:
        TypeError: At a value of another type.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    tree = json.dumps(_encode(state, tensors))
    temporary = folder / f"{CHECKPOINT}.new"
    save_file(tensors, temporary, metadata={"state": tree})
    with open(temporary, "rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, folder / CHECKPOINT)


def has_checkpoint(folder: Path) -> bool:
    """Returns whether a checkpoint stands in the folder."""
    return (folder / CHECKPOINT).is_file()


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Returns the last state saved in `folder`, or None; raises ArtifactError if the file is damaged."""
    if not has_checkpoint(folder):
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / CHECKPOINT, "pt") as file:
            state: dict[str, Any] = _decode(json.loads(file.metadata()["state"]), file)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{folder / CHECKPOINT} must be a checkpoint of this neucf; it cannot be read ({error}). "
            "Train again without --resume, with --force."
        ) from None
    return state


def _encode(value: Any, tensors: dict[str, Any]) -> Any:
    """Returns `value` as JSON allows it; arrays move to `tensors`, and {"$tag": ...} marks what JSON has not."""
    import torch

    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (torch.Tensor, np.ndarray)):
        name = str(len(tensors))
        tag = "$tensor" if isinstance(value, torch.Tensor) else "$array"
        # A copy: safetensors refuses tensors that share memory, as best and current weights may.
        tensors[name] = torch.as_tensor(value).detach().cpu().contiguous().clone()
        return {tag: name}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(part, tensors) for part in value]}
    if isinstance(value, list):
        return [_encode(part, tensors) for part in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(part, tensors) for key, part in value.items()}
        return {"$dict": [[_encode(key, tensors), _encode(part, tensors)] for key, part in value.items()]}
    raise TypeError(f"A checkpoint holds arrays, numbers, texts, None, dicts, lists and tuples; got {type(value)}.")


def _decode(value: Any, file: Any) -> Any:
    if isinstance(value, list):
        return [_decode(part, file) for part in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return file.get_tensor(value["$tensor"])
    if "$array" in value:
        return file.get_tensor(value["$array"]).numpy()
    if "$tuple" in value:
        return tuple(_decode(part, file) for part in value["$tuple"])
    if "$dict" in value:
        return {_decode(key, file): _decode(part, file) for key, part in value["$dict"]}
    return {key: _decode(part, file) for key, part in value.items()}
