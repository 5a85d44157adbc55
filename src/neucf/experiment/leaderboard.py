"""Leaderboard: a recipe's results, averaged over seeds, with published numbers beside, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from neucf.artifacts.writer import write_json
from neucf.evaluation.titles import SUMMARISED, metric_title, protocol_title
from neucf.experiment.comparing import DECLARED, Comparisons
from neucf.experiment.recipe import Recipe
from neucf.experiment.recipe_tables import PublishedTable
from neucf.experiment.records import Result
from neucf.experiment.tables import Figure, markdown_table, seconds

SELECTED_ON_TEST = "†"


@dataclass(frozen=True, slots=True)
class Row:
    """One label: how it did on average, and what went wrong.

    Attributes:
        label: The label in the recipe.
        model: Registry name.
        num_seeds: Seeds that ended well; where none did, all that follows is empty.
        train_seconds: Mean over seeds.
        valid: Metric name to figure, on validation.
        test: The same on test.
        errors: One sentence for each seed that failed.
    """

    label: str
    model: str
    num_seeds: int
    train_seconds: float | None
    valid: dict[str, Figure]
    test: dict[str, Figure]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Rows of one protocol, data set and split, the best on validation first.

    Attributes:
        name: The recipe's name.
        protocol: `full` or `sampled`, of every number.
        title: Protocol, part, data, split and seeds.
        select: The metric on validation that orders the rows.
        metrics: Every metric there is.
        rows: One a label; those without a number last.
        published: Label to published number.
        results: What the rows are made of.
        on: The part of the summary: `test`, or `valid` where nobody was judged on test.
        budgets: Label to the one budget by which it was tuned; others were not.
        comparisons: Every model against the reference; None where none was named.
        best_of: Name to the labels among which validation chose, the chosen first.
    """

    name: str
    protocol: str
    title: str
    select: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    published: Mapping[str, PublishedTable]
    results: tuple[Result, ...]
    on: str = "test"
    budgets: Mapping[str, str] = field(default_factory=dict)
    comparisons: Comparisons | None = None
    best_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, results: Sequence[Result]) -> Leaderboard:
        """Averages a recipe's results over seeds, orders them, and compares them with the recipe's reference."""
        select, reference = recipe.evaluation.select, recipe.evaluation.reference
        rows = ordered_rows(results, select)
        return cls(
            name=recipe.name,
            protocol=recipe.evaluation.protocol,
            title=title_of(recipe, results, f"seed {recipe.data.split_seed}", trained_by(results)),
            select=select,
            metrics=tuple(recipe.evaluation.metrics),
            rows=rows,
            published=recipe.published,
            results=tuple(results),
            budgets={label: str(budget) for label, budget in recipe.budgets.items()},
            comparisons=None if reference is None else compared(rows, results, reference, select),
            best_of={
                name: tuple(row.label for row in rows if row.num_seeds and row.label in labels)
                for name, labels in recipe.evaluation.best_of.items()
            },
        )

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics of the summary: the one that chooses, then others at its k."""
        k = self.select.partition("@")[2]
        return tuple(dict.fromkeys([self.select, *(f"{name}@{k}" for name in SUMMARISED[self.protocol])]))

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Part and metric of each column of the summary: what chose on validation, then what is shown."""
        return list(dict.fromkeys([("valid", self.select), *((self.on, name) for name in self.shown)]))

    @property
    def failed(self) -> bool:
        """Whether any model of any seed failed."""
        return any(row.errors for row in self.rows)

    def published_beside(self, label: str | None) -> dict[str, PublishedTable]:
        """Returns the published numbers to show beside a label; None: those that stand alone."""
        return {name: number for name, number in self.published.items() if number.beside == label}

    @property
    def footnotes(self) -> list[str]:
        """What a reader of the table must know."""
        notes = []
        if any(row.valid for row in self.rows):
            notes.append(f"Ordered by {metric_title(self.select)} on validation.")
        if self.budgets:
            budget = next(iter(self.budgets.values()))
            each = " each" if len(self.budgets) > 1 else ""
            notes.append(f"Tuned on validation by {budget}{each}: {', '.join(self.budgets)}.")
            untuned = [row.label for row in self.rows if row.label not in self.budgets]
            if untuned:
                notes.append(f"Not tuned: {', '.join(untuned)}.")
        if any(row.num_seeds > 1 for row in self.rows):
            notes.append("Mean ± standard deviation over seeds of one split.")
        if self.published:
            notes.append("Below a model, and last: numbers of others.")
        if any(number.selected_on_test for number in self.published.values()):
            notes.append(f"{SELECTED_ON_TEST} epochs or settings were selected on test.")
        for name, (best, *others) in ((name, labels) for name, labels in self.best_of.items() if labels):
            notes.append(f"{name}: validation chose {best}" + (f" over {', '.join(others)}." if others else "."))
        return notes + [f"{row.label} failed: {error}" for row in self.rows for error in row.errors]

    @property
    def sources(self) -> list[str]:
        """Where each published number is from, for files, which may be read alone."""
        return [f"{name}: {number.source}" for name, number in self.published.items()]

    def write(self, folder: Path) -> list[Path]:
        """Writes leaderboard.md, .csv and .json, and returns their paths."""
        files = [folder / f"leaderboard.{suffix}" for suffix in ("md", "csv", "json")]
        files[0].write_text(self.to_markdown(), encoding="utf-8")
        files[1].write_text(self.to_csv(), encoding="utf-8")
        write_json(files[2], self.to_json())
        return files

    def to_markdown(self) -> str:
        """Returns the summary and then every metric, as tables."""
        heads = (f"{metric_title(name)}{', validation' if part == 'valid' else ''}" for part, name in self.columns)
        columns = ["model", *heads, "training"]
        body = [cells for row in self.rows for cells in self._markdown_rows(row)]
        body += [self._published_cells(name, number) for name, number in self.published_beside(None).items()]
        lines = [
            f"# {self.title}",
            "",
            *markdown_table(columns, body),
            "",
            *(f"{note}  " for note in self.footnotes),
            "",
        ]
        if self.comparisons is not None:
            lines += self.comparisons.to_markdown()
        done = [row for row in self.rows if row.num_seeds]
        for part, on in (("test", "test"), ("valid", "validation")):
            if not all(getattr(row, part) for row in done):
                continue
            body = [[metric_title(name), *(str(getattr(row, part)[name]) for row in done)] for name in self.metrics]
            lines += [
                f"## Every metric, {on} part",
                "",
                *markdown_table(["metric", *(row.label for row in done)], body),
                "",
            ]
        if self.published:
            lines += ["## Sources", "", *(f"- {source}" for source in self.sources), ""]
        return "\n".join(lines)

    def to_csv(self) -> str:
        """Returns a line for each label and each published number."""
        columns = [
            f"{part} {name}{more}" for part in ("valid", "test") for name in self.metrics for more in ("", " deviation")
        ]
        text = io.StringIO()
        writer = csv.DictWriter(
            text, ["label", "model", "seeds", "train_seconds", *columns, "source", "error"], lineterminator="\n"
        )
        writer.writeheader()
        for row in self.rows:
            cells: dict[str, Any] = {"label": row.label, "model": row.model, "seeds": row.num_seeds}
            for part in ("valid", "test"):
                for name, figure in getattr(row, part).items():
                    cells |= {f"{part} {name}": figure.mean, f"{part} {name} deviation": figure.deviation}
            writer.writerow({**cells, "train_seconds": row.train_seconds, "error": " ".join(row.errors)})
        for label, number in self.published.items():
            cells = {f"test {name}": value for name, value in number.metrics.items()}
            writer.writerow({"label": label, **cells, "source": number.source})
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Returns everything: rows, published numbers, and the single results."""
        return {
            "title": self.title,
            "select": self.select,
            "rows": [asdict(row) for row in self.rows],
            "published": {label: number.model_dump() for label, number in self.published.items()},
            "models": [result.to_json() for result in self.results],
            **({} if self.comparisons is None else {"comparisons": self.comparisons.to_json()}),
        }

    def figures(self, row: Row) -> list[str]:
        """Returns what stands in `columns` for a row."""
        if not row.num_seeds:
            return ["failed", *("" for _ in self.columns[1:])]
        return [str(getattr(row, part).get(name, "")) for part, name in self.columns]

    def _markdown_rows(self, row: Row) -> list[list[str]]:
        beside = self.published_beside(row.label).items()
        return [
            [row.label, *self.figures(row), seconds(row.train_seconds)],
            *(self._published_cells(name, number) for name, number in beside),
        ]

    def _published_cells(self, label: str, number: PublishedTable) -> list[str]:
        mark = SELECTED_ON_TEST if number.selected_on_test else ""
        values = (
            f"*{number.metrics[name]:.4g}*" if part == "test" and name in number.metrics else ""
            for part, name in self.columns
        )
        return [f"{'&emsp;' if number.beside else ''}*{label}{mark}*", *values, ""]


def ordered_rows(results: Sequence[Result], select: str) -> tuple[Row, ...]:
    """Returns a row a label, the best on validation first, those without a number last."""
    models = {result.label: result.model for result in results}
    rows = [_row(label, model, results) for label, model in models.items()]
    return tuple(sorted(rows, key=lambda row: -row.valid[select].mean if select in row.valid else float("inf")))


def compared(
    rows: Sequence[Row],
    results: Sequence[Result],
    reference: str,
    select: str,
    on: str = "test",
    chosen: str = DECLARED,
) -> Comparisons | None:
    """Returns the comparisons of the rows that have values by user."""
    judged = {
        row.label: {
            result.seed: result.per_user
            for result in results
            if result.label == row.label and result.per_user is not None
        }
        for row in rows
    }
    return Comparisons.of(judged, reference, select, on, chosen)


def _row(label: str, model: str, results: Iterable[Result]) -> Row:
    own = [result for result in results if result.label == label]
    done = [result for result in own if result.error is None]
    return Row(
        label=label,
        model=model,
        num_seeds=len(done),
        train_seconds=mean(result.train_seconds or 0.0 for result in done) if done else None,
        valid=_figures([result.valid_metrics for result in done]),
        test=_figures([result.metrics for result in done]),
        errors=tuple(f"seed {result.seed}: {result.error}" for result in own if result.error is not None),
    )


def _figures(evaluations: Sequence[Mapping[str, Any] | None]) -> dict[str, Figure]:
    documents = [found["metrics"] for found in evaluations if found is not None]
    if not documents:
        return {}
    return {name: Figure.of([document[name]["mean"] for document in documents]) for name in documents[0]}


def title_of(recipe: Recipe, results: Iterable[Result], split_seeds: str, more: str = "") -> str:
    """Returns protocol, part, data and split, as every title says them."""
    ties = next((result.metrics["ties"] for result in results if result.metrics is not None), None)
    data = recipe.data
    threshold = "" if data.min_rating is None else f", rated {data.min_rating:.15g} or more"
    return (
        f"{recipe.name}: {protocol_title(recipe.evaluation.protocol, 'test', ties)}; {data.source}{threshold}; "
        f"split {data.split}, {split_seeds}{more}"
    )


def trained_by(results: Iterable[Result]) -> str:
    """Returns which seeds models were trained by, as titles say it."""
    seeds = sorted({result.seed for result in results})
    return f"; seed {seeds[0]} of training" if len(seeds) == 1 else f"; {len(seeds)} seeds of training"
