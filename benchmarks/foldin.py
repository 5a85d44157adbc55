"""Fold-in: how well models recommend to people they never saw, beside the same models trained on their histories.

Users are held out (`users:0.8/0.1/0.1`), 80 % of their rows given as history. One model is trained without these
users and scores their histories; one is trained on train and the histories, and scores the users. Both choose their
epoch on the validation users, and both are judged on them; the test part is not looked at.

    NEUCF_DATA=/data python benchmarks/foldin.py ml-100k ml-latest-small --out docs/results/foldin.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from neucf.data.interactions import Interactions, concatenate
from neucf.data.readers import read_dataset
from neucf.data.splits import Split
from neucf.data.splitting import split
from neucf.evaluation import evaluate
from neucf.kernels.compile import torch_threads
from neucf.models import MODELS, Model
from neucf.models.trained import TrainedModel

METRIC, K = "ndcg@20", 20
SPEC = "users:0.8/0.1/0.1"
HISTORY, CALLS = 50, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--split-seeds", type=int, default=1, help="Splits 1..N; users are pooled.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="A JSON file; rows of other runs in it are kept.")
    arguments = parser.parse_args()
    for name in arguments.data:
        dataset = read_dataset(name)
        parts = [split(dataset, SPEC, seed) for seed in range(1, arguments.split_seeds + 1)]
        for model in arguments.models:
            row = {"data": name, "split": SPEC, "split_seeds": arguments.split_seeds, "metric": METRIC, "model": model}
            row |= measured(model, parts, arguments.threads)
            print(
                f"{name:16} {model:11} fold-in {row['fold_in']:.4f}  retrained {row['retrained']:.4f}  "
                f"ratio {row['ratio']:.3f} [{row['ratio_ci95'][0]:.3f}, {row['ratio_ci95'][1]:.3f}]  "
                f"{row['ms']:6.2f} ms  all {row['num_users']} users {row['all_seconds']:.2f} s",
                flush=True,
            )
            if arguments.out:
                keep(arguments.out, row)


def measured(name: str, parts: list[Split], threads: int) -> dict[str, Any]:
    """Returns both models' means over the validation users of all splits, their ratio, and the time of a fold-in."""
    folded, retrained, seconds = [], [], 0.0
    for part in parts:
        assert part.valid is not None
        assert part.valid_history is not None
        stranger = fitted(name, part.train, part.valid, part.valid_history, threads)
        start = time.perf_counter()
        folded.append(values(stranger, part, threads))
        seconds += time.perf_counter() - start
        known = Split(concatenate(part.train, part.valid_history), part.valid, None)
        retrained.append(values(fitted(name, known.train, part.valid, None, threads), known, threads))
    ours, theirs = np.concatenate(folded), np.concatenate(retrained)
    return {
        "num_users": len(ours),
        "fold_in": round(float(ours.mean()), 5),
        "retrained": round(float(theirs.mean()), 5),
        "ratio": round(float(ours.mean() / theirs.mean()), 4),
        "ratio_ci95": [round(end, 4) for end in ratio_interval(ours, theirs)],
        "ms": round(1000 * latency(stranger), 3),
        "all_seconds": round(seconds, 3),
    }


def fitted(name: str, train: Interactions, valid: Interactions, history: Interactions | None, threads: int) -> Model:
    model = MODELS[name]()
    if isinstance(model, TrainedModel):
        model.valid_history = history
    return model.fit(train, valid, seed=0, threads=threads)


def values(model: Model, part: Split, threads: int) -> Any:
    """Returns the metric of each validation user, in order of the users."""
    return evaluate(model, part, "valid", "full", (K,), threads=threads).values[METRIC]


def ratio_interval(ours: Any, theirs: Any) -> tuple[float, float]:
    """Returns the bootstrap 95 % interval of the ratio of means over users."""
    rows = np.random.default_rng(0).integers(len(ours), size=(10_000, len(ours)))
    low, high = np.percentile(ours[rows].mean(1) / theirs[rows].mean(1), [2.5, 97.5])
    return float(low), float(high)


def latency(model: Model) -> float:
    """Returns the median seconds of scoring one history of 50, on one thread."""
    rng = np.random.default_rng(0)
    num_items = len(model.item_ids)
    histories = []
    for _ in range(CALLS + 3):
        items = np.sort(rng.choice(num_items, HISTORY, replace=False)).astype(np.int32)
        histories.append(csr_array((np.ones(HISTORY, np.float32), items, [0, HISTORY]), shape=(1, num_items)))
    taken = []
    with torch_threads(1):
        for history in histories:
            start = time.perf_counter()
            model.score_history(history)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[3:])


def keep(file: Path, row: dict[str, Any]) -> None:
    """Writes a row, in place of one of the same data, splits and model."""
    rows = json.loads(file.read_text()) if file.exists() else []
    same = ("data", "split", "split_seeds", "model")
    rows = [other for other in rows if any(other[key] != row[key] for key in same)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[\n" + ",\n".join(json.dumps(each) for each in [*rows, row]) + "\n]\n")


if __name__ == "__main__":
    main()
