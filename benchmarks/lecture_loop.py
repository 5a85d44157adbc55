"""Time of training to the quality the lecture's loop reaches: that loop and `bpr-mf`, in one run on one machine.

Both learn from the lecture's split of ml-latest-small (ratings of at least 4, `random:0.8/0.1/0.1`, seed 1), both are
judged by neucf's full ranking on the validation part, and of both only the training is timed. The lecture's loop runs
first, for `--epochs` epochs; its nDCG@20 at the last one is the target. `bpr-mf` with its defaults then trains once a
seed, and its time is counted up to the evaluation from which on it holds the target.

    python benchmarks/lecture_loop.py                       # 400 epochs, minutes
    python benchmarks/lecture_loop.py --epochs 3 --seeds 1  # does it run?
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lecture_bpr import Embeddings, LectureLoop
from rich.console import Console
from rich.table import Table

from neucf import MODELS, evaluate, read_dataset, split
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.recommender import EpochRecord

METRIC = "ndcg@20"


@dataclass(frozen=True)
class Point:
    """One evaluation: the epochs and seconds of training before it, and the validation metric."""

    epoch: int
    seconds: float
    metric: float


def fastest_workers(train: Interactions, choices: Sequence[int], console: Console) -> int:
    """Returns the number of loader processes at which an epoch of the lecture's loop takes least."""
    loop = LectureLoop(train, seed=0)
    loop.epoch(loop.loader(0))  # Warms up torch, so that the first choice is not at a disadvantage.
    seconds = {workers: loop.epoch(loop.loader(workers)) for workers in choices}
    console.print(
        f"the lecture's loop, seconds an epoch by num_workers: { {w: round(s, 2) for w, s in seconds.items()} }"
    )
    return min(seconds, key=lambda workers: seconds[workers])


def train_theirs(data: Split, epochs: int, eval_every: int, workers: int, seed: int, console: Console) -> list[Point]:
    """Runs the lecture's loop and evaluates it every `eval_every` epochs and after the last one.

    Weights are kept and judged after all of training: loader processes are forked each epoch, which is not safe once
    a compiled kernel has started its threads, and so nothing but training is in the measured time either.
    """
    loop = LectureLoop(data.train, seed)
    loader = loop.loader(workers)
    seconds = 0.0
    kept: list[tuple[int, float, Embeddings]] = []
    for epoch in range(1, epochs + 1):
        seconds += loop.epoch(loader)
        if epoch % eval_every == 0 or epoch == epochs:
            kept.append((epoch, seconds, Embeddings(data.train, loop.net)))
            console.print(f"the lecture's loop: epoch {epoch}/{epochs}, {seconds:.1f} s")
    return [Point(epoch, at, _quality(model, data)) for epoch, at, model in kept]


def _quality(model: Any, data: Split) -> float:
    return float(evaluate(model, data, on="valid", protocol="full", ks=(20,)).mean(METRIC))


class Clock:
    """A monitor that keeps the training time and validation metric of each evaluation."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.points: list[Point] = []

    def epoch(self, record: EpochRecord) -> None:
        """Adds the epoch's training time; evaluations are not in it."""
        self.seconds += record.seconds
        if record.valid_metrics is not None:
            self.points.append(Point(record.epoch, self.seconds, record.valid_metrics[METRIC]))

    def checkpoint(self, state: Any) -> None:
        """Keeps nothing."""

    def resume(self) -> None:
        """Starts afresh."""


@dataclass(frozen=True)
class Ours:
    """One fit of `bpr-mf`: its evaluations, the quality of the weights it kept, and the time with evaluations."""

    seed: int
    points: list[Point]
    quality: float
    wall_seconds: float

    def reached(self, target: float) -> Point | None:
        """Returns the first evaluation from which on every one is at least the target."""
        held = None
        for point in reversed(self.points):
            if point.metric < target:
                break
            held = point
        return held


def train_ours(data: Split, seed: int, settings: dict[str, Any]) -> Ours:
    """Fits `bpr-mf` and times it by the epoch."""
    clock = Clock()
    start = time.perf_counter()
    model = MODELS["bpr-mf"](**settings).fit(data.train, data.valid, seed=seed, device="cpu", monitor=clock)
    return Ours(seed, clock.points, _quality(model, data), time.perf_counter() - start)


def machine() -> dict[str, Any]:
    """Returns what the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
    }


def import_seconds() -> float:
    """Returns how long a fresh process takes to start and import what a fit needs."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import neucf; neucf.MODELS['bpr-mf']; neucf.evaluate"], check=True)
    return time.perf_counter() - start


def show(report: dict[str, Any], console: Console) -> None:
    """Prints the report as tables."""
    theirs, target = report["theirs"], report["target"]
    table = Table(title=f"Training to validation {METRIC} of {target:.4f}, ml-latest-small, {report['split']}")
    for column in ("who", "epochs", "training s", METRIC + " then", METRIC + " in the end", "times faster"):
        table.add_column(column, justify="left" if column == "who" else "right")
    table.add_row(
        "the lecture's loop", str(theirs["epoch"]), f"{theirs['seconds']:.2f}", f"{target:.4f}", f"{target:.4f}", "1"
    )
    for fit in report["ours"]:
        then = fit["reached"]
        cells = (
            (str(then["epoch"]), f"{then['seconds']:.3f}", f"{then['metric']:.4f}")
            if then
            else ("not reached", "-", "-")
        )
        ratio = f"{fit['ratio']:.0f}" if then else "-"
        table.add_row(f"bpr-mf, seed {fit['seed']}", *cells, f"{fit['quality']:.4f}", ratio)
    console.print(table)
    beside = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report["not_counted"].items())
    console.print(f"Not counted: {beside}.")
    if report["ratio"] is None:
        console.print("Some seed of bpr-mf did not reach the target.")
    else:
        console.print(
            f"Times faster, median over seeds: {report['ratio']:.0f}; slowest seed: {report['ratio_min']:.0f}."
        )


def plot(report: dict[str, Any], path: Path) -> None:
    """Draws validation quality against training time, both sides."""
    from matplotlib.figure import Figure

    theirs, ours = report["theirs"], report["ours"]
    figure = Figure(figsize=(8, 4.2), layout="constrained", dpi=150)
    axes = figure.add_subplot(xscale="log", xlabel="seconds of training", ylabel=f"{METRIC} on validation")
    for fit in ours:
        axes.plot(*_columns(fit["points"]), color="tab:blue", alpha=0.8, label="bpr-mf" if fit is ours[0] else None)
    axes.plot(*_columns(theirs["points"]), color="tab:orange", marker=".", label="the lecture's loop")
    axes.axhline(report["target"], color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_title(f"ml-latest-small, {report['split']}; a line a seed", fontsize=10)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _columns(points: list[dict[str, float]]) -> tuple[list[float], list[float]]:
    return [point["seconds"] for point in points], [point["metric"] for point in points]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=400, help="of the lecture's loop")
    parser.add_argument("--eval-every", type=int, default=50, help="epochs between evaluations of the lecture's loop")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="num_workers to choose the fastest from")
    parser.add_argument("--seeds", type=int, default=3, help="fits of bpr-mf")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="of bpr-mf")
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    parser.add_argument("--plot", type=Path, help="file for a picture of quality against training time")
    options = parser.parse_args()
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
    settings = dict(pair.split("=", 1) for pair in options.settings)

    start = time.perf_counter()
    data = split(read_dataset("ml-latest-small"), "random:0.8/0.1/0.1", seed=1)
    load_seconds = time.perf_counter() - start

    workers = fastest_workers(data.train, options.workers, console)
    points = train_theirs(data, options.epochs, options.eval_every, workers, 0, console)
    theirs, target = points[-1], points[-1].metric

    start = time.perf_counter()
    MODELS["bpr-mf"](**(settings | {"epochs": 1})).fit(data.train, data.valid, seed=0, device="cpu")
    compile_seconds = time.perf_counter() - start
    fits = [train_ours(data, seed, settings) for seed in range(options.seeds)]

    ours = []
    for fit in fits:
        then = fit.reached(target)
        ours.append(asdict(fit) | {"reached": then and asdict(then), "ratio": then and theirs.seconds / then.seconds})
    ratios = [fit["ratio"] for fit in ours if fit["ratio"] is not None]
    every_seed = len(ratios) == len(ours)
    report = {
        "machine": machine(),
        "split": "random:0.8/0.1/0.1, seed 1",
        "target": target,
        "theirs": asdict(theirs) | {"workers": workers, "points": [asdict(point) for point in points]},
        "ours": ours,
        "settings": settings,
        "ratio": statistics.median(ratios) if every_seed else None,
        "ratio_min": min(ratios) if every_seed else None,
        "not_counted": {
            "imports": import_seconds(),
            "reading and splitting": load_seconds,
            "first fit of one epoch, with compilation": compile_seconds,
            "evaluations of bpr-mf, median": statistics.median(
                fit.wall_seconds - fit.points[-1].seconds for fit in fits
            ),
        },
    }
    show(report, console)
    if options.plot:
        plot(report, options.plot)
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
