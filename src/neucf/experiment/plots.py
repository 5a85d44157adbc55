"""Plots of a leaderboard: how validation rose over training, and what each model gives for its training time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neucf.artifacts.log import first_fit
from neucf.artifacts.manifest import LOG
from neucf.evaluation.titles import metric_title
from neucf.experiment.leaderboard import Leaderboard, Row

# Okabe and Ito's colours, told apart by all kinds of eyes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#555555")
# Labels beyond these take them again, in other dashes: those of a curve, and of what has no epochs.
DASHES: Any = (("-", (0, (4, 3))), ((0, (7, 2, 1, 2)), (0, (1, 2))))
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titlepad": 12,
    "savefig.dpi": 150,
    "savefig.bbox": "tight",
}
# Offsets in points at which a dot's name may stand, the first free one taken.
PLACES = ((9, 5, "left"), (9, -14, "left"), (-9, 5, "right"), (-9, -14, "right"), (9, 19, "left"), (9, -28, "left"))
# Curves far below the best would flatten all others: what lies below this share of it is out of sight.
LOWEST = 0.6
# An axis that spans a larger factor is logarithmic.
WIDE = 20
# What takes less has no place on an axis of times.
LEAST_SECONDS = 0.1


def draw(board: Leaderboard, folder: Path) -> list[Path]:
    """Writes curves.png and time.png, and returns their paths; raises ImportError without matplotlib."""
    import matplotlib

    if not any(row.num_seeds for row in board.rows):
        return []
    files = [folder / "curves.png", folder / "time.png"]
    with matplotlib.rc_context(STYLE):
        _curves(board).savefig(files[0])
        _times(board).savefig(files[1])
    return files


def _curves(board: Leaderboard) -> Any:
    """Draws the metric that chooses against epochs: a line a label and seed, a dot where the epoch was kept."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure()
    last_epoch = 1
    for row, colour, (dash, level_dash) in _drawn(board):
        found = row.valid[board.select].mean
        shown = {"color": colour, "label": f"{row.label}  {found:.4f}"}
        runs = [result.run for result in board.results if result.label == row.label]
        curves = list(filter(None, (curve(run, board.select) for run in runs)))
        if not curves:
            axes.axhline(found, linestyle=level_dash, linewidth=1.3, **shown)
        for place, line in enumerate(curves):
            last_epoch = max(last_epoch, *line)
            weight: Any = (
                {"linewidth": 1.8, "zorder": 3} if place == 0 else {"linewidth": 1, "alpha": 0.4, "label": None}
            )
            axes.plot(line.keys(), line.values(), linestyle=dash, **{**shown, **weight})
            kept = max(line, key=line.__getitem__)
            axes.plot(kept, line[kept], "o", color=colour, markersize=5, zorder=4)
    if last_epoch > WIDE:
        _log_scale(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    best = max(row.valid[board.select].mean for row, *_ in _drawn(board))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, LOWEST * best), high)
    axes.set(xlabel="epoch", ylabel=f"{metric_title(board.select)} on validation")
    axes.set_title(f"{board.name}: validation while training; a dot is the epoch kept")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _times(board: Leaderboard) -> Any:
    """Draws the metric on test against seconds of training: a dot a label, its bar the deviation over seeds."""
    figure, axes = new_figure()
    dots, untrained = [], []
    for row, colour, _ in _drawn(board):
        found, time = row.test[board.select], row.train_seconds or 0.0
        if time < LEAST_SECONDS:
            untrained.append(f"{row.label} {found.mean:.4f}")
            continue
        axes.errorbar(time, found.mean, yerr=found.deviation, fmt="o", color=colour, markersize=7, capsize=3)
        dots.append((row.label, (time, found.mean)))
    axes.margins(x=0.12, y=0.12)
    seconds = [time for _, (time, _) in dots]
    if seconds and max(seconds) > WIDE * min(seconds):
        _log_scale(axes)
    else:
        axes.set_xlim(left=0)
    axes.set(xlabel="seconds of training, pretraining included", ylabel=f"{metric_title(board.select)} on test")
    axes.set_title(f"{board.name}: what training time buys")
    if untrained:
        axes.annotate(
            f"without training: {', '.join(untrained)}", (0.015, 0.025), xycoords="axes fraction", color="0.3"
        )
    figure.draw_without_rendering()
    taken = [axes.transData.transform(point) for _, point in dots]
    boxes: list[Any] = []
    for label, point in dots:
        for x, y, side in PLACES:
            # In black: some of the colours are too light for letters
            text = axes.annotate(label, point, xytext=(x, y), textcoords="offset points", horizontalalignment=side)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in boxes) and not any(box.contains(*dot) for dot in taken):
                break
            if (x, y, side) != PLACES[-1]:
                text.remove()
        boxes.append(box)
    return figure


def new_figure() -> tuple[Any, Any]:
    """Returns a figure and its axes."""
    # Not pyplot, which keeps figures alive and may look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2))
    return figure, figure.add_subplot()


def _log_scale(axes: Any) -> None:
    from matplotlib.ticker import NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _drawn(board: Leaderboard) -> list[tuple[Row, str, Any]]:
    """Returns the rows that have numbers, each with its label's colour and dashes, whatever its rank."""
    labels = list(dict.fromkeys(result.label for result in board.results))
    looks = [(colour, dashes) for dashes in DASHES for colour in COLOURS]
    return [(row, *looks[labels.index(row.label) % len(looks)]) for row in board.rows if row.num_seeds]


def curve(run: str | None, metric: str) -> dict[int, float]:
    """Returns epoch to value in a run's first fit; nothing for models without epochs."""
    lines = [] if run is None else first_fit(Path(run) / LOG)
    return {
        line["epoch"]: line["valid_metrics"][metric] for line in lines if metric in (line.get("valid_metrics") or {})
    }
