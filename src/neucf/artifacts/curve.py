"""curve.png: how loss and the validation metric went, drawn from a run's log."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from neucf.artifacts.log import first_fit
from neucf.evaluation.titles import metric_title


def draw_curve(log: Path, metric: str, picture: Path) -> None:
    """Draws training loss and a validation metric by epoch; nothing without the extra `plots` or without epochs.

    Args:
        log: log.jsonl, a line an epoch.
        metric: What chose the epoch, such as `ndcg@20`.
        picture: The PNG to write.
    """
    lines = first_fit(log)
    if find_spec("matplotlib") is None or not lines:
        return
    judged = [(line["epoch"], line["valid_metrics"][metric]) for line in lines if line.get("valid_metrics")]
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4), layout="constrained")
    left = figure.subplots()
    left.plot([line["epoch"] for line in lines], [line["loss"] for line in lines], color="tab:gray", label="loss")
    left.set(xlabel="epoch", ylabel="training loss")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    if judged:
        right = left.twinx()
        right.plot(*zip(*judged, strict=True), color="tab:blue", marker=".")
        right.set_ylabel(f"validation {metric_title(metric)}", color="tab:blue")
    figure.savefig(picture, dpi=120)
