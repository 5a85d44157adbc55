"""write_report: what a leaderboard and its run folders say, gathered and put into the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from neucf.artifacts import Run, open_run
from neucf.artifacts.manifest import read_manifest
from neucf.data.interactions import concatenate
from neucf.evaluation.statistics import bootstrap_interval
from neucf.evaluation.titles import metric_title, part_title
from neucf.experiment import Leaderboard, Result
from neucf.experiment.comparing import COLUMNS
from neucf.experiment.leaderboard import SELECTED_ON_TEST, Row
from neucf.experiment.leaderboard_files import beyond_accuracy
from neucf.experiment.plots import curve
from neucf.experiment.tables import interval, p_value, seconds
from neucf.reporting.charts import Chart, interval_chart, line_chart
from neucf.reporting.samples import activity_of, samples

TEMPLATE = Path(__file__).with_name("report.html")
BUCKETS = {
    "by_user_activity": ("training rows of the user", "By user activity"),
    "by_item_popularity": ("training rows of the item, others irrelevant", "By item popularity"),
}


def write_report(board: Leaderboard, file: Path, *, command: str, recipe: str | None = None) -> None:
    """Writes a leaderboard as one HTML file without scripts, which loads nothing; it holds data of a few users.

    Args:
        board: The leaderboard; its runs must lie where it says.
        file: The file to write.
        command: What to type to get it again.
        recipe: The recipe's text, where there is one.

    Raises:
        ImportError: Without Jinja2.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    file.write_text(template.render(**_content(board, command, recipe)), encoding="utf-8")


def _content(board: Leaderboard, command: str, recipe: str | None) -> dict[str, Any]:
    done = [row for row in board.rows if row.num_seeds]
    # In the order in which models were named, so that a colour stays with its label whatever its rank.
    labels = list(dict.fromkeys(result.label for result in board.results))
    colours = {label: number for number, label in enumerate(labels)}
    best = open_run(_of(board, done[0])[0].run or "") if done else None
    manifests = {row.label: read_manifest(Path(_of(board, row)[0].run or ""))[1] for row in done}
    return {
        "title": board.title,
        "data": {} if best is None else _data(best),
        "heads": [
            *(f"{metric_title(name)}, {part_title(part)}" for part, name in board.columns),
            f"{metric_title(board.select)}, {part_title(board.on)}: 95 % interval",
            "training",
        ],
        "rows": [row for each in board.rows for row in _rows(board, each)] + _published(board, None),
        "notes": [*board.footnotes, f"Interval: bootstrap of {metric_title(board.select)} over users, this split."],
        "sources": board.sources,
        "comparisons": _comparisons(board),
        "charts": [chart for chart in (_curves(board, done, colours), *_buckets(board, done, colours)) if chart],
        "beyond": dict(zip(("heads", "rows"), beyond_accuracy(board), strict=True)),
        "samples": None if best is None else {"model": done[0].label, "users": samples(best, board.on)},
        "command": command,
        "recipe": recipe,
        "configs": {label: json.dumps(manifest["model"]["config"]) for label, manifest in manifests.items()},
        "versions": next(iter(manifests.values()))["versions"] if manifests else {},
    }


def _of(board: Leaderboard, row: Row) -> list[Result]:
    """Returns the results of a row that ended well, one a seed."""
    return [result for result in board.results if result.label == row.label and result.error is None]


def _data(run: Run) -> dict[str, str]:
    manifest, split = run.manifest, run.split
    parts = {name: getattr(split, name) for name in ("train", "valid", "test")}
    histories = [part for part in (split.valid_history, split.test_history) if part is not None]
    if histories:
        parts["known of users held out"] = reduce(concatenate, histories)
    activity = activity_of(split)
    popularity = split.train.item_counts()
    pairs = split.train.num_users * split.train.num_items
    settings = {name: value for name, value in manifest["data"].get("settings", {}).items() if value is not None}
    rows = sum(len(part) for part in parts.values() if part is not None)
    return {
        "data": str(manifest["data"]["name"]),
        **({"read with": ", ".join(f"{name} {value}" for name, value in settings.items())} if settings else {}),
        "users": f"{split.train.num_users:,}, {np.count_nonzero(activity == 0):,} without a known row",
        "items": f"{split.train.num_items:,}, {np.count_nonzero(popularity == 0):,} without a training row",
        "positives": f"{rows:,} ({rows / max(1, pairs):.2%} of all pairs)",
        "split": f"{manifest['split']}, seed {manifest['split_seed']}",
        "rows": ", ".join(f"{len(part):,} {name}" for name, part in parts.items() if part is not None),
        "known rows a user": f"median {np.median(activity):g}, at most {activity.max(initial=0):,}",
        "training rows an item": f"median {np.median(popularity):g}, at most {popularity.max(initial=0):,}",
        "SHA-256": manifest["data"]["sha256"],
    }


def _rows(board: Leaderboard, row: Row) -> list[dict[str, Any]]:
    cells = [*board.figures(row), _interval(board, row), seconds(row.train_seconds)]
    return [{"label": row.label, "cells": cells, "published": False}, *_published(board, row.label)]


def _published(board: Leaderboard, label: str | None) -> list[dict[str, Any]]:
    rows = []
    for name, number in board.published_beside(label).items():
        values = [
            f"{number.metrics[metric]:.4f}" if part == "test" and metric in number.metrics else ""
            for part, metric in board.columns
        ]
        mark = f" {SELECTED_ON_TEST}" if number.selected_on_test else ""
        rows.append({"label": name + mark, "cells": [*values, "", ""], "published": True, "source": number.source})
    return rows


def _interval(board: Leaderboard, row: Row) -> str:
    """Returns the interval of a row's metric over users, each averaged over seeds; empty where they are not known."""
    results, documents = _of(board, row), board.documents(row.label)
    values = [result.per_user.values[board.select] for result in results if result.per_user is not None]
    if values and len(values) == len(results):
        low, high = (float(end) for end in bootstrap_interval(np.mean(values, axis=0)))
    elif len(documents) == 1:
        low, high = documents[0]["metrics"][board.select]["ci95"]
    else:
        return ""
    return f"{low:.4f} to {high:.4f}"


def _comparisons(board: Leaderboard) -> dict[str, Any] | None:
    found = board.comparisons
    if found is None:
        return None
    bars = [(row.label, row.metrics[found.primary]) for row in found.rows]
    others = found.exploratory(found.rows[0])
    return {
        "title": found.title,
        "heads": COLUMNS,
        "rows": [(row.label, found.cells(row)) for row in found.rows],
        "notes": found.footnotes(),
        "chart": interval_chart(
            f"{found.title}: differences and 95 % intervals",
            [(label, bar.interval[0], bar.difference, bar.interval[1]) for label, bar in bars],
        ),
        "others": [
            (
                metric_title(name),
                [
                    f"{each.difference:+.4f} ({interval(each.interval)}; p {p_value(each.p_value)})"
                    for each in (row.metrics[name] for row in found.rows)
                ],
            )
            for name in others
        ],
    }


def _curves(board: Leaderboard, done: Sequence[Row], colours: Mapping[str, int]) -> Chart | None:
    found = {row.label: curve(_of(board, row)[0].run, board.select) for row in done}
    lines: dict[str, Mapping[float, float]] = {
        label: {float(epoch): value for epoch, value in line.items()} for label, line in found.items() if line
    }
    title = f"Training: {metric_title(board.select)} on validation by epoch, first seed"
    return line_chart(title, "epoch", lines, colours)


def _buckets(board: Leaderboard, done: Sequence[Row], colours: Mapping[str, int]) -> list[Chart | None]:
    """Returns accuracy by user activity and item popularity.

    Seeds share the split, hence the buckets. A model trained anew knows more rows than one that was not, and has other
    buckets: it has no line beside that one.
    """
    charts, part = [], part_title(board.on)
    for key, (x_title, title) in BUCKETS.items():
        documents = {row.label: board.documents(row.label) for row in done}
        first: list[dict[str, Any]] = next((each[0].get(key, []) for each in documents.values() if each), [])
        names = [f"{_range(bucket['low'], bucket['high'])} · {bucket['num_users']:,} users" for bucket in first]
        lines: dict[str, Mapping[float, float]] = {
            label: {
                float(place): mean(document[key][place]["metrics"][board.select]["mean"] for document in each)
                for place in range(len(names))
            }
            for label, each in documents.items()
            if each and all(_bounds(document.get(key, [])) == _bounds(first) for document in each)
        }
        charts.append(line_chart(f"{title}: {metric_title(board.select)}, {part} part", x_title, lines, colours, names))
    return charts


def _range(low: int, high: int) -> str:
    return "0 (cold)" if high == 0 else f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}"


def _bounds(buckets: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, int]]:
    return [(bucket["low"], bucket["high"], bucket["num_users"]) for bucket in buckets]
