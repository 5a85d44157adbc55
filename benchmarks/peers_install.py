"""Whether further peers install here, and what pip or the import says where not.

    python benchmarks/peers_install.py

Each gets an environment of its own, as the others do.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from lecture_loop import machine
from peers.environment import HERE, PeerError, python_of
from peers.measure import console, write
from rich.table import Table

# By the names they are imported by
PEERS = ("lightfm", "irspack", "libreco")


def attempt(peer: str) -> str:
    """Returns `installs`, or the error."""
    try:
        python = python_of(peer)
    except PeerError as error:
        return str(error)
    done = subprocess.run([python, "-c", f"import {peer}"], capture_output=True, text=True, check=False)
    return "installs" if not done.returncode else f"installs, import fails: {done.stderr.strip().splitlines()[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    rows = {}
    table = Table(title="Further peers, Python 3.11")
    for column in ("requirement", "here"):
        table.add_column(column)
    for peer in PEERS:
        requirement = (HERE / f"{peer}.txt").read_text().strip()
        rows[requirement] = attempt(peer)
        table.add_row(requirement, rows[requirement])
    console().print(table)
    write({"machine": machine(), "peers": rows}, options.out)


if __name__ == "__main__":
    main()
