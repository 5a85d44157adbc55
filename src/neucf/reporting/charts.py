"""Charts: where lines, dots and ticks lie in an SVG drawing; the template draws them in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# Narrow enough that a phone, which scales it down, still shows letters of ten pixels.
WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 60
ROW, LETTER = 26, 7.5
# Letters of a name beside a row; the table above has it whole.
MAX_NAME = 30
# Colours the template has; further labels take them again, dashed.
NUM_COLOURS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One label's line.

    Attributes:
        label: What it is called.
        colour: Its place among the colours.
        dashed: Whether its colour was taken already.
        path: SVG path of the line; empty for a single point.
        dots: x, y and what each dot says.
    """

    label: str
    colour: int
    dashed: bool
    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over a common axis.

    Attributes:
        title: What it shows, for those who cannot see it.
        x_title: What the horizontal axis is.
        x_ticks: x and text.
        y_ticks: y and text.
        lines: What is drawn.
    """

    title: str
    x_title: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Intervals:
    """Differences from zero with their intervals, a row a label.

    Attributes:
        title: What it shows, for those who cannot see it.
        zero: x of no difference.
        ticks: x and text.
        rows: Name, y, x of the low end, the mean and the high end.
    """

    title: str
    zero: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[tuple[str, float, float, float, float], ...]
    height: int
    width: int = WIDTH


def line_chart(
    title: str,
    x_title: str,
    series: Mapping[str, Mapping[float, float]],
    colours: Mapping[str, int],
    categories: Sequence[str] | None = None,
) -> Chart | None:
    """Places lines; None where there is nothing to draw.

    Args:
        title: What the chart shows.
        x_title: What x is.
        series: Label to y by x.
        colours: Label to its number, the same in every chart of a page.
        categories: Names of x = 0, 1, ...; None for whole numbers.
    """
    points = [point for line in series.values() for point in line.items()]
    if not points:
        return None
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    if categories is not None:
        low_x, high_x = -0.5, len(categories) - 0.5
    y_ticks = ticks(min(y for _, y in points), max(y for _, y in points))
    low_y, high_y = min(y_ticks[0], *(y for _, y in points)), max(y_ticks[-1], *(y for _, y in points))
    x_at = _scale(low_x, high_x, LEFT, WIDTH - RIGHT)
    y_at = _scale(low_y, high_y, HEIGHT - BOTTOM, TOP)
    marks = (
        [(float(place), name) for place, name in enumerate(categories)]
        if categories is not None
        else [(x, f"{x:g}") for x in ticks(low_x, high_x) if low_x <= x <= high_x and x.is_integer()]
    )
    lines = []
    for label, line in series.items():
        placed = [(x_at(x), y_at(y)) for x, y in sorted(line.items())]
        says = [f"{label}: {y:.4f}" for _, y in sorted(line.items())]
        lines.append(
            Line(
                label=label,
                colour=colours[label] % NUM_COLOURS,
                dashed=colours[label] >= NUM_COLOURS,
                path="M" + " L".join(f"{x} {y}" for x, y in placed) if len(placed) > 1 else "",
                dots=tuple((x, y, text) for (x, y), text in zip(placed, says, strict=True)),
            )
        )
    return Chart(
        title=title,
        x_title=x_title,
        x_ticks=tuple((x_at(x), text) for x, text in marks),
        y_ticks=tuple((y_at(y), f"{y:.3g}") for y in y_ticks),
        lines=tuple(lines),
    )


def interval_chart(title: str, rows: Sequence[tuple[str, float, float, float]]) -> Intervals:
    """Places differences and their intervals.

    Args:
        title: What the chart shows.
        rows: Label, low end, mean and high end; at least one.
    """
    low, high = min(0.0, *(row[1] for row in rows)), max(0.0, *(row[3] for row in rows))
    marks = ticks(low, high)
    names = [_shortened(label) for label, *_ in rows]
    # Room for a name on the left, and on both sides for half the text of a tick.
    left = max(40.0, 12 + LETTER * max(map(len, names)))
    x_at = _scale(min(low, marks[0]), max(high, marks[-1]), left, WIDTH - 40)
    return Intervals(
        title=title,
        zero=x_at(0),
        ticks=tuple((x_at(x), f"{x:+.3g}" if x else "0") for x in marks),
        rows=tuple(
            (name, TOP + ROW * (place + 0.5), x_at(start), x_at(middle), x_at(end))
            for place, (name, (_, start, middle, end)) in enumerate(zip(names, rows, strict=True))
        ),
        height=TOP + ROW * len(rows) + 28,
    )


def _shortened(label: str) -> str:
    # Long labels often begin alike
    half = MAX_NAME // 2
    return label if len(label) <= MAX_NAME else f"{label[: half - 1]}\N{HORIZONTAL ELLIPSIS}{label[-half:]}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Returns about `count` round numbers from at most `low` to at least `high`."""
    size = max(abs(low), abs(high))
    span = high - low
    if span <= 1e-9 * max(size, 1e-3):
        # Too little to tell apart: what is drawn is one value
        span = size if size > 1e-9 else 1.0
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-12), math.ceil(high / step - 1e-12)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Returns the linear map from values to places, rounded to a tenth of a unit."""
    slope = (end - start) / ((high - low) or 1.0)
    return lambda value: round(start + (value - low) * slope, 1)
