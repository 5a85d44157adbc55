"""Existing run folders as one leaderboard: what `neucf compare` gives, where the runs may be compared at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neucf.artifacts import Run, open_run
from neucf.errors import ConfigError
from neucf.evaluation import evaluate
from neucf.evaluation.beyond import genre_flags
from neucf.evaluation.titles import protocol_title
from neucf.experiment.alike import (
    held,
    primary_metric,
    recorded,
    recorded_manifest,
    refuse_others,
    shared_ks,
    shared_protocol,
)
from neucf.experiment.leaderboard import Leaderboard, compared, ordered_rows, trained_by
from neucf.experiment.per_user import PerUser
from neucf.experiment.records import Result
from neucf.experiment.selection import metric_names
from neucf.models.config import unknown_name

# What makes two runs of one label two seeds of the same training.
SETTINGS = ("model", "refit", "halves", "init_from")


def compare_runs(
    paths: Sequence[str | Path],
    *,
    reference: str | None = None,
    on: str = "test",
    protocol: str | None = None,
    ks: Sequence[int] | None = None,
    metric: str | None = None,
    threads: int | None = None,
    judging: Callable[[str], None] | None = None,
) -> Leaderboard:
    """Judges run folders alike, and compares them with one of them, paired by user.

    Runs of one label, alike but for their seed, are averaged over seeds. A label is what the recipe called the run,
    else its model's name; where two runs of a label differ in more than the seed, each is called by its folder's name,
    or by its path.

    Args:
        paths: Two run folders or more.
        reference: The label that the others are held against; None: the first run's.
        on: `test`, or `valid`, which judges the model trained on train alone.
        protocol: `full` or `sampled`; None: the one that all runs were judged by on validation.
        ks: List lengths; None: those that all runs have in common, else 10 and 20.
        metric: What tests are corrected on, and rows ordered by; None: what chose all runs' epochs, else nDCG at the
            largest k.
        threads: CPU threads; None for every core.
        judging: Called with each label and seed before it is judged.

    Raises:
        ArtifactError: If a folder cannot be opened.
        ConfigError: If the runs differ in data, split, refit or protocol, or an argument is out of range.
        DataError: If the runs have no such part.
    """
    if len(paths) < 2:
        raise ConfigError(f"`runs` must name at least two run folders; got {len(paths)}. Add another.")
    twice = [path for path, times in Counter(Path(path).resolve() for path in paths).items() if times > 1]
    if twice:
        raise ConfigError(f"`runs` must each be named once; {twice[0].name} stands twice. Leave one out.")
    manifests = [recorded_manifest(path) for path in paths]
    refuse_others(paths, [recorded(manifest, on) for manifest in manifests])
    protocol = protocol or shared_protocol(paths, manifests)
    ks = tuple(sorted(set(ks))) if ks else shared_ks(manifests)
    metrics = metric_names(protocol, ks)
    metric, chosen = primary_metric(metric, protocol, metrics, manifests)
    labels = _labels(paths, manifests)
    reference = labels[0] if reference is None else reference
    if reference not in labels:
        raise unknown_name("reference", reference, list(dict.fromkeys(labels)), "label of these runs")
    # Test is met only once nothing can be refused any more; opened twice, so that no two runs lie in memory.
    refuse_others(paths, [held(open_run(path).split) for path in paths])
    results: list[Result] = []
    for path, label in zip(paths, labels, strict=True):
        run = open_run(path)
        if judging is not None:
            judging(f"{label}, seed {run.manifest['seed']}")
        results.append(_judged(run, label, on, protocol, ks, threads))
    rows = ordered_rows(results, metric)
    return Leaderboard(
        name="compare",
        protocol=protocol,
        title=_title(manifests[0], results, protocol, on),
        select=metric,
        metrics=tuple(metrics),
        rows=rows,
        published={},
        results=tuple(results),
        on=on,
        comparisons=compared(rows, results, reference, metric, on, chosen),
    )


def _labels(paths: Sequence[str | Path], manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns each run's label: seeds of one training share it, and nothing else does."""
    names = [
        (manifest.get("label") or manifest["model"]["name"], Path(path).resolve().name, str(path))
        for path, manifest in zip(paths, manifests, strict=True)
    ]
    # Which of its names each run goes by; runs that may not share one each take their next.
    chosen = [0] * len(names)
    while True:
        labels = [each[place] for each, place in zip(names, chosen, strict=True)]
        clashing = [
            run
            for run, label in enumerate(labels)
            if chosen[run] < 2
            and not _are_seeds([each for each, other in zip(manifests, labels, strict=True) if other == label])
        ]
        if not clashing:
            return labels
        for run in clashing:
            chosen[run] += 1


def _are_seeds(manifests: Sequence[Mapping[str, Any]]) -> bool:
    """Whether runs are one training by different seeds."""
    settings = [{key: _settings(manifest, key) for key in SETTINGS} for manifest in manifests]
    seeds = [manifest["seed"] for manifest in manifests]
    return all(each == settings[0] for each in settings) and len(set(seeds)) == len(seeds)


def _settings(manifest: Mapping[str, Any], key: str) -> Any:
    if key == "model":
        return {name: manifest["model"][name] for name in ("name", "config")}
    # Each seed starts from halves of its own.
    return bool(manifest.get(key)) if key == "halves" else manifest.get(key)


def _judged(run: Run, label: str, on: str, protocol: str, ks: tuple[int, ...], threads: int | None) -> Result:
    """Judges a run, on validation too where there is any.

    By its own seed in full ranking, as `neucf run` did; sampled candidates are those of one seed for all runs, since
    differences between runs are not to be those between draws.
    """
    manifest, genres = run.manifest, genre_flags(run.items)
    seed = manifest["seed"] if protocol == "full" else 0
    documents: dict[str, dict[str, Any] | None] = {"test": None, "valid": None}
    per_user = None
    for part in dict.fromkeys([on, "valid"]):
        if part != on and run.split.valid is None:
            continue
        # Only a model that never saw validation may be judged on it.
        model = run.first_model if part == "valid" else run.model
        found = evaluate(model, run.split, part, protocol, ks, seed=seed, threads=threads)
        documents[part] = found.to_json(manifest["split"], manifest["split_seed"], seed, genres)
        per_user = PerUser.of(found) if part == on else per_user
    return Result(
        label=label,
        model=manifest["model"]["name"],
        seed=manifest["seed"],
        run=str(run.path),
        train_seconds=round(sum(fit["seconds"] for fit in manifest["fits"]), 3),
        metrics=documents["test"],
        valid_metrics=documents["valid"],
        per_user=per_user,
    )


def _title(manifest: Mapping[str, Any], results: Sequence[Result], protocol: str, on: str) -> str:
    document = results[0].metrics or results[0].valid_metrics or {}
    data = manifest["data"]
    threshold = data.get("settings", {}).get("min_rating")
    rated = "" if threshold is None else f", rated {threshold:.15g} or more"
    return (
        f"{protocol_title(protocol, on, document.get('ties'))}; {data['name']}{rated}; split {manifest['split']}, "
        f"seed {manifest['split_seed']}{trained_by(results)}"
    )
