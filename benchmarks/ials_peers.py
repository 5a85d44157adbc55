"""iALS beside implicit's and LensKit's ALS: time an iteration, and the objective that all minimise, in one run.

    python benchmarks/ials_peers.py            # 20 million made-up interactions, d = 64 and 128, some minutes
    python benchmarks/ials_peers.py --small    # a million, d = 16: does it run?

implicit minimises sum_{u, i} c_ui (s_ui - x_ui)^2 + regularization (sum_u |p_u|^2 + sum_i |q_i|^2), x = 1 and c = alpha
at a positive, x = 0 and c = 1 elsewhere; LensKit too, with alpha = 1 + weight. With nu = 0 ours is the same up to one
factor: for vectors shorter by g = (1 + alpha0)^-1/2, alpha = (1 + alpha0) / alpha0 and regularization =
reg (1 + alpha0) / alpha0. So their vectors, shortened, are judged by our objective, whose value a positive stands in
the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lecture_loop import machine
from peers.environment import PeerError, fit_peer
from peers.measure import Clock, beside, console, import_seconds, median_seconds, write
from rich.console import Console
from rich.table import Table

from neucf import MODELS
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.data.synthetic import synthetic
from neucf.kernels.compile import spread
from neucf.models.ials import IALS
from neucf.recommender import EpochRecord

ALPHA0, REG = 0.1, 0.02
OURS, CG, EXACT = "neucf ials", "implicit 0.7.3, cg (its default)", "implicit 0.7.3, exact"
LENSKIT = "LensKit 2025.8.1, exact (its only one)"
PEERS = (CG, EXACT, LENSKIT)
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Fit:
    """One fit: its seconds an iteration, the objective a positive after each one judged, and what was not counted."""

    seconds: float
    objective: dict[int, float]
    not_counted: dict[str, float] = field(default_factory=dict)


def objective(
    train: Interactions, users: npt.NDArray[np.float32], items: npt.NDArray[np.float32], threads: int
) -> float:
    """Returns sum_S (1 - <p, q>)^2 + alpha0 sum_{all} <p, q>^2 + reg (sum |p|^2 + sum |q|^2), a positive."""

    def errors(first: int) -> float:
        rows = slice(first, first + _BLOCK)
        scores = np.einsum("nd,nd->n", users[train.users[rows]], items[train.items[rows]])
        return float(((1 - scores.astype(np.float64)) ** 2).sum())

    grams = [table.T.astype(np.float64) @ table for table in (users, items)]
    observed = sum(spread(errors, range(0, len(train), _BLOCK), threads))
    every, lengths = float((grams[0] * grams[1]).sum()), float(sum(np.trace(gram) for gram in grams))
    return (observed + ALPHA0 * every + REG * lengths) / len(train)


class Judge(Clock):
    """A clock that judges our factors after each iteration, outside its time."""

    def __init__(self, model: IALS, train: Interactions, threads: int) -> None:
        super().__init__()
        self.model, self.train, self.threads = model, train, threads
        self.objective: dict[int, float] = {}

    def epoch(self, record: EpochRecord) -> None:
        """Adds the epoch, and the objective then."""
        super().epoch(record)
        users, items, _ = self.model.factors()
        self.objective[record.epoch] = objective(self.train, users, items, self.threads)


def fit_ours(train: Interactions, dim: int, epochs: int, threads: int) -> Fit:
    """Fits ials with its default solver."""
    model = MODELS["ials"](dim=dim, alpha0=ALPHA0, reg=REG, nu=0.0, epochs=epochs)
    assert isinstance(model, IALS)
    judge = Judge(model, train, threads)
    model.fit(train, seed=0, threads=threads, monitor=judge)
    return Fit(median_seconds(judge.epochs), judge.objective)


def fit_theirs(who: str, train: Interactions, dim: int, epochs: int, threads: int) -> Fit:
    """Fits a peer's ALS, by conjugate gradients or by an exact solution a row."""
    scale = (1 + ALPHA0) / ALPHA0
    if who == LENSKIT:
        peer, settings = "lenskit", {"embedding_size": dim, "weight": scale - 1, "regularization": REG * scale}
    else:
        peer, settings = "implicit", {"factors": dim, "alpha": scale, "regularization": REG * scale}
        settings["use_cg"] = who == CG
    shape = {"epochs": epochs, "export_every": epochs, "threads": threads}
    with fit_peer(peer, "als", Split(train, None, None), settings, **shape) as fitted:
        with np.load(fitted.folder / f"{epochs}.npz") as learnt:
            shorter = np.float32((1 + ALPHA0) ** -0.5)
            found = objective(train, shorter * learnt["users"], shorter * learnt["items"], threads)
        return Fit(median_seconds(fitted.epochs), {epochs: found}, fitted.not_counted)


def compare(train: Interactions, dim: int, options: argparse.Namespace, screen: Console) -> dict[str, Any]:
    """Fits everybody in turn, `rounds` times, implicit's exact solver once; prints a table."""
    epochs, threads = options.epochs, options.threads
    fits: dict[str, list[Fit]] = {who: [] for who in (OURS, *PEERS)}
    errors: dict[str, str] = {}
    for number in range(options.rounds):
        fits[OURS].append(fit_ours(train, dim, epochs, threads))
        for who in PEERS if number == 0 else (CG, LENSKIT):
            try:
                fits[who].append(fit_theirs(who, train, dim, epochs, threads))
            except PeerError as error:
                errors[who] = str(error)
    table = Table(title=f"iALS, d = {dim}, {len(train):,} made-up interactions, {threads} threads")
    for column in ("who", "s an iteration", "ours is faster by", f"objective after {epochs}", "ours gets there after"):
        table.add_column(column, justify="left" if column == "who" else "right")
    rows: list[dict[str, Any]] = []
    for who, found in fits.items():
        if who in errors:
            table.add_row(who, errors[who])
            rows.append({"who": who, "error": errors[who]})
            continue
        seconds, last = statistics.median(fit.seconds for fit in found), found[0].objective[epochs]
        # Neighbours in time are compared
        ratio = statistics.median(fit.seconds / ours.seconds for fit, ours in zip(found, fits[OURS], strict=False))
        reached = next((epoch for epoch, value in fits[OURS][0].objective.items() if value <= last), None)
        table.add_row(who, f"{seconds:.3f}", f"{ratio:.2f}", f"{last:.5f}", f"{reached or 'more'} iterations")
        rows.append({"who": who, "seconds": seconds, "ratio": ratio, "objective": last, "ours_after": reached})
    screen.print(table)
    for who in PEERS:
        for fit in fits[who][:1]:
            screen.print(f"Not counted, {who}: {beside(fit.not_counted)}.")
    return {"dim": dim, "rows": rows, "fits": {who: [asdict(fit) for fit in found] for who, found in fits.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--small", action="store_true", help="a million interactions, d = 16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="of all but implicit's exact solver")
    parser.add_argument("--epochs", type=int, default=4, help="iterations")
    parser.add_argument("--out", type=Path, help="file for the JSON, which is printed otherwise")
    options = parser.parse_args()
    screen = console()
    shape, dims = ((20_000, 5_000, 1_000_000), (16,)) if options.small else ((138_000, 26_000, 20_000_000), (64, 128))
    train = synthetic(*shape, seed=0).dataset.interactions
    # Compiles; its time is shown, not counted
    start = time.perf_counter()
    fit_ours(train, 8, 1, options.threads)
    first = time.perf_counter() - start
    parts = [compare(train, dim, options, screen) for dim in dims]
    imports = import_seconds("ials")
    screen.print(f"Not counted, neucf: import {imports:.1f} s, first fit of one iteration at d = 8 {first:.1f} s.")
    report = {
        "machine": machine(), "threads": options.threads, "shape": shape, "alpha0": ALPHA0, "reg": REG,
        "import_seconds": imports, "first_fit": first, "dims": parts,
    }  # fmt: skip
    write(report, options.out)


if __name__ == "__main__":
    main()
