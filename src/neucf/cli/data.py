"""`neucf data`: the named data sets, and what a source holds."""

from __future__ import annotations

from typing import Annotated

import typer

from neucf.cli import options

app = typer.Typer(help="List, fetch and describe data sets.", no_args_is_help=True)


@app.command("list")
def list_sets() -> None:
    """List the named data sets, and where each would come from."""
    from neucf.cli import display, reports
    from neucf.data.catalog import CATALOG, find
    from neucf.errors import DataError

    found = {}
    for name, entry in CATALOG.items():
        try:
            found[entry] = find(name)
        except DataError as error:
            found[entry] = None
            display.note(str(error))
    reports.catalogue(found)


@app.command("get")
def get(name: Annotated[str, typer.Argument(help="A named data set.")]) -> None:
    """Fetch a named data set into the cache, unless it is there, and print its folder."""
    from neucf.cli import display
    from neucf.data.catalog import locate

    display.say(str(locate(name)))


@app.command("describe")
def describe(
    data: options.Data,
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
) -> None:
    """Read DATA and print what it holds, and what was dropped and why."""
    from neucf.cli import reports
    from neucf.cli.reading import read, reading_of

    reading = reading_of(locals())
    reports.dataset_summary(read(data, **reading))
