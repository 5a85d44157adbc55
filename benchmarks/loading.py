"""Time and peak memory of loading a 20-million-row Parquet file of made-up interactions, and the small named sets.

    python benchmarks/loading.py [--rows 20000000]

Each source is read in a process of its own; imports are not counted. The file is written to a temporary folder first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from neucf.data.synthetic import synthetic

READ = """
import json, resource, sys, time
from neucf.data.readers import read_dataset
start = time.perf_counter()
data = read_dataset(sys.argv[1]).interactions
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
rows, users, items = len(data), data.num_users, data.num_items
print(json.dumps({"positives": rows, "users": users, "items": items, "seconds": seconds, "peak_GiB": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "interactions.parquet"
        synthetic(rows // 140, rows // 700, rows, seed=0).write_parquet(path)
        for source in ("ml-latest-small", "ml-100k", str(path)):
            done = subprocess.run([sys.executable, "-c", READ, source], capture_output=True, text=True, check=True)
            print(json.dumps({"source": Path(source).name, **json.loads(done.stdout)}))


if __name__ == "__main__":
    main()
