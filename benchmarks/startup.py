"""How long `neucf --help` and `import neucf` take, beside an empty Python.

    python benchmarks/startup.py

Each in processes of its own, started in turn; the first of each, which writes byte code, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from lecture_loop import machine
from peers.measure import console, write
from rich.table import Table

LIMIT = 0.3
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import neucf": [sys.executable, "-c", "import neucf"],
    "neucf --help": [sys.executable, "-m", "neucf", "--help"],
}


def seconds(command: list[str]) -> float:
    """Returns the wall-clock time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    for command in COMMANDS.values():
        # Byte code is written, and files come into the cache.
        seconds(command)
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(options.rounds)]
    table = Table(title=f"Seconds to start, {options.rounds} rounds; asked for: {LIMIT}")
    for column in ("what", "median", "slowest"):
        table.add_column(column, justify="left" if column == "what" else "right")
    rows = {}
    for name in COMMANDS:
        each = [found[name] for found in rounds]
        rows[name] = {"median": statistics.median(each), "slowest": max(each)}
        table.add_row(name, f"{rows[name]['median']:.3f}", f"{rows[name]['slowest']:.3f}")
    console().print(table)
    write({"machine": machine(), "limit": LIMIT, "seconds": rows}, options.out)


if __name__ == "__main__":
    main()
