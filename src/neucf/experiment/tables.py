"""What tables of results are made of: means over seeds, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev


@dataclass(frozen=True, slots=True)
class MeanStd:
    """A mean over seeds or splits, and its deviation; None with a single one."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> MeanStd:
        """Summarises one value a seed, at least one."""
        return cls(mean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        # Three of these and a label must fit 80 columns.
        return f"{self.mean:.4f}" + ("" if self.deviation is None else f" ±{self.deviation:.4f}".replace("±0", "±"))


def seconds(value: float | None) -> str:
    """Returns a time as tables show it."""
    if value is None:
        return ""
    return f"{value:,.0f} s" if value >= 100 else f"{value:.1f} s"


def p_value(value: float | None) -> str:
    """Returns a p-value as tables show it."""
    if value is None:
        return ""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def interval(bounds: tuple[float, float]) -> str:
    """Returns the interval of a difference as tables show it."""
    return f"{bounds[0]:+.4f} to {bounds[1]:+.4f}"


def with_interval(difference: float, bounds: tuple[float, float]) -> str:
    """Returns a difference with its interval in one cell."""
    return f"{difference:+.4f} ({interval(bounds)})"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table whose first column is text and whose others are numbers."""
    rule = ["---", *("---:" for _ in columns[1:])]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in (columns, rule, *rows)]
    return [f"| {' | '.join(cells)} |" for cells in escaped]
