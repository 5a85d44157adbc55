"""SplitTable: models' mean differences from the reference over repeated splits, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from neucf.artifacts.writer import write_json
from neucf.data.shares import parse_spec
from neucf.evaluation.statistics import corrected_interval, corrected_t_test, holm
from neucf.evaluation.titles import metric_title
from neucf.experiment.leaderboard import Leaderboard, title_of, trained_by
from neucf.experiment.recipe import Recipe
from neucf.experiment.tables import MeanStd, interval, markdown_table, p_value, with_interval

COLUMNS = ("difference", "95 % interval", "p", "p, Holm")


@dataclass(frozen=True, slots=True)
class OverSplits:
    """A model's mean difference from the reference over splits, on one metric.

    Attributes:
        difference: Mean over splits of the mean over users, model less reference.
        interval: Its 95 % interval, corrected for overlapping training data.
        p_value: Of the corrected resampled t-test, two-sided.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One label over all splits.

    Attributes:
        label: A label, or a name of `best_of`.
        chosen: Split seed to the label that validation chose; of a label, itself.
        test: Metric name to mean and deviation over splits.
        differences: Split seed to the primary metric's difference from the reference; only splits where both ended.
        against: Metric name to the mean difference; empty for the reference, and with fewer than two splits.
        holm_p_value: On the primary metric, corrected for all rows of the table.
    """

    label: str
    chosen: dict[int, str]
    test: dict[str, MeanStd]
    differences: dict[int, float]
    against: dict[str, OverSplits]
    holm_p_value: float | None


@dataclass(frozen=True, slots=True)
class SplitTable:
    """A recipe's models over repeated splits.

    Attributes:
        title: Protocol, part, data, split and its seeds.
        reference: Label of the model that the others are held against.
        primary: The one metric that tests are corrected on; all others are exploratory.
        num_train: How much was trained on, mean over splits, in `unit`.
        num_test: How much was tested on.
        unit: `rows`; `users` where users are held out.
        rows: One a label and name of `best_of`, the best on test first.
    """

    title: str
    reference: str
    primary: str
    num_train: float
    num_test: float
    unit: str
    rows: tuple[SplitRow, ...]

    @classmethod
    def of(cls, recipe: Recipe, boards: Mapping[int, Leaderboard], num_train: float, num_test: float) -> SplitTable:
        """Sums up a recipe's leaderboards, one a split seed."""
        reference, primary = recipe.evaluation.reference, recipe.evaluation.select
        assert reference is not None
        groups = {entry.label: (entry.label,) for entry in recipe.models} | recipe.evaluation.best_of
        rows = [_row(label, labels, boards, recipe, num_train / num_test) for label, labels in groups.items()]
        results = [result for board in boards.values() for result in board.results]
        title = title_of(recipe, results, f"seeds 1 to {max(boards)}", trained_by(results))
        unit = unit_of(parse_spec(recipe.data.split)[0])
        return cls(title, reference, primary, num_train, num_test, unit, _corrected(rows, primary))

    @property
    def footnotes(self) -> list[str]:
        """What a reader of the table must know."""
        splits = max((len(row.differences) for row in self.rows), default=0)
        notes = [
            f"Difference from {self.reference}, mean over {splits} splits; its interval is over splits, corrected for "
            f"their overlapping training data (Nadeau and Bengio 2003; {self.num_train:,.0f} {self.unit} of training, "
            f"{self.num_test:,.0f} of test), and p is that of the corrected t-test.",
            f"Holm: corrected for all {len(_family(self.rows))} rows compared, those that are one model on every split "
            "counted once. "
            f"{metric_title(self.primary)} was declared beforehand; other metrics are exploratory.",
        ]
        if not splits:  # the reference differs by 0 from itself wherever it ended
            notes = [f"{self.reference} failed; nothing was compared."]
        for row in self.rows:
            times = Counter(row.chosen.values())
            if times and set(times) != {row.label}:
                chosen = ", ".join(f"{label} {count}" for label, count in times.most_common())
                notes.append(f"{row.label}: the best on validation, chosen on each split anew: {chosen}.")
        return notes

    def cells(self, row: SplitRow) -> list[str]:
        """Returns the primary metric, mean and deviation over splits, and what stands in `COLUMNS`."""
        figure = str(row.test[self.primary]) if row.test else "failed"
        if not row.against:
            return [figure, "reference" if row.label == self.reference else "", "", "", ""]
        found = row.against[self.primary]
        bounds, p, corrected = interval(found.interval), p_value(found.p_value), p_value(row.holm_p_value)
        return [figure, f"{found.difference:+.4f}", bounds, p, corrected]

    def write(self, folder: Path) -> list[Path]:
        """Writes splits.md, .csv and .json, and returns their paths."""
        files = [folder / f"splits.{suffix}" for suffix in ("md", "csv", "json")]
        files[0].write_text(self.to_markdown(), encoding="utf-8")
        files[1].write_text(self.to_csv(), encoding="utf-8")
        write_json(files[2], self.to_json())
        return files

    def to_markdown(self) -> str:
        """Returns the table of the primary metric, one of the others, and each split's differences."""
        body = [[row.label, *self.cells(row)] for row in self.rows]
        table = markdown_table(["model", f"{metric_title(self.primary)}, test", *COLUMNS], body)
        lines = [f"# {self.title}", "", *table, "", *(f"{note}  " for note in self.footnotes), ""]
        compared = [row for row in self.rows if row.against]
        if not compared:
            return "\n".join(lines)
        others = [name for name in compared[0].against if name != self.primary]
        body = [
            [metric_title(name), *(with_interval(found.difference, found.interval) for found in each)]
            for name, each in ((name, [row.against[name] for row in compared]) for name in others)
        ]
        columns = [row.label for row in compared]
        lines += ["## Exploratory: other metrics", "", *markdown_table(["metric", *columns], body), ""]
        seeds = sorted({seed for row in compared for seed in row.differences})
        body = [
            [str(seed), *(f"{row.differences[seed]:+.4f}" if seed in row.differences else "" for row in compared)]
            for seed in seeds
        ]
        lines += ["## Difference on each split", "", *markdown_table(["split seed", *columns], body), ""]
        return "\n".join(lines)

    def to_csv(self) -> str:
        """Returns a line for each label and split: the difference, and what validation chose."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", "split_seed", "chosen", "metric", "difference"])
        for row in self.rows:
            for seed, difference in row.differences.items():
                writer.writerow([row.label, seed, row.chosen[seed], self.primary, difference])
        return text.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Returns all of it; JSON's keys are texts, split seeds too."""
        return {**asdict(self), "intervals_over": "splits, corrected for overlapping training data"}


def unit_of(way: str) -> str:
    """Returns what a split draws, and what its parts are therefore counted in."""
    return "users" if way == "users" else "rows"


def _row(
    label: str, labels: Sequence[str], boards: Mapping[int, Leaderboard], recipe: Recipe, train_per_test: float
) -> SplitRow:
    """Sums up a label, or on each split the one of several that validation chose."""
    # A leaderboard's rows are ordered by validation, so the first of several is what validation chooses.
    ended = {seed: {row.label: row.test for row in board.rows if row.test} for seed, board in boards.items()}
    chosen = {seed: next((each for each in found if each in labels), None) for seed, found in ended.items()}
    test = {seed: ended[seed][best] for seed, best in chosen.items() if best is not None}
    reference, primary = recipe.evaluation.reference, recipe.evaluation.select
    theirs = {seed: found[reference] for seed, found in ended.items() if reference in found and seed in test}
    differences = {
        name: {seed: test[seed][name].mean - own[name].mean for seed, own in theirs.items()}
        for name in recipe.evaluation.metrics
    }
    compared = differences.items() if label != reference and len(theirs) > 1 else ()
    return SplitRow(
        label=label,
        chosen={seed: best for seed, best in chosen.items() if best is not None},
        test={name: MeanStd.of([found[name].mean for found in test.values()]) for name in differences if test},
        differences=differences[primary],
        against={name: _over_splits(list(each.values()), train_per_test) for name, each in compared},
        holm_p_value=None,
    )


def _over_splits(differences: Sequence[float], train_per_test: float) -> OverSplits:
    return OverSplits(
        difference=mean(differences),
        interval=corrected_interval(differences, train_per_test, 1),
        p_value=corrected_t_test(differences, train_per_test, 1),
    )


def _corrected(rows: Sequence[SplitRow], primary: str) -> tuple[SplitRow, ...]:
    """Returns the rows with Holm's p-values, the best on test first."""
    family = _family(rows)
    p_values = holm([row.against[primary].p_value for row in family.values()]).tolist()
    corrected = dict(zip(family, p_values, strict=True))
    whole = [replace(row, holm_p_value=corrected.get(_models(row))) for row in rows]
    return tuple(sorted(whole, key=lambda row: -row.test[primary].mean if row.test else float("inf")))


def _family(rows: Sequence[SplitRow]) -> dict[frozenset[tuple[int, str]], SplitRow]:
    """Returns what is tested: a name of `best_of` that came out as one label on every split is no test of its own."""
    return {_models(row): row for row in rows if row.against}


def _models(row: SplitRow) -> frozenset[tuple[int, str]]:
    return frozenset(row.chosen.items())
