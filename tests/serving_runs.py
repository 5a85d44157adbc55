"""Small runs on disk for the tests of the service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from planted import planted

from neucf.artifacts import write_run, writing
from neucf.data.dataset import Dataset, ReadReport
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.models import MODELS

GENRES = ["Horror", "Comedy", "Drama", "War"]


def write_planted(
    path: Path,
    model: str = "bpr-mf",
    *,
    min_rating: float | None = None,
    titles: Sequence[str] = (),
    force: bool = False,
    **manifest: Any,
) -> Path:
    """Trains on the planted pattern (60 users u0.., 40 items 100.., four groups) and writes a run with titles.

    `titles` are those of the first items; what else is given goes to the manifest.
    """
    train, _ = planted()
    train = Interactions.from_arrays(
        train.users, train.items, ratings=np.full(len(train), 5.0), user_ids=train.user_ids, item_ids=train.item_ids
    )
    fitted = MODELS[model](
        **({"dim": 8, "epochs": 30, "lr": 0.1, "batch_size": 1, "hardness": 1} if model == "bpr-mf" else {})
    )
    fitted.fit(train, seed=0, device="cpu", threads=1)
    items = pl.DataFrame(
        {
            "item_id": train.item_ids.series,
            "title": [*titles, *(f"Film {number}" for number in range(len(titles), 40))],
            "year": pl.Series([1980 + number for number in range(40)], dtype=pl.Int32),
            "genres": [[GENRES[number % 4]] for number in range(40)],
        }
    )
    rows = len(train)
    dataset = Dataset(
        name="planted",
        interactions=train,
        below_threshold=train.take(np.empty(0, np.int64)),
        below_k_core=train.take(np.empty(0, np.int64)),
        items=items,
        fixed=None,
        report=ReadReport(rows, 0, 0, 0, rows),
        settings={"min_rating": min_rating},
    )
    with writing(path, force=force) as partial:
        write_run(partial.folder, model=fitted, split=Split(train, None, None), dataset=dataset, manifest=manifest)
    return path
