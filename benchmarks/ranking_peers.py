"""Full-ranking evaluation and batch recommendation beside five other libraries', by the same factors.

    python benchmarks/ranking_peers.py           # everything, minutes
    python benchmarks/ranking_peers.py --small   # fewer users: does it run?

evaluation: mf on ncf-ml-1m, all items ranked for every user of the validation part, train masked. recommend: top-20 of
138,000 users among 26,000 items, what is known of them hidden. towers: the same evaluation of neumf and mlp, whose
factors no peer takes. Each side ranks the factors that neucf has learnt, so metrics and lists must agree.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from lecture_loop import machine
from peers.environment import PeerError, pairs, rank_by_peer
from peers.measure import console, import_seconds, write
from rich.console import Console
from rich.table import Table

from neucf import MODELS, evaluate, read_dataset, split
from neucf.data.splits import Split
from neucf.data.synthetic import synthetic
from neucf.evaluation.ranking import TopK, top_k

T = TypeVar("T")

K = 20
METRICS = ("recall@20", "ndcg@20")
# RecBole's default batch of 4,096 scores holds one user of this catalogue.
RECBOLE_BATCHES = (4096, 1 << 18, 1 << 21)
TOWERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("neumf", {"dim": 8, "tower": "64-32-16-8", "loss": "bce"}),
    ("neumf", {"dim": 64, "tower": "64-32-16-8", "loss": "bce"}),
    ("neumf", {"dim": 64, "tower": "512-256-128-64", "loss": "bce"}),
    ("mlp", {"tower": "64-32-16-8"}),
)


def timed(function: Callable[[], T], times: int) -> tuple[T, list[float], float]:
    """Returns what a call gave, the seconds of several calls, and those of a first one, which may compile."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - start)
    return found, seconds[1:], seconds[0]


def judged(model: Any, data: Split, threads: int, times: int) -> dict[str, Any]:
    """Evaluates on validation: every metric neucf has, at 20."""
    found, seconds, first = timed(lambda: evaluate(model, data, "valid", "full", (K,), threads=threads), times)
    metrics = {name: float(found.mean(name)) for name in METRICS}
    return {"seconds": seconds, "first": first, "metrics": metrics, "users": len(found.users)}


def row(who: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns a row of a table: what a call measured, or its error."""
    try:
        return {"who": who} | call()
    except PeerError as error:
        return {"who": who, "error": str(error)}


def lenskit_rows(ask: Callable[..., dict[str, Any]], threads: int) -> list[dict[str, Any]]:
    """Returns LensKit's rows: in one process, and in the several that it starts anew in each call by default."""
    # One thread of BLAS is LensKit's default too, where its own threads take all cores.
    names = {1: "one process", threads: f"{threads} processes"}
    return [
        row(f"LensKit 2025.8.1, {name}, a thread each", partial(ask, "lenskit", blas_threads=1, processes=number))
        for number, name in names.items()
    ]


def against_evaluations(data: Split, threads: int, times: int) -> list[dict[str, Any]]:
    """Times evaluations of mf, ours and those of the peers that have one."""
    model: Any = MODELS["mf"](dim=64, epochs=10).fit(data.train, device="cpu", threads=threads)
    users, items, _ = model.factors()
    arrays = {"users": users, "items": items}
    arrays |= {part: pairs(getattr(data, part)) for part in ("train", "valid", "test")}

    def ask(peer: str, blas_threads: int = threads, **settings: Any) -> dict[str, Any]:
        asked = {"k": K, "times": times} | settings
        return rank_by_peer(peer, arrays, asked, threads=threads, blas_threads=blas_threads)[0]

    rows = [row("neucf", lambda: judged(model, data, threads, 5 * times))]
    for size in RECBOLE_BATCHES:
        rows.append(row(f"RecBole 1.2.1, batch {size:,}", partial(ask, "recbole", eval_batch_size=size)))
    rows.append(row("Cornac 3.0.1", lambda: ask("cornac")))
    # It ranks by implicit, whose threads ask for one of BLAS each.
    rows.append(row("RecTools 0.19.0", lambda: ask("rectools", blas_threads=1)))
    return rows + lenskit_rows(ask, threads)


def against_recommend(shape: tuple[int, int, int], threads: int, times: int) -> list[dict[str, Any]]:
    """Times top-20 of everybody by the same vectors, ours and peers'."""
    train = synthetic(*shape, seed=0).dataset.interactions
    model: Any = MODELS["bpr-mf"](dim=64, epochs=5, hardness=1).fit(train, device="cpu", threads=threads)
    users, items, _ = model.factors()
    mask, everyone = train.csr(), np.arange(train.num_users)

    def ours() -> TopK:
        return top_k(model, everyone, K, mask=mask, threads=threads)

    found, seconds, first = timed(ours, times)
    arrays = {"users": users, "items": items, "train": pairs(train)}

    def ask(peer: str, blas_threads: int = threads, **settings: Any) -> dict[str, Any]:
        asked = {"k": K, "times": times} | settings
        report, lists = rank_by_peer(peer, arrays, asked, threads=threads, blas_threads=blas_threads)
        return report | {"same": float((lists["items"] == found.items).mean())}

    rows = [{"who": "neucf", "seconds": seconds, "first": first}]
    # What implicit asks for is one thread in each product; its threads are its own.
    for peer, label in (("implicit", "implicit 0.7.3"), ("rectools", "RecTools 0.19.0")):
        for blas_threads in sorted({1, threads}):
            rows.append(row(f"{label}, OpenBLAS of {blas_threads}", partial(ask, peer, blas_threads)))
    return rows + lenskit_rows(ask, threads)


def towers(data: Split, threads: int, times: int) -> list[dict[str, Any]]:
    """Times evaluations of nets with a tower."""
    rows = []
    for name, settings in TOWERS:
        label = f"{name}, " + ", ".join(f"{key} {value}" for key, value in settings.items())
        # Weights don't change the time, so one epoch will do.
        fitted = MODELS[name](epochs=1, **settings).fit(data.train, device="cpu", threads=threads)
        rows.append(row(label, partial(judged, fitted, data, threads, times)))
    return rows


def show(title: str, rows: list[dict[str, Any]], screen: Console) -> None:
    """Adds each row's median and how many times faster the first row is, and prints the table."""
    table = Table(title=title)
    for column in ("who", "seconds", "neucf is faster by", *METRICS, "same items"):
        table.add_column(column, justify="left" if column == "who" else "right")
    for each in rows:
        if "error" in each:
            table.add_row(each["who"], each["error"])
            continue
        each["median"] = statistics.median(each["seconds"])
        each["ratio"] = each["median"] / rows[0]["median"]
        metrics = [f"{each['metrics'][name]:.4f}" if "metrics" in each else "" for name in METRICS]
        same = f"{each['same']:.4%}" if "same" in each else ""
        ratio = f"{each['ratio']:.1f}" if each is not rows[0] else ""
        table.add_row(each["who"], f"{each['median']:.3f}", ratio, *metrics, same)
    screen.print(table)
    screen.print(f"First call, with compilation where kernels were not cached: {rows[0]['first']:.2f} s.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--small", action="store_true", help="fewer users, one call each")
    parser.add_argument("--parts", nargs="+", default=["evaluation", "recommend", "towers"], help="which tables")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write JSON here")
    options = parser.parse_args()
    screen, threads, times = console(), options.threads, 1 if options.small else 3
    data = split(read_dataset("ml-100k" if options.small else "ncf-ml-1m").interactions, "random:0.8/0.1/0.1")
    shape = (5_000, 2_000, 200_000) if options.small else (138_000, 26_000, 18_000_000)
    report: dict[str, Any] = {"machine": machine(), "threads": threads, "import_seconds": import_seconds("mf")}
    size = f"{data.train.num_users:,} users, {data.train.num_items:,} items, {threads} threads"
    parts: dict[str, tuple[str, Callable[[], list[dict[str, Any]]]]] = {
        "evaluation": (f"Evaluation of mf, d = 64, {size}", lambda: against_evaluations(data, threads, times)),
        "recommend": (
            f"Top-{K} of {shape[0]:,} users among {shape[1]:,} items, d = 64, {threads} threads",
            lambda: against_recommend(shape, threads, times),
        ),
        "towers": (f"Evaluation of nets with a tower, {size}", lambda: towers(data, threads, times)),
    }
    for name in options.parts:
        title, measure = parts[name]
        report[name] = measure()
        show(title, report[name], screen)
    write(report, options.out)


if __name__ == "__main__":
    main()
