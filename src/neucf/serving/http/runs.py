"""Runs: what is served: one run, several, or the runs of a folder, each by its label."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neucf.artifacts import open_run
from neucf.artifacts.manifest import MANIFEST, read_manifest
from neucf.errors import ArtifactError, ConfigError
from neucf.serving.live import Live

# By the first of these that any run of a folder was judged by, the best is the default.
METRICS = ("ndcg@20", "ndcg@10")
# Each stands in memory with its data.
MAX_RUNS = 8


class Runs(Mapping[str, Live]):
    """Opened runs by label, the default one first; immutable, so that a reload is a swap of one for another."""

    def __init__(self, lives: Mapping[str, Live]) -> None:
        self._lives = dict(lives)
        self.default = next(iter(self._lives))

    def __getitem__(self, label: str) -> Live:
        return self._lives[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lives)

    def __len__(self) -> int:
        return len(self._lives)


def open_runs(paths: Sequence[Path]) -> Runs:
    """Opens what `find_runs` finds; raises ArtifactError, and ConfigError where runs are of different data.

    Events, and the users and items they name, are those of one data set.
    """
    lives = {label: Live(open_run(path), label) for label, path in find_runs(paths).items()}
    first = next(iter(lives.values()))
    for label, live in lives.items():
        if live.data != first.data:
            raise ConfigError(
                f"`RUN` must name runs of one data set; {first.label} is of {first.data} and {label} of {live.data}. "
                "Serve them apart, each with events of its own."
            )
    return Runs(lives)


def find_runs(paths: Sequence[Path]) -> dict[str, Path]:
    """Returns run folders by label, their names, the default first.

    Args:
        paths: Run folders; or folders of such, of which those best on validation are taken, at most MAX_RUNS, the best
            first.

    Raises:
        ArtifactError: If there is no run.
        ConfigError: If two have the same name.
    """
    found: dict[str, Path] = {}
    for run in (run for path in paths for run in _runs_of(path)):
        label = run.resolve().name
        if label in found:
            raise ConfigError(f"`RUN` must name folders of different names; {found[label]} and {run} share theirs.")
        found[label] = run
    return found


def _runs_of(folder: Path) -> list[Path]:
    if (folder / MANIFEST).exists() or not folder.is_dir():
        return [folder]
    # What is still being trained is no run yet.
    runs = [file.parent for file in sorted(folder.glob(f"*/{MANIFEST}")) if file.parent.suffix != ".partial"]
    if not runs:
        raise ArtifactError(f"{folder} must be a run folder, or a folder of run folders; it holds none.")
    judged = {run: valid_metrics(read_manifest(run)[1]) for run in runs}
    metric = next((name for name in METRICS if any(name in metrics for metrics in judged.values())), METRICS[0])
    means = {run: metrics.get(metric, {}).get("mean", -math.inf) for run, metrics in judged.items()}
    return sorted(runs, key=lambda run: -means[run])[:MAX_RUNS]


def valid_metrics(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns metric name to mean and ci95 on validation; empty where the run was not judged."""
    found = judged(manifest).get("metrics")
    values = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in values if isinstance(value, dict) and _is_number(value.get("mean"))}


def judged(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what a run says of how it was judged on validation, whatever else it may say there; empty if nothing."""
    found: Any = manifest
    for key in ("metrics", "valid"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
