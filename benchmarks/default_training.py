"""How long `neucf train` takes with nothing set, both fits: 800,000 training rows of 40,000 users.

    python benchmarks/default_training.py                         # mf and lightgcn, some ten minutes
    python benchmarks/default_training.py --models bpr-mf neumf   # others

Nothing public is of that size, so the users are gowalla's, some of them twice, each with a random part of their rows.
Early stopping sees what it would; the metrics are printed but mean little, as people who are there twice help each
other. The whole command is timed, reading and writing included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from lecture_loop import machine
from peers.measure import console, write
from rich.table import Table

from neucf.data.readers import read_dataset

USERS, ROWS, VALID = 40_000, 800_000, 0.1
MOST_SECONDS = 360


def make(path: Path) -> None:
    """Writes the file."""
    rng = np.random.default_rng(0)
    matrix = read_dataset("gowalla").interactions.csr()
    people = np.sort(rng.choice(matrix.shape[0], USERS))
    rows = matrix[people]
    users = np.repeat(np.arange(USERS), np.diff(rows.indptr))
    # Everybody keeps one row at least
    kept = rng.random(len(users)) < ROWS / len(users)
    kept[rows.indptr[:-1][np.diff(rows.indptr) > 0]] = True
    pl.DataFrame({"user_id": users[kept], "item_id": rows.indices[kept]}).write_parquet(path)


def measure(path: Path, model: str, threads: int) -> dict[str, Any]:
    """Trains by the command line, anew on train and validation too, and returns what it took."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "neucf", "train", str(path), "--model", model, "--threads", str(threads)]
        start = time.perf_counter()
        subprocess.run([*command, "--split", f"random:{1 - VALID}/{VALID}/0", "--refit", "--out", str(run)], check=True)
        wall = time.perf_counter() - start
        manifest = json.loads((run / "manifest.json").read_text())
    fits = manifest["fits"]
    return {
        "model": model,
        "seconds": wall,
        "fits": fits,
        "rows": fits[-1]["rows"],
        "users": manifest["num_users"],
        "items": manifest["num_items"],
        "valid": {name: value["mean"] for name, value in manifest["metrics"]["valid"]["metrics"].items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mf", "lightgcn"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    screen = console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "interactions.parquet"
        make(path)
        results = [measure(path, model, options.threads) for model in options.models]
    table = Table(title=f"neucf train, nothing set, {options.threads} threads; wanted: {MOST_SECONDS} s at most")
    for column in ("model", "rows", "users", "items", "epochs", "fits, s", "whole command, s"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for each in results:
        epochs = " + ".join(str(fit["epochs"][-1]) for fit in each["fits"])
        seconds = " + ".join(f"{fit['seconds']:.0f}" for fit in each["fits"])
        sizes = (f"{each[name]:,}" for name in ("rows", "users", "items"))
        table.add_row(each["model"], *sizes, epochs, seconds, f"{each['seconds']:.0f}")
    screen.print(table)
    write({"machine": machine(), "threads": options.threads, "runs": results}, options.out)


if __name__ == "__main__":
    main()
