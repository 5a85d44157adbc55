"""ComparisonTable: every model of a table against its reference, paired by user, each user averaged over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.errors import DataError
from neucf.evaluation.metrics import Values
from neucf.evaluation.statistics import Comparison, compare_columns, holm
from neucf.evaluation.titles import metric_title, part_title
from neucf.experiment.per_user import PerUser
from neucf.experiment.tables import MeanStd, interval, markdown_table, p_value, with_interval

# How a primary metric came to be it.
DECLARED, GIVEN, USUAL = "declared beforehand", "given by --metric", "taken for want of a declared one"
COLUMNS = ("difference", "95 % interval", "p", "p, Holm", "Wilcoxon p", "over seeds")


@dataclass(frozen=True, slots=True)
class Against:
    """One model against the reference.

    Attributes:
        label: The model's label.
        metrics: Metric name to what the paired comparison gives.
        holm_p_value: On the primary metric, corrected for all models of the table.
        over_seeds: The primary metric's mean difference, and its deviation over seeds; None of a model by one seed.
    """

    label: str
    metrics: dict[str, Comparison]
    holm_p_value: float
    over_seeds: MeanStd


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """A table's models against its reference, on one part of one split.

    Attributes:
        reference: Its label.
        primary: The one metric that tests are corrected on; all others are exploratory.
        on: `test` or `valid`.
        num_users: Users paired.
        rows: One a model, in the table's order, without the reference.
        chosen: How the primary metric came to be it: declared beforehand, or for this comparison alone.
    """

    reference: str
    primary: str
    on: str
    num_users: int
    rows: tuple[Against, ...]
    chosen: str

    @classmethod
    def of(
        cls,
        judged: Mapping[str, Mapping[int, PerUser]],
        reference: str,
        primary: str,
        on: str = "test",
        chosen: str = DECLARED,
    ) -> ComparisonTable | None:
        """Compares what was judged.

        Args:
            judged: Label to seed to values by user, in the table's order.
            reference: Label of the model that the others are held against.
            primary: The metric that tests are corrected on.
            on: The part that was judged.
            chosen: How `primary` came to be chosen.

        Returns:
            The comparisons; None where the reference has no values, or nothing stands beside it.

        Raises:
            DataError: If the models were judged on different users.
        """
        others = [label for label, seeds in judged.items() if seeds and label != reference]
        if not judged.get(reference) or not others:
            return None
        users = next(iter(judged[reference].values())).users
        names = list(next(iter(judged[reference].values())).values)
        theirs = _mean_over_seeds(judged[reference], users, names)
        compared = {
            label: compare_columns(_mean_over_seeds(judged[label], users, names) - theirs, names) for label in others
        }
        place = names.index(primary)
        corrected = holm([found[place].p_value for found in compared.values()])
        rows = tuple(
            Against(
                label=label,
                metrics=dict(zip(names, found, strict=True)),
                holm_p_value=float(p),
                over_seeds=_over_seeds(judged[label], judged[reference], primary),
            )
            for (label, found), p in zip(compared.items(), corrected, strict=True)
        )
        return cls(reference, primary, on, len(users), rows, chosen)

    @property
    def title(self) -> str:
        """What is compared with what, on which metric and part."""
        return f"Against {self.reference}: {metric_title(self.primary)}, {part_title(self.on)} part, paired by user"

    def footnotes(self, columns: Sequence[str] = COLUMNS) -> list[str]:
        """Returns what a reader of the table must know, of the columns that are shown."""
        several = any(row.over_seeds.deviation is not None for row in self.rows)
        over_seeds = (
            " Over seeds: mean ± standard deviation of the difference between a seed of either; by one seed, the "
            "reference's own deviation is not known, and left out."
        )
        among = f"all {len(self.rows)} models" if len(self.rows) > 1 else "the one model"
        return [
            f"Each user's metric is averaged over seeds, and paired by user: {self.num_users:,} users, this split. "
            "The interval is a bootstrap over them; it says nothing of other splits.",
            f"p: sign-flip randomisation test, 10,000 draws; Holm: corrected for {among} of this table."
            + (over_seeds if several and "over seeds" in columns else ""),
            f"{metric_title(self.primary)} was {self.chosen}; other metrics are exploratory, uncorrected.",
        ]

    def cells(self, row: Against) -> list[str]:
        """Returns what stands in `COLUMNS` for a model."""
        found = row.metrics[self.primary]
        return [
            f"{found.difference:+.4f}",
            interval(found.interval),
            p_value(found.p_value),
            p_value(row.holm_p_value),
            p_value(found.wilcoxon_p_value) or "none for hit rates",
            str(row.over_seeds) if row.over_seeds.deviation is not None else "one seed",
        ]

    def exploratory(self, row: Against) -> dict[str, Comparison]:
        """Returns the comparisons on metrics that were not declared."""
        return {name: found for name, found in row.metrics.items() if name != self.primary}

    def to_markdown(self) -> list[str]:
        """Returns the table of the primary metric, and one of the others, as lines."""
        primary = markdown_table(["model", *COLUMNS], [[row.label, *self.cells(row)] for row in self.rows])
        lines = [f"## {self.title}", "", *primary, "", *(f"{note}  " for note in self.footnotes()), ""]
        others = [name for name in self.rows[0].metrics if name != self.primary]
        found = {name: [row.metrics[name] for row in self.rows] for name in others}
        body = [
            [metric_title(name), *(with_interval(each.difference, each.interval) for each in row)]
            for name, row in found.items()
        ]
        if not body:
            return lines
        table = markdown_table(["metric", *(row.label for row in self.rows)], body)
        return [*lines, f"## Exploratory: other metrics against {self.reference}", "", *table, ""]

    def to_json(self) -> dict[str, Any]:
        """Returns all of it; metrics other than the primary one carry `exploratory: true`."""
        return {
            "reference": self.reference,
            "primary": self.primary,
            "primary_was": self.chosen,
            "on": self.on,
            "num_users": self.num_users,
            "intervals_over": "users, this split",
            "models": [
                {
                    "label": row.label,
                    "holm_p_value": row.holm_p_value,
                    "over_seeds": asdict(row.over_seeds),
                    "metrics": {
                        name: {
                            "difference": found.difference,
                            "ci95": list(found.interval),
                            "p_value": found.p_value,
                            "wilcoxon_p_value": found.wilcoxon_p_value,
                            "exploratory": name != self.primary,
                        }
                        for name, found in row.metrics.items()
                    },
                }
                for row in self.rows
            ],
        }


def _mean_over_seeds(seeds: Mapping[int, PerUser], users: npt.NDArray[np.int64], names: Sequence[str]) -> Values:
    """Returns each user's metrics (M, C), averaged over seeds."""
    for found in seeds.values():
        if not np.array_equal(found.users, users):
            raise DataError("Models must be judged on the same users to be paired; these were not. Run them again.")
    tables = [np.stack([found.values[name] for name in names], 1) for found in seeds.values()]
    return np.asarray(np.mean(tables, axis=0), np.float64)


def _over_seeds(model: Mapping[int, PerUser], reference: Mapping[int, PerUser], metric: str) -> MeanStd:
    """Returns the mean difference of a seed of the model from one of the reference, and its deviation.

    Seeds of two models have nothing in common but their number: both vary, each by itself.
    """
    ours, theirs = (
        MeanStd.of([float(found.values[metric].mean()) for found in seeds.values()]) for seeds in (model, reference)
    )
    deviation = None if ours.deviation is None else math.hypot(ours.deviation, theirs.deviation or 0.0)
    return MeanStd(ours.mean - theirs.mean, deviation)
