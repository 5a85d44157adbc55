"""`neucf run`: every model of a recipe, trained, judged, and put in one table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neucf.cli import options

if TYPE_CHECKING:
    from neucf.data.dataset import Dataset
    from neucf.experiment import Leaderboard, Recipe, Result


def run(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of one that comes along, such as lecture.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where runs and tables go.", show_default="runs/ and the recipe's name"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Train with seeds 0 to N-1.")] = 1,
    split_seeds: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Repeat it on split seeds 1 to N; compares over splits.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Run it on this named data set, file or folder instead of its own; what the recipe says of its data "
            "is left out but for the split, and so are published numbers.",
            rich_help_panel=options.READING,
        ),
    ] = None,
    min_rating: options.MinRating = None,
    k_core: options.KCore = None,
    items: options.Items = None,
    user_col: options.UserCol = None,
    item_col: options.ItemCol = None,
    rating_col: options.RatingCol = None,
    time_col: options.TimeCol = None,
    weight_col: options.WeightCol = None,
    weight: options.Weight = None,
    sep: options.Sep = None,
    format: options.Format = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    r"""Train and judge every model of RECIPE, for every seed, and print the leaderboard.

    With a `reference` in the recipe's \[evaluation], every model is compared with it, user by user. What an existing
    DIR holds is taken over where settings, data and code are the same. Exits with 1 if a model failed.
    """
    from neucf.cli import display, reports
    from neucf.cli.leaderboard import leaderboard, report
    from neucf.cli.progress import TrainingBar, TuningBar
    from neucf.cli.reading import read, reading_of
    from neucf.experiment import Leaderboard, load_recipe, write_leaderboard
    from neucf.experiment import run as run_recipe
    from neucf.experiment.experiment import check
    from neucf.experiment.plots import draw
    from neucf.experiment.recipe_files import recipe_file
    from neucf.experiment.repeating import check_splits
    from neucf.experiment.runs import held, made_folder

    reading = reading_of(locals())
    loaded = load_recipe(recipe)
    check(loaded, seeds, device)
    if split_seeds is not None:
        check_splits(loaded, split_seeds)
    if data is None:
        given = next((name for name, value in reading.items() if value is not None), None)
        if given is not None:
            raise typer.BadParameter(
                f"--{given.replace('_', '-')} goes with --data; the recipe says how its own is read."
            )
        dataset = read(loaded.data.source, min_rating=loaded.data.min_rating)
    else:
        dataset = read(data, **reading)
        loaded = loaded.on_data(dataset)
    folder = out or Path("runs") / (loaded.name if data is None else f"{loaded.name}-{dataset.name}")
    reports.reading_notes(dataset, [entry.model for entry in loaded.models])
    how: dict[str, Any] = {
        "num_seeds": seeds,
        "device": device,
        "threads": threads,
        "training": TrainingBar,
        "tuning": TuningBar,
        "done": lambda result: _note(loaded, result),
    }
    # What a report says of how it was made
    about = {
        "command": shlex.join(["neucf", *sys.argv[1:]]),
        "recipe": recipe_file(recipe).read_text("utf-8"),
    }
    with held(made_folder(folder)):
        try:
            if split_seeds is not None:
                _over_splits(loaded, dataset, folder, split_seeds, how, about, json)
                return
            results = run_recipe(loaded, dataset, folder, **how)
        except KeyboardInterrupt:
            display.note("Interrupted. The same command goes on from here.")
            raise
        board = Leaderboard.of(loaded, results)
        files = (
            write_leaderboard(board, folder)
            + reports.plots(lambda: draw(board, folder))
            + report(board, folder / "report.html", **about)
        )
        if json:
            compared = {} if board.comparisons is None else {"comparisons": board.comparisons.to_json()}
            display.document({"models": [result.to_json() for result in results], **compared})
        else:
            leaderboard(board)
            display.say(f"Written: {', '.join(display.shown(file) for file in files)}")
        if board.failed:
            raise typer.Exit(1)


def _over_splits(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    num_splits: int,
    options: dict[str, Any],
    about: dict[str, str],
    json: bool,
) -> None:
    """Runs the recipe on every split seed, and shows what that says of its models; each split has its report."""
    from neucf.cli import display
    from neucf.cli.leaderboard import report, split_table
    from neucf.experiment import run_splits

    def ended(seed: int, board: Leaderboard) -> None:
        report(board, folder / f"split-{seed}" / "report.html", **about)
        display.note(f"Split {seed} of {num_splits} is done.")

    found, boards = run_splits(recipe, dataset, folder, num_splits, ended=ended, **options)
    files = found.write(folder)
    if json:
        results = ((seed, result) for seed, board in boards.items() for result in board.results)
        entries = [{**result.to_json(), "split_seed": seed} for seed, result in results]
        display.document({"models": entries, "splits": found.to_json()})
    else:
        split_table(found)
        display.say(f"Written: {', '.join(display.shown(file) for file in files)}")
    if any(board.failed for board in boards.values()):
        raise typer.Exit(1)


def _note(recipe: Recipe, result: Result) -> None:
    """Says how one model and seed ended."""
    from neucf.cli import display
    from neucf.evaluation.titles import metric_title
    from neucf.experiment.tables import seconds

    name, select = f"{result.label}, seed {result.seed}", recipe.evaluation.select
    if result.valid_metrics is None:
        display.note(f"{name} failed: {result.error}")
        return
    value = result.valid_metrics["metrics"][select]["mean"]
    how = "taken over" if result.reused else f"trained in {seconds(result.train_seconds)}"
    display.note(f"{name}: {metric_title(select)} {value:.4f} on validation, {how}")
