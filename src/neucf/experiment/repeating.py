"""Repeated splits: a recipe over split seeds 1..N."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from neucf.data.dataset import Dataset
from neucf.data.interactions import Interactions
from neucf.data.shares import parse_spec
from neucf.data.splitting import split
from neucf.errors import ConfigError
from neucf.experiment.experiment import run
from neucf.experiment.leaderboard import Leaderboard
from neucf.experiment.leaderboard_files import write_leaderboard
from neucf.experiment.recipe import Recipe
from neucf.experiment.runs import made_folder
from neucf.experiment.split_table import SplitTable, unit_of

# Splits that another seed draws anew; the others cut in time, or were given.
DRAWN = ("random", "random-user", "users")


def check_splits(recipe: Recipe, num_splits: int) -> None:
    """Checks that a recipe can be run on so many splits; raises ConfigError."""
    way, _ = parse_spec(recipe.data.split)
    if num_splits < 2:
        raise ConfigError(f"`split_seeds` must be at least 2, for an interval over splits; got {num_splits}.")
    if recipe.evaluation.reference is None:
        raise ConfigError(
            "`split_seeds` needs a model to compare with; the recipe names none. "
            f'Add reference = "{recipe.models[0].label}", or another label, to its [evaluation].'
        )
    if way not in DRAWN:
        raise ConfigError(
            f"`split_seeds` needs a split that its seed draws anew: {', '.join(DRAWN)}; got {recipe.data.split!r}."
        )


def run_splits(
    recipe: Recipe,
    dataset: Dataset,
    out: str | Path,
    num_splits: int,
    *,
    ended: Callable[[int, Leaderboard], None] | None = None,
    **options: Any,
) -> tuple[SplitTable, dict[int, Leaderboard]]:
    """Runs a recipe on split seeds 1..N, each in a folder of its own, split-SEED; finished runs are taken over.

    Args:
        recipe: What to train; its own `split_seed` is put aside.
        dataset: The recipe's data, read.
        out: The folder of the splits' folders.
        num_splits: N.
        ended: Called with each split seed and its leaderboard.
        options: As `run` takes them.

    Raises:
        ConfigError: If there are fewer than two splits, no reference, or a split that no seed changes.
    """
    check_splits(recipe, num_splits)
    way, _ = parse_spec(recipe.data.split)
    folder, boards, sizes = made_folder(out), {}, []
    for seed in range(1, num_splits + 1):
        own = recipe.on_split(seed)
        boards[seed] = Leaderboard.of(own, run(own, dataset, folder / f"split-{seed}", **options))
        write_leaderboard(boards[seed], folder / f"split-{seed}")
        parts = split(dataset, own.data.split, seed, valid=own.data.valid)
        trained = parts.train_and_valid if own.plan(own.models[0]).refits else parts.train
        sizes.append((_size(trained, unit_of(way)), _size(parts.test, unit_of(way))))
        if ended is not None:
            ended(seed, boards[seed])
    num_train, num_test = (mean(each) for each in zip(*sizes, strict=True))
    return SplitTable.of(recipe, boards, num_train, num_test), boards


def _size(part: Interactions | None, unit: str) -> int:
    if part is None:
        return 0
    return len(np.unique(part.users)) if unit == "users" else len(part)
