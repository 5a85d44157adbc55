"""samples: a few users of a run, what they liked, and what the model suggests to them."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.artifacts import Run
from neucf.data.interactions import concatenate
from neucf.data.splits import Split
from neucf.data.titles import full_title
from neucf.serving import Service

# Users shown, at these quantiles of activity; items of each list, and of what they liked.
QUANTILES, NUM_LISTED, NUM_LIKED = (0.25, 0.5, 0.75), 10, 5


def activity_of(split: Split) -> npt.NDArray[np.int64]:
    """Returns (U,) how many rows are known of each user: of one held out, those given as history."""
    parts = [part for part in (split.train, split.valid_history, split.test_history) if part is not None]
    return reduce(concatenate, parts).user_counts()


def samples(run: Run, on: str) -> list[dict[str, Any]]:
    """Returns what a few users liked and what the model suggests to them, with what was held out marked."""
    held = run.split.valid if on == "valid" else run.split.test
    if on == "valid":
        # As validation judged it, which is then the future
        run = replace(run, model=run.first_model, split=replace(run.split, valid=None))
    activity = activity_of(run.split)
    users = np.unique(run.split.train.users) if held is None else np.unique(held.users)
    users = users[np.argsort(activity[users], kind="stable")]
    if not len(users):
        return []
    chosen = list(dict.fromkeys(int(users[int(share * (len(users) - 1))]) for share in QUANTILES))
    service, ids = Service(run), run.model.user_ids
    k = min(NUM_LISTED, len(run.model.item_ids))
    found = []
    for user, answer in zip(chosen, service.recommend([ids[user] for user in chosen], k), strict=True):
        right = set() if held is None else {run.model.item_ids[item] for item in held.items[held.users == user]}
        found.append(
            {
                "user_id": ids[user],
                "num_rows": int(activity[user]),
                "best": "Liked" if run.split.train.ratings is None else "Rated best",
                "liked": [_name(item) for item in service.history(ids[user], NUM_LIKED)],
                "items": [
                    {
                        "name": _name(item),
                        "genres": ", ".join(item.genres),
                        "because": "" if not item.because else _reason(item.because[0]),
                        "held_out": item.item_id in right,
                    }
                    for item in answer.items
                ],
            }
        )
    return found


def _name(item: Any) -> str:
    return f"item {item.item_id}" if item.title is None else full_title(item.title, item.year)


def _reason(item: Any) -> str:
    return item.title or f"item {item.item_id}"
