"""Time and peak memory of loading made-up interactions, in random order, with ratings and times, and named sets.

    python benchmarks/loading.py [--rows 20000000]

Ids are integers or texts, files Parquet or CSV. Each is read in a process of its own; imports and what they take of
memory are not counted. The columns' size is what the interactions end as: 4 bytes an id, 8 a rating, 8 a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from lecture_loop import machine
from peers.measure import console, write
from rich.table import Table

READ = """
import json, sys, time
import polars as pl
from neucf.data.readers import read_dataset

def memory(kind):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(kind))

read_dataset(pl.DataFrame({"user": [1, 2], "item": [1, 2], "rating": [1.0, 2.0], "time": [1, 2]}))
before, start = memory("VmRSS"), time.perf_counter()
data = read_dataset(sys.argv[1]).interactions
seconds = time.perf_counter() - start
columns = (data.users, data.items, data.ratings, data.timestamps)
size = sum(column.nbytes for column in columns if column is not None)
found = {"rows": len(data), "seconds": seconds, "peak": memory("VmHWM") - before, "columns": size}
print(json.dumps(found))
"""


def files(rows: int, folder: Path) -> Iterator[Path]:
    """Writes the files one after the other; each goes before the next."""
    rng = np.random.default_rng(0)
    integers = pl.DataFrame({
        "user": rng.integers(0, max(rows // 80, 1), rows),
        "item": rng.integers(0, max(rows // 270, 1), rows),
        "rating": rng.integers(1, 11, rows) / 2,
        "time": rng.integers(10**9, 2 * 10**9, rows),
    })  # fmt: skip
    texts = integers.with_columns(pl.format("{}-{}", pl.lit(name), name).alias(name) for name in ("user", "item"))
    for kind, frame in (("integers", integers), ("texts", texts)):
        for suffix in ("parquet", "csv"):
            path = folder / f"{kind}.{suffix}"
            frame.write_parquet(path) if suffix == "parquet" else frame.write_csv(path)
            yield path
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    table = Table(title="Loading")
    for column in ("source", "rows", "seconds", "peak, GiB", "peak / columns"):
        table.add_column(column, justify="left" if column == "source" else "right")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in chain(("ml-latest-small", "ml-100k"), files(options.rows, Path(folder))):
            name = source.name if isinstance(source, Path) else str(source)
            done = subprocess.run([sys.executable, "-c", READ, str(source)], stdout=subprocess.PIPE, check=True)
            found[name] = row = json.loads(done.stdout)
            ratio = f"{row['peak'] / row['columns']:.1f}" if isinstance(source, Path) else ""
            table.add_row(name, f"{row['rows']:,}", f"{row['seconds']:.2f}", f"{row['peak'] / 2**30:.2f}", ratio)
    console().print(table)
    write({"machine": machine(), "sources": found}, options.out)


if __name__ == "__main__":
    main()
