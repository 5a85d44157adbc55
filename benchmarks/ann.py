"""ANN: how much of the exact lists an index finds, and in what time.

Lists of ten, with reasons, as the service gives them, one known user at a time, one thread for torch.

neucf train gowalla --model mf --split fixed --valid random:0.1 --out runs/gowalla-mf
python benchmarks/ann.py runs/gowalla-mf --out docs/results/ann.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from neucf.artifacts import open_run
from neucf.kernels.compile import torch_threads
from neucf.serving import build_index
from neucf.serving.service import Service

K, WARM = 10, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--retriever", type=Path)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    start = time.perf_counter()
    built = build_index(run, arguments.retriever and open_run(arguments.retriever), k=K)
    row = {
        "data": run.manifest["data"]["name"], "model": run.manifest["model"]["name"],
        "num_items": len(run.model.item_ids), "recall@10": round(built.recall, 4),
        "probes": built.probes, "num_cells": built.num_cells, "build_seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip
    drawn = np.random.default_rng(0).choice(len(run.model.user_ids), arguments.users, replace=False)
    users = [run.model.user_ids[int(user)] for user in drawn]
    with torch_threads(1):
        for name, ann in (("exact_ms", False), ("ann_ms", True)):
            service = Service(open_run(arguments.run), ann=ann)
            calls = [partial(service.recommend, [user], K) for user in users]
            row[name] = round(1000 * median_seconds(calls), 3)
    print(json.dumps(row, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(row, indent=1) + "\n")


def median_seconds(calls: Sequence[Callable[[], object]]) -> float:
    """Returns the median time of a call, the first few not counted."""
    times = []
    for call in calls:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times[WARM:]))


if __name__ == "__main__":
    main()
