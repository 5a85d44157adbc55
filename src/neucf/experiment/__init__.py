"""Experiments: a recipe of models, trained and judged alike, as one leaderboard."""

from neucf.experiment.existing import compare_runs
from neucf.experiment.experiment import run
from neucf.experiment.leaderboard import Leaderboard
from neucf.experiment.leaderboard_files import write_leaderboard
from neucf.experiment.recipe import Recipe
from neucf.experiment.recipe_files import load_recipe, recipe_names
from neucf.experiment.records import Result
from neucf.experiment.repeating import run_splits
from neucf.experiment.split_table import SplitTable

__all__ = [
    "Leaderboard",
    "Recipe",
    "Result",
    "SplitTable",
    "compare_runs",
    "load_recipe",
    "recipe_names",
    "run",
    "run_splits",
    "write_leaderboard",
]
