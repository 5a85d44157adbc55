"""`neucf train`: data, split, fit, validation, run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neucf.cli import options
from neucf.cli.options import RUNNING


def train(
    data: options.Data,
    model: options.Model,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to write.")],
    settings: options.Settings = None,
    split: options.Split = "random:0.8/0.1/0.1",
    split_seed: options.SplitSeed = 1,
    valid: options.Valid = None,
    seed: options.Seed = 0,
    refit: options.Refit = None,
    min_rating: options.MinRating = None,
    k_core: options.KCore = None,
    items: options.Items = None,
    events: options.Events = None,
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
    init_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Start from this run's weights, matched by id.", rich_help_panel=RUNNING),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from an interrupted training of RUN.", rich_help_panel=RUNNING)
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing RUN.", rich_help_panel=RUNNING)] = False,
) -> None:
    """Train a model on DATA and write a run folder.

    The validation part chooses the epoch; the test part is left for `neucf evaluate`.
    """
    from neucf.artifacts import writing
    from neucf.cli import display, reports
    from neucf.cli.progress import TrainingBar
    from neucf.cli.reading import read, read_events, reading_of
    from neucf.fitting import fit_into
    from neucf.models.config import parse_settings
    from neucf.plan import Plan

    reading = reading_of(locals())
    plan = Plan(
        model=model,
        settings=parse_settings(settings or []),
        split=split,
        split_seed=split_seed,
        valid=valid,
        seed=seed,
        device=device,
        threads=threads,
        refit=refit,
        init_from=init_from,
    )
    plan.check()
    unfinished = out.with_name(f"{out.name}.partial")
    try:
        with writing(out, force=force, resume=resume) as partial:
            dataset = read(data, **reading, events=None if events is None else read_events(events, data))
            reports.reading_notes(dataset, [model])
            with TrainingBar(model, plan.metric) as bar:
                fitted = fit_into(partial, plan, dataset, watch=bar)
    except KeyboardInterrupt:
        if unfinished.exists():
            display.note("Interrupted. The same command with --resume goes on from here.")
        raise
    reports.training_summary(fitted, out)
