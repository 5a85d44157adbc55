"""Runs one fit of Cornac's NeuMF (PyTorch) or BPR in Cornac's environment: `python -m peers.run_cornac FOLDER`."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Any

import numpy as np

from peers.exchange import Arrays, Job, open_job

job, started = open_job()

import torch  # noqa: E402
from cornac.data import Dataset  # type: ignore[import-not-found]  # noqa: E402
from cornac.models import BPR, NeuMF  # type: ignore[import-not-found]  # noqa: E402

job.beside("import", time.perf_counter() - started)


class TimedNeuMF(NeuMF):  # type: ignore[misc]
    """NeuMF that reports each epoch where it would ask whether to stop early."""

    def __init__(self, job: Job, **settings: Any) -> None:
        super().__init__(early_stopping={}, **settings)
        self.job, self.since = job, time.perf_counter()

    def early_stop(self, train_set: Any, val_set: Any, **settings: Any) -> bool:
        """Reports the epoch; never stops."""
        del val_set, settings
        samples = len(train_set.uir_tuple[0]) * (1 + self.num_neg)
        self.job.epoch(time.perf_counter() - self.since, samples, self.export)
        self.since = time.perf_counter()
        return False

    def export(self) -> Arrays:
        """Returns the scores of all pairs."""
        return {"scores": np.stack([self.score(user) for user in range(self.num_users)])}


def fit_neumf(job: Job, train: Any) -> None:
    model = TimedNeuMF(job, num_epochs=job.epochs, backend="pytorch", seed=job.seed, verbose=False, **job.settings)
    model.since = time.perf_counter()
    model.fit(train)


def fit_bpr(job: Job, train: Any) -> None:
    # A seed would hold it to one thread, so it has none. Fitting again goes on from the factors it has.
    model = BPR(max_iter=1, num_threads=job.threads, **job.settings)
    for _ in range(job.epochs):
        start = time.perf_counter()
        model.fit(train)
        seconds = time.perf_counter() - start
        job.epoch(seconds, len(train.uir_tuple[0]), lambda: factors(model))


def factors(model: Any) -> Arrays:
    """Returns BPR's vectors, the item bias as one more dimension."""
    ones = np.ones((len(model.u_factors), 1))
    return {
        "users": np.hstack([model.u_factors, ones]),
        "items": np.hstack([model.i_factors, model.i_biases[:, None]]),
    }


start = time.perf_counter()
torch.set_num_threads(job.threads)
pairs = job.split["train"]
train = Dataset.build(
    [(user, item, 1.0) for user, item in pairs.tolist()],
    # The whole catalogue, in our order.
    global_uid_map=OrderedDict((user, user) for user in range(job.num_users)),
    global_iid_map=OrderedDict((item, item) for item in range(job.num_items)),
    seed=job.seed,
)
# What it caches at first use belongs to loading.
_ = train.matrix, train.dok_matrix
job.beside("load", time.perf_counter() - start)
{"neumf": fit_neumf, "bpr": fit_bpr}[job.model](job, train)
job.done("cornac", "torch", "numpy")
