"""BPR-MF beside implicit's and Cornac's: time an epoch, quality at equal epochs, and time to equal quality, in one run.

    python benchmarks/bpr_peers.py                    # everything, most of an hour
    python benchmarks/bpr_peers.py --parts speed      # speed, epochs or quality
    python benchmarks/bpr_peers.py --small            # a million interactions, few epochs, one setting: does it run?

speed: seconds an epoch on made-up interactions, d = 32. epochs: nDCG@20 on validation (full ranking) of ncf-ml-1m and
gowalla after equally many epochs, the better of everybody's settings and evaluations. quality: on ml-latest-small, the
seconds of training at which a peer reaches its best validation nDCG@20, or 98 % of it, and those from which on ours
stays there.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lecture_loop import Point, machine
from peers.environment import PeerError, fit_peer
from peers.measure import Clock, beside, console, import_seconds, median_seconds, write
from rich.console import Console
from rich.table import Table

from neucf import MODELS, evaluate, read_dataset, split
from neucf.data.splits import Split
from neucf.data.synthetic import synthetic

METRIC = "ndcg@20"
LABELS = {"neucf": "neucf bpr-mf", "implicit": "implicit 0.7.3", "cornac": "Cornac 3.0.1"}
# By each one's own names; their defaults are among them.
GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "neucf": {"hardness": (1, 8, 16), "lr": (0.1, 0.2), "reg": (0.01, 0.02), "reg_power": (0,)},
    "implicit": {"learning_rate": (0.003, 0.005, 0.01, 0.03), "regularization": (0.003, 0.01)},
    "cornac": {"learning_rate": (0.001, 0.03, 0.1, 0.2), "lambda_reg": (0.003, 0.01)},
}
# One uniform negative, as implicit has.
PLAIN: dict[str, Sequence[Any]] = {"hardness": (1,), "lr": (0.1, 0.2), "reg": (0.003, 0.01), "reg_power": (0,)}
# Our rate falls to 0 over the epochs asked for, so few are asked for where the time to a quality counts.
HORIZONS = (8, 10, 14, 20)
DIM = {"neucf": "dim", "implicit": "factors", "cornac": "k"}


@dataclass(frozen=True)
class Run:
    """One fit: what was asked, its seconds an epoch, its evaluations on validation, and what was not counted."""

    who: str
    settings: dict[str, Any]
    epoch_seconds: float
    points: list[Point]
    not_counted: dict[str, float]

    @property
    def best(self) -> Point:
        """The evaluation with the best metric."""
        return max(self.points, key=lambda point: point.metric)

    def first(self, target: float) -> Point | None:
        """Returns the first evaluation at the target."""
        return next((point for point in self.points if point.metric >= target), None)

    def held(self, target: float) -> Point | None:
        """Returns the first evaluation from which on every one is at the target."""
        below = [index for index, point in enumerate(self.points) if point.metric < target]
        at = below[-1] + 1 if below else 0
        return self.points[at] if at < len(self.points) else None


def fit(who: str, data: Split, settings: Mapping[str, Any], *, epochs: int, every: int, threads: int) -> Run:
    """Fits ours or a peer's; evaluates it every so many epochs, outside its time, where `every` is not 0."""
    if who == "neucf":
        return _fit_ours(data, settings, epochs=epochs, every=every, threads=threads)
    with fit_peer(who, "bpr", data, settings, epochs=epochs, export_every=every, threads=threads) as fitted:
        points = []
        for epoch, model in fitted.exported():
            seconds = sum(each["seconds"] for each in fitted.epochs[:epoch])
            metric = float(evaluate(model, data, "valid", "full", (20,), threads=threads).mean(METRIC))
            points.append(Point(epoch, seconds, metric))
        return Run(who, dict(settings), median_seconds(fitted.epochs), points, fitted.not_counted)


def _fit_ours(data: Split, settings: Mapping[str, Any], *, epochs: int, every: int, threads: int) -> Run:
    clock = Clock()
    start = time.perf_counter()
    MODELS["bpr-mf"](**settings, epochs=epochs, eval_every=every or epochs, patience=0).fit(
        data.train, data.valid if every else None, seed=0, device="cpu", threads=threads, monitor=clock
    )
    wall = time.perf_counter() - start
    points = [Point(epoch, clock.seconds(epoch), metrics[METRIC]) for epoch, metrics in clock.points]
    return Run("neucf", dict(settings), median_seconds(clock.epochs), points, {"all else": wall - clock.seconds()})


def settings_of(who: str, grid: Mapping[str, Sequence[Any]], dim: int, small: bool) -> list[dict[str, Any]]:
    """Returns a grid's settings, or its first alone."""
    names, values = zip(*grid.items(), strict=True)
    every = [{DIM[who]: dim} | dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]
    return every[:1] if small else every


def compare_speed(options: argparse.Namespace, screen: Console) -> dict[str, Any]:
    """Times epochs on made-up interactions: ours with plain and with hard negatives, and implicit's."""
    shape = (20_000, 5_000, 1_000_000) if options.small else (138_000, 26_000, 18_000_000)
    train = synthetic(*shape, seed=0).dataset.interactions
    data = Split(train, None, None)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("neucf", {"dim": 32, "hardness": 1}),
        ("neucf", {"dim": 32, "hardness": 8}),
        ("implicit", {"factors": 32}),
    ]
    runs: dict[int, list[Run]] = {index: [] for index in range(len(asked))}
    errors: dict[int, str] = {}
    # Compiles; its time is shown, not counted
    start = time.perf_counter()
    fit("neucf", data, {"dim": 32}, epochs=1, every=0, threads=options.threads)
    first = time.perf_counter() - start
    for _, (index, (who, settings)) in itertools.product(range(options.rounds), enumerate(asked)):
        try:
            runs[index].append(fit(who, data, settings, epochs=4, every=0, threads=options.threads))
        except PeerError as error:
            errors[index] = str(error)
    table = Table(title=f"BPR-MF, d = 32, {len(train):,} made-up interactions, {options.threads} threads")
    for column in ("who", "settings", "s an epoch", "M triples/s", "times implicit"):
        table.add_column(column, justify="left" if column in ("who", "settings") else "right")
    rows: list[dict[str, Any]] = []
    for index, (who, settings) in enumerate(asked):
        if index in errors:
            table.add_row(LABELS[who], _text(settings), errors[index])
            rows.append({"who": who, "settings": settings, "error": errors[index]})
            continue
        seconds = statistics.median(run.epoch_seconds for run in runs[index])
        # Neighbours in time are compared
        pairs = zip(runs[index], runs[2], strict=False)
        ratios = [theirs.epoch_seconds / mine.epoch_seconds for mine, theirs in pairs]
        faster = statistics.median(ratios) if ratios else None
        table.add_row(
            LABELS[who], _text(settings), f"{seconds:.3f}", f"{len(train) / seconds / 1e6:.1f}",
            f"{faster:.1f}" if faster else "-",
        )  # fmt: skip
        rows.append({"who": who, "settings": settings, "seconds": seconds, "ratio": faster})
    screen.print(table)
    screen.print(f"Not counted, neucf: first fit of one epoch, with compilation {first:.1f} s.")
    for run in runs[2][:1]:
        screen.print(f"Not counted, {LABELS['implicit']}: {beside(run.not_counted)}.")
    return {"shape": shape, "rows": rows, "first_fit": first}


def search(
    who: str, data: Split, options: argparse.Namespace, screen: Console, *, epochs: int, every: int,
    grid: Mapping[str, Sequence[Any]] | None = None,
) -> list[Run]:  # fmt: skip
    """Fits a grid, by default that of GRIDS."""
    runs = []
    for settings in settings_of(who, grid or GRIDS[who], options.dim, options.small):
        run = fit(who, data, settings, epochs=epochs, every=every, threads=options.threads)
        runs.append(run)
        screen.print(f"{LABELS[who]}, {_text(settings)}: {run.best.metric:.4f} after {run.best.epoch} epochs")
    return runs


def compare_epochs(options: argparse.Namespace, screen: Console) -> dict[str, Any]:
    """Compares nDCG@20 on validation after at most equally many epochs."""
    epochs, every = (4, 2) if options.small else (options.epochs, 10)
    report: dict[str, Any] = {}
    for name in ("ncf-ml-1m",) if options.small else ("ncf-ml-1m", "gowalla"):
        data = split(read_dataset(name), "fixed")
        table = Table(title=f"BPR-MF, d = {options.dim}, {name}, validation, full ranking, at most {epochs} epochs")
        for column in ("who", "settings", METRIC, "epoch", "s an epoch"):
            table.add_column(column, justify="left" if column in ("who", "settings") else "right")
        report[name] = []
        for who in ("neucf", "implicit"):
            try:
                grid = PLAIN if who == "neucf" else None
                runs = search(who, data, options, screen, epochs=epochs, every=every, grid=grid)
            except PeerError as error:
                table.add_row(LABELS[who], str(error))
                report[name].append({"who": who, "error": str(error)})
                continue
            run = max(runs, key=lambda run: run.best.metric)
            cells = (f"{run.best.metric:.4f}", str(run.best.epoch), f"{run.epoch_seconds:.3f}")
            table.add_row(LABELS[who], _text(run.settings), *cells)
            report[name] += [asdict(run) for run in runs]
        screen.print(table)
    return report


def compare_quality(options: argparse.Namespace, screen: Console) -> dict[str, Any]:
    """Compares training time to the same nDCG@20 on validation of ml-latest-small."""
    epochs, every = (20, 5) if options.small else (200, 2)
    data = split(read_dataset("ml-latest-small"), "random:0.8/0.1/0.1")
    fit("neucf", data, {"dim": options.dim}, epochs=1, every=1, threads=options.threads)
    ours = []
    for horizon in (2,) if options.small else HORIZONS:
        ours += search("neucf", data, options, screen, epochs=horizon, every=2)
    table = Table(title=f"BPR-MF, d = {options.dim}, ml-latest-small: training s to validation {METRIC}, full ranking")
    columns = ("peer", "settings", "target", METRIC, "its s", "ours then", "ours s", "ours is faster by")
    for column in columns:
        table.add_column(column, justify="left" if column in ("peer", "settings", "target") else "right")
    rows: list[dict[str, Any]] = []
    for who in ("implicit", "cornac"):
        try:
            runs = search(who, data, options, screen, epochs=epochs, every=every)
        except PeerError as error:
            table.add_row(LABELS[who], str(error))
            rows.append({"who": who, "error": str(error)})
            continue
        best = max(runs, key=lambda run: run.best.metric)
        for share in (1.0, 0.98):
            target = share * best.best.metric
            # Whichever of a side's settings is there first
            theirs = min(point.seconds for run in runs if (point := run.first(target)))
            held = [point for run in ours if (point := run.held(target))]
            mine = min(held, key=lambda point: point.seconds, default=None)
            faster = theirs / mine.seconds if mine else None
            what = "its best" if share == 1 else f"{share:.0%} of it"
            table.add_row(
                LABELS[who], _text(best.settings), what, f"{target:.4f}", f"{theirs:.3f}",
                f"{mine.metric:.4f}" if mine else "-", f"{mine.seconds:.3f}" if mine else "not reached",
                f"{faster:.1f}" if faster else "-",
            )  # fmt: skip
            rows.append(
                {"who": who, "share": share, "target": target, "seconds": theirs, "ours": mine and asdict(mine)}
                | {"ratio": faster}
            )
    screen.print(table)
    return {"rows": rows, "ours": [asdict(run) for run in ours]}


def _text(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


PARTS = {"speed": compare_speed, "epochs": compare_epochs, "quality": compare_quality}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--small", action="store_true", help="a million interactions, few epochs, one setting")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of the speed part")
    parser.add_argument("--dim", type=int, default=64, help="of the other parts")
    parser.add_argument("--epochs", type=int, default=60, help="of the epochs part")
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    screen = console()
    report = {part: PARTS[part](options, screen) for part in options.parts}
    imports = import_seconds("bpr-mf")
    screen.print(f"Not counted, neucf: import {imports:.1f} s.")
    write({"machine": machine(), "threads": options.threads, "import_seconds": imports} | report, options.out)


if __name__ == "__main__":
    main()
