"""What the service says of the runs it serves: each by itself, side by side, and as a map of items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from neucf.serving.answers import json_id
from neucf.serving.http.runs import METRICS, Runs, judged, valid_metrics
from neucf.serving.live import Live

# Users named so that a client has somebody to begin with.
NUM_EXAMPLES = 12
# Points of a learning curve; longer ones keep only the epochs that were judged.
MAX_CURVE = 200


def summary(live: Live) -> dict[str, Any]:
    """Returns what a list of runs says of one."""
    manifest = live.run.manifest
    return {
        "label": live.label,
        "model": live.run.model.name,
        "data": live.data,
        "split": manifest.get("split"),
        "seed": manifest.get("seed"),
        "num_users": len(live.user_ids),
        "num_items": len(live.item_ids),
        "loaded_at": live.loaded_at,
    }


def description(live: Live) -> dict[str, Any]:
    """Returns everything that is said of a run."""
    manifest = live.run.manifest
    return {
        **summary(live),
        "config": manifest.get("model", {}).get("config", {}),
        "min_rating": live.min_rating,
        "genres": live.genres,
        "years": live.years,
        "user_examples": [json_id(user) for user in live.user_ids.series.head(NUM_EXAMPLES).to_list()],
        "valid_metrics": _metrics(live),
        "trained_with": manifest.get("versions", {}),
    }


def leaderboard(runs: Runs) -> dict[str, Any]:
    """Returns the runs with metrics on validation, intervals and learning curves, the best first."""
    metric = next((name for name in METRICS if any(name in _metrics(live) for live in runs.values())), METRICS[0])
    lives = sorted(runs.values(), key=lambda live: -_metrics(live).get(metric, {"mean": float("-inf")})["mean"])
    return {"on": "valid", "metric": metric, "models": [_entry(live, metric) for live in lives]}


def _entry(live: Live, metric: str) -> dict[str, Any]:
    manifest = live.run.manifest
    valid, fits = judged(manifest), manifest.get("fits")
    timed = [fit.get("seconds") for fit in fits if isinstance(fit, dict)] if isinstance(fits, list) else []
    seconds = [each for each in timed if isinstance(each, int | float)]
    return {
        **summary(live),
        "protocol": valid.get("protocol"),
        "num_users_judged": valid.get("num_users"),
        "train_seconds": round(sum(seconds), 3) if seconds else None,
        "metrics": _metrics(live),
        "curve": curve(live.epochs, metric),
    }


def _metrics(live: Live) -> dict[str, dict[str, Any]]:
    metrics = valid_metrics(live.run.manifest)
    return {name: {"mean": value["mean"], "ci95": value.get("ci95")} for name, value in metrics.items()}


def curve(epochs: Iterable[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Returns epoch, loss and the metric on validation (None between evaluations) as a run's log tells them."""
    points = [
        {"epoch": line["epoch"], "loss": line.get("loss"), "value": (line.get("valid_metrics") or {}).get(metric)}
        for line in epochs
    ]
    return points if len(points) <= MAX_CURVE else [each for each in points if each["value"] is not None][:MAX_CURVE]


def points(live: Live) -> dict[str, Any]:
    """Returns the map of a run's items; raises ConfigError where its model has no item vectors."""
    made = live.item_map
    placed = zip(made.items.tolist(), made.points.round(4).tolist(), strict=True)
    return {
        "label": live.label,
        "explained": made.explained,
        "points": [{**live.service.described(item), "x": x, "y": y} for item, (x, y) in placed],
    }
