"""Made-up files under the names of two known data sets, and recipes that run on them in no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neucf.data.readers import read_dataset
from neucf.experiment import Recipe, Result, load_recipe, run
from neucf.recommender import EpochRecord

MF = '[[models]]\nlabel = "mf"\nmodel = "mf"\ndim = 4\nepochs = 3\nlr = 0.05\n'
GMF = '[[models]]\nlabel = "gmf"\nmodel = "gmf"\ndim = 4\nepochs = 2\n'
MLP = '[[models]]\nlabel = "mlp"\nmodel = "mlp"\ntower = [8, 4]\nepochs = 2\n'
JOINED = '[[models]]\nlabel = "neumf-joined"\nmodel = "neumf"\nhalves = ["gmf", "mlp"]\nepochs = 1\n'
BROKEN = '[[models]]\nlabel = "mf-broken"\nmodel = "mf"\nloss = "bce"\noptimizer = "sgd"\nlr = 1e30\nepochs = 2\n'
TUNED = (
    '[[models]]\nlabel = "mf-tuned"\nmodel = "mf"\nepochs = 2\nbatch_size = 64\nnegatives = 2\ntune = { trials = 3 }\n'
)
POPULARITY = '[[models]]\nlabel = "popularity"\nmodel = "popularity"\n'
PUBLISHED = '[published."Ann 2001"]\nmetrics = { "ndcg@5" = 0.5 }\nsource = "A paper"\nbeside = "mf"\n'
FULL = '[data]\nsource = "ml-latest-small"\nsplit = "random:0.6/0.2/0.2"\n[evaluation]\nks = [5]\nselect = "ndcg@5"\n'
FIXED = (
    '[data]\nsource = "ncf-ml-1m"\nsplit = "fixed"\nvalid = "latest-item"\n'
    '[evaluation]\nprotocol = "sampled"\nks = [3]\nselect = "hit@3"\n'
)
# Users, items, and items a user likes; likes fall into two groups.
NUM_USERS, NUM_ITEMS, LIKED = 24, 20, 8


def write_sets(root: Path) -> None:
    """Writes made-up files under the names of two known sets."""
    rng = np.random.default_rng(0)
    likes = [(rng.permutation(NUM_ITEMS // 2)[:LIKED] * 2 + user % 2).tolist() for user in range(NUM_USERS)]
    small, fixed = root / "ml-latest-small", root / "ncf-ml-1m"
    small.mkdir()
    rows = [f"{user},{item},5,{100 + place}" for user in range(NUM_USERS) for place, item in enumerate(likes[user])]
    (small / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]))
    (small / "movies.csv").write_text(
        "\n".join(["movieId,title,genres", *(f"{item},Film {item} (2000),Drama" for item in range(NUM_ITEMS))])
    )
    fixed.mkdir()
    others = [[item for item in range(NUM_ITEMS) if item not in likes[user]][:9] for user in range(NUM_USERS)]
    lines = {
        "ml-1m.train.rating": [
            "\t".join(map(str, (u, i, 5, 100 + k))) for u in range(NUM_USERS) for k, i in enumerate(likes[u][:-1])
        ],
        "ml-1m.test.rating": [f"{u}\t{likes[u][-1]}\t5\t999" for u in range(NUM_USERS)],
        "ml-1m.test.negative": ["\t".join(map(str, (f"({u},{likes[u][-1]})", *others[u]))) for u in range(NUM_USERS)],
        "item_map.csv": ["ncf_item,movielens_movie_id", *(f"{item},{item + 1}" for item in range(NUM_ITEMS))],
        "movies.dat": [f"{item + 1}::Film {item} (2000)::Drama" for item in range(NUM_ITEMS)],
    }
    for name, text in lines.items():
        (fixed / name).write_text("\n".join(text) + "\n")


def write(folder: Path, *parts: str) -> Recipe:
    """Writes a recipe, tiny.toml, and reads it."""
    (folder / "tiny.toml").write_text("\n".join(parts))
    return load_recipe(folder / "tiny.toml")


class Watcher:
    """Counts what is trained, and interrupts after so many epochs."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.trained: list[str] = []
        self.ended: list[Result] = []
        self.epochs: list[int] = []
        self._stop_after = stop_after

    @contextmanager
    def training(self, name: str, metric: str | None) -> Iterator[Callable[[EpochRecord], None]]:
        del metric
        self.trained.append(name)
        yield self._epoch

    def _epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record.epoch)
        if len(self.epochs) == self._stop_after:
            raise KeyboardInterrupt


def execute(recipe: Recipe, folder: Path, watcher: Watcher | None = None, num_seeds: int = 1) -> list[Result]:
    """Runs a recipe into the folder's `out`."""
    watcher = watcher or Watcher()
    dataset = read_dataset(recipe.data.source)
    return run(
        recipe,
        dataset,
        folder / "out",
        num_seeds=num_seeds,
        threads=1,
        training=watcher.training,
        done=watcher.ended.append,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    """Returns what that left in results.jsonl."""
    return [json.loads(line) for line in (folder / "out" / "results.jsonl").read_text().splitlines()]
