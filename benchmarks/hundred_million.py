"""100 million interactions, 1 million users, 100,000 items: load from Parquet and train one epoch of bpr-mf.

    python benchmarks/hundred_million.py                      # a minute or two, most of it making the file up
    python benchmarks/hundred_million.py --rows 10000000      # a tenth of everything

The file is an event log: user_id, item_id and timestamp in order of time, written by a process of its own. Reading and
training then happen in another, whose seconds and peak memory are all that counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lecture_loop import machine
from peers.measure import Clock, console, write
from rich.table import Table

from neucf import MODELS
from neucf.data.interactions import Interactions
from neucf.data.readers import read
from neucf.data.synthetic import synthetic

MOST_SECONDS, MOST_GB = 60, 6.0


def make(rows: int, path: Path) -> None:
    """Writes the file."""
    data = synthetic(rows // 100, rows // 1000, rows, seed=0)
    data.write_parquet(path, by_time=True)


def peak_gb() -> float:
    """Returns this process' peak resident memory so far, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def fit(train: Interactions, dim: int, threads: int) -> tuple[float, float]:
    """Fits one epoch; returns the seconds it was prepared in, and the epoch's."""
    clock = Clock()
    start = time.perf_counter()
    MODELS["bpr-mf"](dim=dim, hardness=1, epochs=1).fit(train, device="cpu", threads=threads, monitor=clock)
    wall = time.perf_counter() - start
    return wall - clock.seconds(), clock.seconds()


def measure(path: Path, dim: int, threads: int) -> dict[str, Any]:
    """Loads and trains, once kernels are compiled; returns seconds and peaks."""
    start = time.perf_counter()
    small = synthetic(1_000, 100, 10_000, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        small.write_parquet(Path(folder) / "small.parquet")
        fit(read(Path(folder) / "small.parquet"), dim, threads)
    warm = {"compile_seconds": time.perf_counter() - start, "compile_peak_GB": peak_gb()}
    start = time.perf_counter()
    train = read(path)
    loaded = {"load_seconds": time.perf_counter() - start, "load_peak_GB": peak_gb()}
    setup, epoch = fit(train, dim, threads)
    shape = {"users": train.num_users, "items": train.num_items, "interactions": len(train)}
    total = loaded["load_seconds"] + setup + epoch
    return shape | warm | loaded | {
        "setup_seconds": setup, "epoch_seconds": epoch, "total_seconds": total, "peak_GB": peak_gb(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help="where the made-up file is kept for another run")
    options = parser.parse_args()
    if options.make:
        make(options.rows, options.make)
        return
    if options.measure:
        print(json.dumps(measure(options.measure, options.dim, options.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "interactions.parquet"
        if not path.exists():
            subprocess.run([sys.executable, __file__, "--rows", str(options.rows), "--make", path], check=True)
        size = path.stat().st_size
        command = [sys.executable, __file__, "--measure", path, "--dim", str(options.dim)]
        command += ["--threads", str(options.threads)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    title = (
        f"{found['interactions']:,} interactions, bpr-mf, d = {options.dim}, one negative, {options.threads} threads"
    )
    table = Table(title=title)
    for column in ("load s", "set-up s", "epoch s", "all s", "peak GB"):
        table.add_column(column, justify="right")
    names = ("load_seconds", "setup_seconds", "epoch_seconds", "total_seconds", "peak_GB")
    table.add_row(*(f"{found[name]:.2f}" for name in names))
    screen = console()
    screen.print(table)
    screen.print(
        f"Asked for, at 100 million: {MOST_SECONDS} s, {MOST_GB} GB. After loading the peak was"
        f" {found['load_peak_GB']:.2f} GB. Not counted: compilation {found['compile_seconds']:.1f} s, making the file."
    )
    write(
        {"machine": machine(), "dim": options.dim, "threads": options.threads, "file_bytes": size} | found, options.out
    )


if __name__ == "__main__":
    main()
