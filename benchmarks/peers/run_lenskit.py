"""Runs one fit of LensKit's implicit ALS in LensKit's environment: `python -m peers.run_lenskit FOLDER`."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from peers.exchange import open_job

job, started = open_job()

from lenskit.als import ImplicitMFScorer  # type: ignore[import-not-found]  # noqa: E402
from lenskit.data import DatasetBuilder  # type: ignore[import-not-found]  # noqa: E402
from lenskit.parallel import initialize  # type: ignore[import-not-found]  # noqa: E402
from lenskit.training import TrainingOptions  # type: ignore[import-not-found]  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

job.beside("import", time.perf_counter() - started)

start = time.perf_counter()
initialize(processes=1, threads=job.threads)
pairs = job.split["train"]
builder = DatasetBuilder()
# The whole catalogue, in our order.
builder.add_entities("user", np.arange(job.num_users))
builder.add_entities("item", np.arange(job.num_items))
builder.add_interactions("click", pd.DataFrame(pairs, columns=["user_id", "item_id"]), entities=["user", "item"])
scorer = ImplicitMFScorer(epochs=job.epochs, **job.settings)
trainer = scorer.create_trainer(builder.build(), TrainingOptions(rng=job.seed))
job.beside("load", time.perf_counter() - start)

# LensKit holds BLAS to one thread beside its own, where the environment doesn't say otherwise.
with threadpool_limits(1, "blas"):
    for _ in range(job.epochs):
        start = time.perf_counter()
        trainer.train_epoch()
        seconds = time.perf_counter() - start
        job.epoch(seconds, len(pairs), lambda: {"users": scorer.user_embeddings, "items": scorer.item_embeddings})
job.done("lenskit", "numpy")
