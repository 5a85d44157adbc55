"""Plots of a study: how the best value rose from trial to trial, and which settings mattered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neucf.evaluation.titles import metric_title
from neucf.experiment.plots import COLOURS, STYLE, new_figure
from neucf.experiment.tuning import Tuned


def draw(tuned: Tuned, model: str, folder: Path) -> list[Path]:
    """Writes history.png and, for enough trials, importance.png; returns their paths, and removes an outdated one.

    Raises:
        ImportError: Without matplotlib.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figures = {"history.png": _history(tuned, model)}
        (folder / "importance.png").unlink(missing_ok=True)
        if tuned.importances:
            figures["importance.png"] = _importance(tuned, model)
        for name, figure in figures.items():
            figure.savefig(folder / name)
    return [folder / name for name in figures]


def _history(tuned: Tuned, model: str) -> Any:
    """Draws the value of each trial, and the best so far; those without a value stand at the foot."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure()
    complete = [trial for trial in tuned.trials if trial.value is not None]
    axes.plot(
        [trial.number for trial in complete], [trial.value for trial in complete], "o", color=COLOURS[0], alpha=0.6
    )
    best, steps = float("-inf"), {}
    for trial in tuned.trials:
        best = max(best, trial.value if trial.value is not None else best)
        steps[trial.number] = best
    reached = {number: value for number, value in steps.items() if value > float("-inf")}
    axes.step(reached.keys(), reached.values(), where="post", color=COLOURS[0], linewidth=1.6)
    for state, mark, colour in (("pruned", "|", "0.5"), ("failed", "x", COLOURS[1])):
        numbers = [trial.number for trial in tuned.trials if trial.state == state]
        if numbers:
            axes.plot(
                numbers, [0.02] * len(numbers), mark, color=colour, transform=axes.get_xaxis_transform(),
                label=f"{state} ({len(numbers)})", clip_on=False,
            )  # fmt: skip
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=2)
    axes.plot(tuned.best.number, tuned.best.value, "o", color=COLOURS[0], markersize=9)
    axes.annotate(
        f"{tuned.best.value:.4f}", (tuned.best.number, tuned.best.value), xytext=(0, 9), textcoords="offset points",
        ha="center", color=COLOURS[0],
    )  # fmt: skip
    axes.margins(y=0.14)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial; 0 is the defaults", ylabel=f"{metric_title(tuned.metric)} on validation")
    axes.set_title(f"{model}: what was tried, and the best so far")
    return figure


def _importance(tuned: Tuned, model: str) -> Any:
    """Draws the importance of each setting, the largest on top."""
    figure, axes = new_figure()
    found = dict(sorted(tuned.importances.items(), key=lambda pair: pair[1]))
    bars = axes.barh(list(found), list(found.values()), color=COLOURS[0], height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=4)
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel="importance (PED-ANOVA)")
    num_complete = sum(trial.value is not None for trial in tuned.trials)
    axes.set_title(f"{model}: what told the best quarter of {num_complete} complete trials from the rest")
    return figure
