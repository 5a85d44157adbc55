"""NeuMF's training samples a second beside Cornac's and RecBole's: the same net on the same split, in one run.

The net is that of He et al. with d = 8, tower 64-32-16-8 and 4 negatives a positive; the data is ml-100k, the last item
of each user held out for test and the one before for validation. Each peer trains at the batch it publishes and at the
one that is fastest for it here, in an environment of its own. What it has learnt after each epoch is exported as the
scores of all pairs; neucf's sampled protocol chooses everybody's epoch on validation by nDCG@10.

    python benchmarks/neumf_peers.py                        # 3 rounds, most of an hour
    python benchmarks/neumf_peers.py --seeds 1 --epochs 2   # does it run?
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lecture_loop import machine
from peers.environment import PeerError, fit_peer
from peers.measure import Clock, beside, console, import_seconds, mean_and_deviation, median_speed, write
from rich.console import Console
from rich.table import Table

from neucf import MODELS, evaluate, read_dataset, split
from neucf.data.splits import Split

NEGATIVES = 4
NET = {"dim": 8, "tower": "64-32-16-8", "loss": "bce", "negatives": NEGATIVES, "eval_every": 1, "metric": "ndcg@10"}
NET |= {"metric_protocol": "sampled"}
# Chosen on validation. Embeddings start, and h is free, as in the peers.
OURS: dict[str, Any] = {
    "batch_size": 8192,
    "lr": 0.015,
    "reg": 0.004,
    "reg_mlp": 0.03,
    "reg_weights": 1e-4,
    "h": "free",
    "init_std": 0.01,
    "epochs": 50,
    "patience": 0,
}
METRICS = ("hit@10", "ndcg@10")


@dataclass(frozen=True)
class Peer:
    """A peer, what it publishes for this net, and how it is asked.

    Attributes:
        name: Of its environment and runner.
        label: What the table calls it.
        batch: Positives a step.
        lr: Learning rate.
        epochs: Enough for its validation metric to stop rising.
        settings: Positives a step and learning rate -> settings by its own names.
        batches: Positives a step that may be faster.
    """

    name: str
    label: str
    batch: int
    lr: float
    epochs: int
    settings: Callable[[int, float], dict[str, Any]]
    batches: tuple[int, ...]


def _cornac(batch: int, lr: float) -> dict[str, Any]:
    return {"num_factors": 8, "layers": [64, 32, 16, 8], "num_neg": NEGATIVES, "batch_size": batch, "lr": lr}


def _recbole(batch: int, lr: float) -> dict[str, Any]:
    return {
        "mf_embedding_size": 8,
        "mlp_embedding_size": 32,
        "mlp_hidden_size": [32, 16, 8],
        "dropout_prob": 0.0,
        "train_neg_sample_args": {
            "distribution": "uniform", "sample_num": NEGATIVES, "alpha": 1.0, "dynamic": False, "candidate_num": 0,
        },
        # It counts negatives too
        "train_batch_size": batch * (1 + NEGATIVES),
        "learning_rate": lr,
    }  # fmt: skip


PEERS = (
    Peer("cornac", "Cornac 3.0.1", 256, 1e-3, 30, _cornac, (1024, 4096, 16_384)),
    # Its 2,048 samples hold 409 positives
    Peer("recbole", "RecBole 1.2.1", 409, 1e-3, 40, _recbole, (1636, 6544, 26_176)),
)


@dataclass(frozen=True)
class Fit:
    """One fit.

    Attributes:
        seed: Of the fit.
        speed: Training samples a second: the median over epochs, the first left out.
        epoch: That of the best validation nDCG@10.
        seconds: Training up to it.
        valid: Metrics there.
        test: The same on test, where it was asked for.
        not_counted: Seconds that are not training.
    """

    seed: int
    speed: float
    epoch: int
    seconds: float
    valid: dict[str, float]
    test: dict[str, float] | None
    not_counted: dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What every fit shares; `judge` is the one protocol."""

    data: Split
    threads: int
    on_test: bool

    def judge(self, model: Any, on: str) -> dict[str, float]:
        """Returns HR@10 and nDCG@10 among 99 candidates, the same for everybody."""
        found = evaluate(model, self.data, on=on, protocol="sampled", ks=(10,), seed=0, threads=self.threads)
        return {name: float(found.mean(name)) for name in METRICS}

    def ours(self, settings: dict[str, Any], seed: int) -> Fit:
        """Fits `neumf`, which evaluates each epoch and keeps the best."""
        clock = Clock()
        start = time.perf_counter()
        model = MODELS["neumf"](**(NET | settings)).fit(
            self.data.train, self.data.valid, seed=seed, device="cpu", threads=self.threads, monitor=clock
        )
        wall = time.perf_counter() - start
        return self._fit([(model.best_epoch or 0, model)], clock.epochs, seed, {"evaluations": wall - clock.seconds()})

    def theirs(self, peer: Peer, batch: int, lr: float, epochs: int, seed: int) -> Fit:
        """Fits a peer's NeuMF, which exports each epoch."""
        asked = {"epochs": epochs, "export_every": 1, "threads": self.threads, "seed": seed}
        with fit_peer(peer.name, "neumf", self.data, peer.settings(batch, lr), **asked) as fit:
            return self._fit(fit.exported(), fit.epochs, seed, fit.not_counted)

    def speed(self, peer: Peer, batch: int) -> float:
        """Returns a peer's samples a second in a few epochs."""
        asked = {"epochs": 3, "export_every": 0, "threads": self.threads, "seed": 0}
        with fit_peer(peer.name, "neumf", self.data, peer.settings(batch, peer.lr), **asked) as fit:
            return median_speed(fit.epochs)

    def _fit(
        self,
        models: Iterable[tuple[int, Any]],
        epochs: list[dict[str, float]],
        seed: int,
        not_counted: dict[str, float],
    ) -> Fit:
        judged = ((epoch, model, self.judge(model, "valid")) for epoch, model in models)
        epoch, model, valid = max(judged, key=lambda each: each[2]["ndcg@10"])
        return Fit(
            seed=seed,
            speed=median_speed(epochs),
            epoch=epoch,
            seconds=sum(each["seconds"] for each in epochs[:epoch]),
            valid=valid,
            test=self.judge(model, "test") if self.on_test else None,
            not_counted=not_counted,
        )


@dataclass
class Row:
    """A line of the table: one way of training one library's net, and its fits, or why there are none."""

    label: str
    batch: int
    lr: float
    epochs: int
    fits: list[Fit]
    peer: Peer | None = None
    error: str | None = None


def rows_of(peer: Peer, bench: Bench, epochs: int | None, screen: Console) -> list[Row]:
    """Returns a peer's rows, still without fits: as published, and at its fastest batch with its better rate."""
    published = Row(peer.label, peer.batch, peer.lr, epochs or peer.epochs, [], peer)
    try:
        speeds = {batch: bench.speed(peer, batch) for batch in (peer.batch, *peer.batches)}
        screen.print(f"{peer.label}, samples/s by positives a step: { {b: round(s) for b, s in speeds.items()} }")
        batch = max(speeds, key=lambda each: speeds[each])
        if batch == peer.batch:
            return [published]
        # A larger batch may want a larger rate
        rates = (peer.lr, round(peer.lr * math.sqrt(batch / peer.batch), 4))
        fits = {lr: bench.theirs(peer, batch, lr, published.epochs, 0) for lr in rates}
        lr = max(fits, key=lambda each: fits[each].valid["ndcg@10"])
        return [published, Row(f"{peer.label}, its fastest batch", batch, lr, published.epochs, [], peer)]
    except PeerError as error:
        published.error = str(error)
        return [published]


def play_round(rows: list[Row], bench: Bench, settings: dict[str, Any], seed: int, screen: Console) -> None:
    """Fits ours and every peer once, one right after the other, so that a ratio compares neighbours in time."""
    for row in rows:
        if row.error:
            continue
        try:
            if row.peer is None:
                fit = bench.ours(settings, seed)
            else:
                fit = bench.theirs(row.peer, row.batch, row.lr, row.epochs, seed)
        except PeerError as error:
            row.error = str(error)
            continue
        row.fits.append(fit)
        screen.print(f"round {seed}: {row.label}: {fit.speed:,.0f} samples/s, {fit.valid} at epoch {fit.epoch}")


def ratio(ours: Row, row: Row) -> float | None:
    """Returns how many times faster ours trains: the median over rounds."""
    rounds = list(zip(ours.fits, row.fits, strict=False))
    return statistics.median(mine.speed / theirs.speed for mine, theirs in rounds) if rounds else None


def show(rows: list[Row], on_test: bool, screen: Console) -> None:
    """Prints the table, errors included."""
    table = Table(title="NeuMF, d = 8, tower 64-32-16-8, 4 negatives, ml-100k; sampled metrics: 1 among 99 candidates")
    parts = ("valid", "test") if on_test else ("valid",)
    table.add_column("who")
    metrics = [f"{part} {name}" for part in parts for name in ("HR@10", "nDCG@10")]
    for column in ("batch", "rate", "samples/s", "ours is faster by", *metrics, "epoch", "training s"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.error or not row.fits:
            table.add_row(row.label, str(row.batch), f"{row.lr:g}", row.error or "not run")
            continue
        cells = [
            mean_and_deviation([(fit.valid if part == "valid" else fit.test or {})[name] for fit in row.fits])
            for part in parts
            for name in METRICS
        ]
        speed, faster = statistics.median(fit.speed for fit in row.fits), ratio(rows[0], row)
        epoch, seconds = (
            statistics.median(values) for values in zip(*((f.epoch, f.seconds) for f in row.fits), strict=True)
        )
        table.add_row(
            row.label,
            f"{row.batch:,}",
            f"{row.lr:g}",
            f"{speed:,.0f}",
            f"{faster:.1f}",
            *cells,
            f"{epoch:g}",
            f"{seconds:.1f}",
        )
    screen.print(table)
    for row in rows:
        if row.fits:
            screen.print(f"Not counted, {row.label}: {beside(row.fits[-1].not_counted)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of everybody, instead of each one's own")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="of ours")
    parser.add_argument("--peers", nargs="+", default=[peer.name for peer in PEERS], help="which to run")
    parser.add_argument("--test", action="store_true", help="meet the test part too, at the epoch chosen")
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    screen = console()
    settings = OURS | dict(pair.split("=", 1) for pair in options.settings)
    settings |= {"epochs": options.epochs} if options.epochs else {}

    start = time.perf_counter()
    data = split(read_dataset("ml-100k"), "leave-last-out")
    loading = time.perf_counter() - start
    bench = Bench(data, options.threads, options.test)
    start = time.perf_counter()
    bench.ours(settings | {"epochs": 1}, seed=0)
    first_fit = time.perf_counter() - start

    ours = Row("neucf", int(settings["batch_size"]), float(settings["lr"]), int(settings["epochs"]), [])
    chosen = [peer for peer in PEERS if peer.name in options.peers]
    rows = [ours, *(row for peer in chosen for row in rows_of(peer, bench, options.epochs, screen))]
    for seed in range(options.seeds):
        play_round(rows, bench, settings, seed, screen)

    show(rows, options.test, screen)
    not_counted = {"import": import_seconds("neumf"), "load": loading, "first fit, with compilation": first_fit}
    screen.print(f"Not counted, neucf: {beside(not_counted)} (faster where compiled code was cached).")
    report = {
        "machine": machine(),
        "threads": options.threads,
        "split": "leave-last-out, seed 1",
        "ours": settings,
        "not_counted": not_counted,
        "rows": [asdict(row) | {"peer": row.peer and row.peer.name, "ratio": ratio(ours, row)} for row in rows],
    }
    write(report, options.out)


if __name__ == "__main__":
    main()
