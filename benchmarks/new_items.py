"""New items: how well genres place items the model never saw.

A tenth of the items is taken out of training, whole. For each user who likes some of them, the held-out items are
ranked by the model that places them by their genres. Reported are the AUC among the held-out items (the chance that
one the user likes stands above one they do not; random gives .5), beside that of the model as training left it and of
the mean popularity of the same genres; and the mean place among all items, 0 the best and 1 the last.

    NEUCF_DATA=/data python benchmarks/new_items.py ml-100k ml-latest-small --out docs/results/new_items.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neucf.data.genres import genre_matrix
from neucf.data.readers import read_dataset
from neucf.models import MODELS, Model
from neucf.recommender import to_numpy
from neucf.serving.new_items import genre_means, place_new_items

SHARE = 0.1
Array = npt.NDArray[Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", nargs="+", default=["mf", "bpr-mf", "gmf", "mlp", "neumf", "ials"])
    parser.add_argument("--seeds", type=int, default=3, help="How often other items are held out.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for data in arguments.data:
        for name in arguments.models:
            found = [measured(data, name, seed, arguments.threads) for seed in range(arguments.seeds)]
            mean = {key: round(float(np.mean([each[key] for each in found])), 4) for key in found[0]}
            rows.append({"data": data, "model": name, "seeds": arguments.seeds, **mean})
            print(f"{data:16} {name:8} " + "  ".join(f"{key} {value:.3f}" for key, value in mean.items()), flush=True)
            if arguments.out:
                arguments.out.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def measured(data: str, name: str, seed: int, threads: int) -> dict[str, float]:
    """Returns mean AUCs and mean places over users with a held-out item they like."""
    dataset = read_dataset(data)
    whole, items = dataset.interactions, dataset.items
    assert items is not None
    genres = genre_matrix(items)[0].toarray() > 0
    touched = np.flatnonzero((whole.item_counts() > 0) & genres.any(1))
    held = np.sort(np.random.default_rng(seed).choice(touched, round(SHARE * len(touched)), replace=False))
    is_held = np.isin(np.arange(whole.num_items), held)
    train = whole.take(~is_held[whole.items])
    liked = whole.take(is_held[whole.items]).csr()
    model = MODELS[name]().fit(train, seed=0, threads=threads)
    placed, _ = place_new_items(model, items)
    users = np.flatnonzero((np.diff(liked.indptr) > 0) & (np.diff(train.csr().indptr) > 0))
    wanted = liked[users].toarray()[:, held] > 0
    counts = train.item_counts()
    popular = genre_means(genres[held], genres, counts > 0) @ counts
    scores, untouched = scored(placed, users), scored(model, users)
    return {
        "auc": auc(scores[:, held], wanted),
        "auc_popularity": auc(np.broadcast_to(popular, wanted.shape), wanted),
        "auc_unplaced": auc(untouched[:, held], wanted),
        "place": place(scores, held, wanted),
        "place_unplaced": place(untouched, held, wanted),
    }


def scored(model: Model, users: Array) -> Array:
    return to_numpy(model.score(users))


def auc(scores: Array, wanted: Array) -> float:
    """Returns the mean over users of the chance that a wanted item (U, C) outscores another, ties counted as half."""
    values = []
    for row, own in zip(scores, wanted, strict=True):
        good, bad = row[own], np.sort(row[~own])
        below, above = np.searchsorted(bad, good, "left"), np.searchsorted(bad, good, "right")
        values.append((below + above).mean() / (2 * len(bad)))
    return float(np.mean(values))


def place(scores: Array, held: Array, wanted: Array) -> float:
    """Returns the mean over users of the mean share of the catalogue above a wanted item."""
    values = [(row[None, :] > row[held[own]][:, None]).mean() for row, own in zip(scores, wanted, strict=True)]
    return float(np.mean(values))


if __name__ == "__main__":
    main()
