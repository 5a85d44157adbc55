"""A leaderboard as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from neucf.artifacts.writer import write_json
from neucf.evaluation.titles import metric_title, part_title
from neucf.experiment.leaderboard import Leaderboard
from neucf.experiment.selection import k_of
from neucf.experiment.tables import markdown_table, seconds

BEYOND = {"coverage": "coverage", "gini": "Gini", "popularity": "mean popularity", "diversity": "genre diversity"}

Documents = Sequence[Mapping[str, Any]]


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """Writes leaderboard.md, .csv and .json, and returns their paths."""
    files = [folder / f"leaderboard.{suffix}" for suffix in ("md", "csv", "json")]
    files[0].write_text(to_markdown(board), encoding="utf-8")
    files[1].write_text(to_csv(board), encoding="utf-8")
    write_json(files[2], to_json(board))
    return files


def to_markdown(board: Leaderboard) -> str:
    """Returns the summary, comparisons, what lies beyond accuracy, and every metric, as tables."""
    heads = (f"{metric_title(name)}{', validation' if part == 'valid' else ''}" for part, name in board.columns)
    body: list[list[str]] = []
    for row in board.rows:
        body += [[row.label, *board.figures(row), seconds(row.train_seconds)], *_published(board, row.label)]
    body += _published(board, None)
    lines = [f"# {board.title}", "", *markdown_table(["model", *heads, "training"], body), ""]
    lines += [*(f"{note}  " for note in board.footnotes), ""]
    if board.comparisons is not None:
        lines += board.comparisons.to_markdown()
    lines += [*_beyond_accuracy(board), *_every_metric(board)]
    if board.published:
        lines += ["## Sources", "", *(f"- {source}" for source in board.sources), ""]
    return "\n".join(lines)


def to_csv(board: Leaderboard) -> str:
    """Returns a line for each label and each published number."""
    columns = [
        f"{part} {name}{more}" for part in ("valid", "test") for name in board.metrics for more in ("", " deviation")
    ]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["label", "model", "seeds", "train_seconds", *columns, "source", "error"], lineterminator="\n"
    )
    writer.writeheader()
    for row in board.rows:
        cells: dict[str, Any] = {"label": row.label, "model": row.model, "seeds": row.num_seeds}
        for part in ("valid", "test"):
            for name, figure in getattr(row, part).items():
                cells |= {f"{part} {name}": figure.mean, f"{part} {name} deviation": figure.deviation}
        writer.writerow({**cells, "train_seconds": row.train_seconds, "error": " ".join(row.errors)})
    for label, number in board.published.items():
        cells = {f"test {name}": value for name, value in number.metrics.items()}
        writer.writerow({"label": label, **cells, "source": number.source})
    return text.getvalue()


def to_json(board: Leaderboard) -> dict[str, Any]:
    """Returns everything: rows, published numbers, and the single results."""
    return {
        "title": board.title,
        "select": board.select,
        "rows": [asdict(row) for row in board.rows],
        "published": {label: number.model_dump() for label, number in board.published.items()},
        "models": [result.to_json() for result in board.results],
        **({} if board.comparisons is None else {"comparisons": board.comparisons.to_json()}),
    }


def _published(board: Leaderboard, label: str | None) -> list[list[str]]:
    indent = "" if label is None else "&emsp;"
    return [
        [f"{indent}*{name}*", *(f"*{cell}*" if cell else "" for cell in cells), ""]
        for name, cells in board.published_rows(label)
    ]


def beyond_accuracy(board: Leaderboard) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Returns the heads, and by label the cells, of what the lists show whoever was right, and of warm and cold.

    Both are empty where the protocol tells nothing of it.
    """
    found = {row.label: board.documents(row.label) for row in board.rows if row.num_seeds}
    if not all("beyond_accuracy" in document for documents in found.values() for document in documents):
        return [], []
    k, metric = k_of(board.select), metric_title(board.select)
    columns: dict[str, Callable[[Documents], str]] = {
        f"{title}@{k}": lambda documents, name=name: _mean(documents, "beyond_accuracy", f"{name}@{k}")  # type: ignore[misc]
        for name, title in BEYOND.items()
    }
    columns |= {
        "cold users": lambda documents: _count(documents, "num_cold_users"),
        "cold items": lambda documents: _count(documents, "num_cold_items"),
        f"{metric}, warm users": lambda documents: _mean(documents, "warm_users", "metrics", board.select, "mean"),
        f"{metric}, warm items": lambda documents: _mean(documents, "warm_items", "metrics", board.select, "mean"),
    }
    return list(columns), [(label, [cell(each) for cell in columns.values()]) for label, each in found.items()]


def _beyond_accuracy(board: Leaderboard) -> list[str]:
    heads, rows = beyond_accuracy(board)
    if not rows:
        return []
    table = markdown_table(["model", *heads], [[label, *cells] for label, cells in rows])
    return [f"## Beyond accuracy, and the cold, {part_title(board.on)} part", "", *table, ""]


def _mean(documents: Documents, *keys: str) -> str:
    """Returns the mean over seeds of what stands under the keys; empty where a document lacks it."""
    values = []
    for document in documents:
        value: Any = document
        for key in keys:
            value = value.get(key, {})
        values.append(value)
    if not all(isinstance(value, float) for value in values):
        return ""
    return f"{mean(values):,.1f}" if keys[-1].startswith("popularity") else f"{mean(values):.4f}"


def _count(documents: Documents, key: str) -> str:
    # Seeds share the split, hence the count.
    return f"{documents[0][key]:,}"


def _every_metric(board: Leaderboard) -> list[str]:
    done, lines = [row for row in board.rows if row.num_seeds], []
    for part, on in (("test", "test"), ("valid", "validation")):
        if not all(getattr(row, part) for row in done):
            continue
        body = [[metric_title(name), *(str(getattr(row, part)[name]) for row in done)] for name in board.metrics]
        table = markdown_table(["metric", *(row.label for row in done)], body)
        lines += [f"## Every metric, {on} part", "", *table, ""]
    return lines
