"""What runs must have alike to be compared, and what they share: protocol, list lengths, the metric that chose."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neucf.artifacts.manifest import read_manifest
from neucf.data.splits import Split
from neucf.errors import ConfigError
from neucf.experiment.comparing import DECLARED, GIVEN, USUAL
from neucf.experiment.selection import at_k, k_of
from neucf.models.config import unknown_name
from neucf.plan import KS

# Keys of a manifest that must be alike, with the options that set them.
OPTIONS = {"split": "--split", "split_seed": "--split-seed", "valid": "--valid"}


def recorded_manifest(path: str | Path) -> dict[str, Any]:
    """Returns a run's manifest; raises ConfigError where it does not say how it was split."""
    _, manifest = read_manifest(Path(path))
    if not {"split", "split_seed", "seed", "fits"} <= set(manifest):
        raise ConfigError(
            f"`runs` must be made by `neucf train`, `run` or `tune`, which record how they split; {path} was not. "
            "Leave it out."
        )
    return manifest


@dataclass(frozen=True, slots=True)
class Fact:
    """What runs must have alike, and how a sentence tells it."""

    value: str
    told: str = field(compare=False)


def recorded(manifest: Mapping[str, Any], on: str) -> dict[str, Fact]:
    """Returns what a manifest says of data, split and, for the test part, refit, by the name that errors give it."""
    data = manifest["data"]
    found = {"data": Fact(data["sha256"], f"{data['name']} with SHA-256 {data['sha256'][:12]}")}
    for key, option in OPTIONS.items():
        found[option] = Fact(str(manifest.get(key)), str(manifest.get(key)))
    if on == "test":
        # On validation each is judged by the model that was trained without it.
        fitted_on = manifest["model"]["fitted_on"]
        found["rows to train on (--refit)"] = Fact(fitted_on, fitted_on)
    return found


def held(parts: Split) -> dict[str, Fact]:
    """Returns what a split holds, by the name that errors give it."""
    found = {}
    for name in ("train", "valid", "test"):
        part = getattr(parts, name)
        digest = "" if part is None else part.sha256()
        found[f"{name} rows"] = Fact(digest, "none" if part is None else f"{len(part):,} with SHA-256 {digest[:12]}")
    if parts.candidates is not None:
        digest = hashlib.sha256(parts.candidates.negatives.astype("<i4").tobytes()).hexdigest()
        found["candidates"] = Fact(digest, f"lists with SHA-256 {digest[:12]}")
    return found


def refuse_others(paths: Sequence[str | Path], found: Sequence[Mapping[str, Fact]]) -> None:
    """Raises ConfigError at the first thing in which a run differs from the first."""
    first, none = found[0], Fact("", "none")
    for path, other in zip(paths, found, strict=True):
        for key in {**first, **other}:
            ours, theirs = first.get(key, none), other.get(key, none)
            if ours != theirs:
                raise ConfigError(
                    f"`runs` must have the same {key}; {paths[0]} has {ours.told} and {path} has {theirs.told}. "
                    "Compare them apart, or train one of them as the other was."
                )


def shared_protocol(paths: Sequence[str | Path], manifests: Sequence[Mapping[str, Any]]) -> str:
    """Returns the protocol that every run was judged by on validation; full where none was."""
    found = {
        valid["protocol"]: Path(path).name
        for path, manifest in zip(paths, manifests, strict=True)
        if (valid := _valid(manifest)) is not None
    }
    if len(found) > 1:
        told = ", ".join(f"{name} has {protocol}" for protocol, name in found.items())
        raise ConfigError(
            f"`runs` must share their protocol to be compared; {told}. Judge all by one: --protocol full or sampled."
        )
    return next(iter(found), "full")


def _valid(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = manifest.get("metrics", {}).get("valid")
    return found


def shared_ks(manifests: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Returns the list lengths that all runs were judged by on validation, else the usual ones."""
    every = [
        set(map(k_of, at_k(valid["metrics"]))) for manifest in manifests if (valid := _valid(manifest)) is not None
    ]
    return tuple(sorted(set.intersection(*every))) or KS if every else KS


def primary_metric(
    metric: str | None, protocol: str, metrics: Sequence[str], manifests: Sequence[Mapping[str, Any]]
) -> tuple[str, str]:
    """Returns the metric that tests are corrected on, and how it came to be chosen; raises ConfigError."""
    known = at_k(metrics)
    if metric is not None and metric not in known:
        raise unknown_name("metric", metric, known, f"metric of the {protocol} protocol at one of the ks")
    chose = {manifest["model"]["config"].get("metric") for manifest in manifests} - {None}
    declared = chose.pop() if len(chose) == 1 else None
    if declared in known and metric in (None, declared):
        return declared, DECLARED
    if metric is not None:
        return metric, GIVEN
    return [name for name in known if name.startswith("ndcg@")][-1], USUAL
