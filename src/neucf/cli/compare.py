"""`neucf compare`: existing runs in one table, held against one of them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from neucf.cli import options


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders; seeds of one label are averaged.")
    ],
    reference: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="Hold the others against this one.", show_default="the first run's"),
    ] = None,
    on: options.On = "test",
    protocol: Annotated[
        Literal["full", "sampled"] | None,
        typer.Option(help="How all are judged.", show_default="as the runs were on validation"),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option("-k", min=1, metavar="K", help="List length, repeatable.", show_default="those of the runs"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="What tests are corrected on.", show_default="what chose the epochs"),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML report too, one file.")] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Judge RUNs alike and compare them, paired by user: differences, intervals and tests.

    Refuses runs whose data, split or protocol differ. The label of a run is what its recipe called it, else its model's
    name, or its folder's where two runs of a name differ in more than the seed.
    """
    from neucf.cli import display
    from neucf.cli.leaderboard import leaderboard
    from neucf.cli.leaderboard import report as write_report
    from neucf.experiment import compare_runs
    from neucf.experiment.leaderboard_files import to_json

    board = compare_runs(
        runs,
        reference=reference,
        on=options.part(on),
        protocol=protocol,
        ks=k,
        metric=metric,
        threads=threads,
        judging=lambda name: display.note(f"Judging {name}"),
    )
    files = [] if report is None else write_report(board, report, command=shlex.join(["neucf", *sys.argv[1:]]))
    if json:
        display.document(to_json(board))
    else:
        leaderboard(board)
        for file in files:
            display.say(f"Written: {display.shown(file)}")
