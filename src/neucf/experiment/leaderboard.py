"""Leaderboard: a recipe's results, averaged over seeds, with published numbers beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from neucf.evaluation.titles import SUMMARISED, metric_title, protocol_title
from neucf.experiment.comparing import DECLARED, ComparisonTable
from neucf.experiment.recipe import Recipe
from neucf.experiment.recipe_tables import PublishedTable
from neucf.experiment.records import Result
from neucf.experiment.selection import k_of
from neucf.experiment.tables import MeanStd

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
    valid: dict[str, MeanStd]
    test: dict[str, MeanStd]
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
    comparisons: ComparisonTable | None = None
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
        k = k_of(self.select)
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

    def published_rows(self, label: str | None) -> list[tuple[str, list[str]]]:
        """Returns the same as rows of the summary: the name, marked where test chose, and what stands in `columns`."""
        return [
            (
                f"{name}{SELECTED_ON_TEST if number.selected_on_test else ''}",
                [
                    f"{number.metrics[key]:.4g}" if on == "test" and key in number.metrics else ""
                    for on, key in self.columns
                ],
            )
            for name, number in self.published_beside(label).items()
        ]

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

    def figures(self, row: Row) -> list[str]:
        """Returns what stands in `columns` for a row."""
        if not row.num_seeds:
            return ["failed", *("" for _ in self.columns[1:])]
        return [str(getattr(row, part).get(name, "")) for part, name in self.columns]

    def documents(self, label: str) -> list[dict[str, Any]]:
        """Returns what a label's seeds were judged to be on the part of the summary, as `neucf evaluate --json`."""
        own = (result for result in self.results if result.label == label)
        found = (result.metrics if self.on == "test" else result.valid_metrics for result in own)
        return [document for document in found if document is not None]


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
) -> ComparisonTable | None:
    """Returns the comparisons of the rows that have values by user."""
    judged = {
        row.label: {
            result.seed: result.per_user
            for result in results
            if result.label == row.label and result.per_user is not None
        }
        for row in rows
    }
    return ComparisonTable.of(judged, reference, select, on, chosen)


def _row(label: str, model: str, results: Iterable[Result]) -> Row:
    own = [result for result in results if result.label == label]
    done = [result for result in own if result.error is None]
    return Row(
        label=label,
        model=model,
        num_seeds=len(done),
        train_seconds=mean(result.train_seconds or 0.0 for result in done) if done else None,
        valid=_means([result.valid_metrics for result in done]),
        test=_means([result.metrics for result in done]),
        errors=tuple(f"seed {result.seed}: {result.error}" for result in own if result.error is not None),
    )


def _means(evaluations: Sequence[Mapping[str, Any] | None]) -> dict[str, MeanStd]:
    documents = [found["metrics"] for found in evaluations if found is not None]
    if not documents:
        return {}
    return {name: MeanStd.of([document[name]["mean"] for document in documents]) for name in documents[0]}


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
