"""What one epoch of bpr-mf costs as interactions, users, items, dimensions and threads grow.

    python benchmarks/scaling.py --out scaling.json --plot scaling.png    # some minutes, 8 GB
    python benchmarks/scaling.py --parts items threads                    # two of the curves
    python benchmarks/scaling.py --most 1000000                           # a look at whether it runs

Everything but what grows stays at 10 million made-up interactions, 100,000 users, 20,000 items, d = 32, one uniform
negative, every core; along `interactions`, users have 100 each. With --out, parts already in the file are kept.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lecture_loop import machine
from peers.measure import Clock, console, median_seconds, write
from rich.table import Table

from neucf import MODELS
from neucf.data.interactions import Interactions
from neucf.data.synthetic import synthetic

CORES = os.cpu_count() or 1
BASE = {"interactions": 10_000_000, "users": 100_000, "items": 20_000, "d": 32, "threads": CORES}
GRIDS: dict[str, Sequence[int]] = {
    "interactions": (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000),
    "users": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "items": (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "d": (8, 16, 32, 64, 128, 256),
    "threads": tuple(range(1, CORES + 1)),
}


def shapes(part: str, most: int) -> list[dict[str, int]]:
    """Returns the settings along one curve, with at most so many interactions."""
    found = []
    for value in GRIDS[part]:
        shape = BASE | {part: value}
        if part == "interactions":
            shape["users"] = value // 100
        if most < shape["interactions"]:
            if part == "interactions":
                continue
            shape["interactions"], shape["users"] = most, min(shape["users"], most // 10)
        found.append(shape)
    return found


def measure(train: Interactions, shape: dict[str, int]) -> float:
    """Returns the seconds of an epoch, the median of some, the first left out."""
    clock = Clock()
    epochs = 3 if shape["interactions"] * shape["d"] > 1e9 else 6
    MODELS["bpr-mf"](dim=shape["d"], hardness=1, epochs=epochs).fit(
        train, device="cpu", threads=shape["threads"], monitor=clock
    )
    return median_seconds(clock.epochs)


def curve(part: str, most: int, rounds: int) -> list[dict[str, Any]]:
    """Returns the points of one curve, each the fastest of its rounds: a whole round may meet a slow machine."""
    points = shapes(part, most)
    seconds: list[list[float]] = [[] for _ in points]
    for _ in range(rounds):
        made: tuple[int, ...] = ()
        for shape, found in zip(points, seconds, strict=True):
            wanted = (shape["users"], shape["items"], shape["interactions"])
            if wanted != made:
                train, made = synthetic(*wanted, seed=0).dataset.interactions, wanted
            found.append(measure(train, shape))
    return [
        shape | {"seconds": min(found), "ns": min(found) / shape["interactions"] * 1e9, "rounds": found}
        for shape, found in zip(points, seconds, strict=True)
    ]


def caches() -> dict[str, int]:
    """Returns the bytes of this machine's data caches, as L2 or L3; nothing where the system does not say."""
    found = {}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, size = (folder / "level").read_text().strip(), (folder / "size").read_text().strip()
        if (folder / "type").read_text().strip() != "Instruction":
            found[f"L{level}"] = int(size.removesuffix("K")) * 1024
    return dict(sorted(found.items()))


def draw(report: dict[str, Any], path: Path) -> None:
    """Draws every curve: nanoseconds an interaction; dotted where the item table outgrows a cache."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    parts = report["parts"]
    figure, axes = pyplot.subplots(1, len(parts), figsize=(3.2 * len(parts), 2.8), squeeze=False, layout="constrained")
    for axis, (part, points) in zip(axes[0], parts.items(), strict=True):
        values = [point[part] for point in points]
        axis.plot(values, [point["ns"] for point in points], marker="o", markersize=4)
        axis.set_xscale("log", base=10 if max(values) > 1_000 else 2)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(part)
        # Bytes of the item table at one unit of what grows
        unit = 4 * {"items": BASE["d"], "d": BASE["items"]}.get(part, 0)
        for name, size in report["caches"].items() if unit else ():
            if min(values) < size / unit < max(values):
                axis.axvline(size / unit, linestyle=":", color="grey")
                axis.text(size / unit, 0, f" {name}", color="grey", va="bottom")
    axes[0][0].set_ylabel("ns an interaction")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--parts", nargs="*", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--most", type=int, default=100_000_000, help="interactions")
    parser.add_argument("--rounds", type=int, default=1, help="times a curve is gone through; the fastest count")
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    parser.add_argument("--plot", type=Path, help="file for the picture")
    options = parser.parse_args()
    known = json.loads(options.out.read_text())["parts"] if options.out and options.out.exists() else {}
    # Compiles
    measure(synthetic(1_000, 1_000, 10_000, seed=0).dataset.interactions, BASE | {"interactions": 10_000})
    parts = known | {part: curve(part, options.most, options.rounds) for part in options.parts}
    screen = console()
    for part in options.parts:
        table = Table(title=f"One epoch of bpr-mf as {part} grow")
        for column in (part, "seconds", "ns an interaction"):
            table.add_column(column, justify="right")
        for point in parts[part]:
            table.add_row(f"{point[part]:,}", f"{point['seconds']:.4f}", f"{point['ns']:.1f}")
        screen.print(table)
    report = {
        "machine": machine(), "caches": caches(), "base": BASE,
        "parts": {part: parts[part] for part in GRIDS if part in parts},
    }  # fmt: skip
    write(report, options.out)
    if options.plot:
        draw(report, options.plot)


if __name__ == "__main__":
    main()
