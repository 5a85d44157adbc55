"""Runs one fit of implicit's BPR or ALS in implicit's environment: `python -m peers.run_implicit FOLDER`."""

from __future__ import annotations

import time

import numpy as np

from peers.exchange import open_job

job, started = open_job()

from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-not-found]  # noqa: E402
from implicit.cpu.bpr import BayesianPersonalizedRanking  # type: ignore[import-not-found]  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

job.beside("import", time.perf_counter() - started)

start = time.perf_counter()
users, items = job.split["train"].T
train = csr_matrix((np.ones(len(users), np.float32), (users, items)), shape=(job.num_users, job.num_items))
job.beside("load", time.perf_counter() - start)

# With a seed BPR is still free to race between threads.
kind = {"bpr": BayesianPersonalizedRanking, "als": AlternatingLeastSquares}[job.model]


def report(epoch: int, seconds: float, *counts: int) -> None:
    """Notes an epoch; implicit's own clock leaves out what is done here."""
    del epoch, counts
    # BPR's bias is one more dimension of both already.
    job.epoch(seconds, len(users), lambda: {"users": model.user_factors, "items": model.item_factors})


# implicit asks that BLAS keep to one thread beside its own.
with threadpool_limits(1, "blas"):
    model = kind(iterations=job.epochs, num_threads=job.threads, random_state=job.seed, **job.settings)
    model.fit(train, show_progress=False, callback=report)
job.done("implicit", "numpy")
