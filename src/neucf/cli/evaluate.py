"""`neucf evaluate`: a run's metrics on its validation or test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from neucf.cli import options


def evaluate(
    run: options.Run,
    on: options.On = "test",
    protocol: Annotated[
        Literal["full", "sampled"],
        typer.Option(help="full: rank the whole catalogue; sampled: the held-out item among 99 candidates."),
    ] = "full",
    k: Annotated[
        list[int] | None,
        typer.Option("-k", min=1, metavar="K", help="List length, repeatable.", show_default="10 and 20"),
    ] = None,
    ties: Annotated[
        Literal["average", "pessimistic", "optimistic"],
        typer.Option(help="The rank of tied candidates in the sampled protocol."),
    ] = "average",
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**63 - 1,
            metavar="N",
            help="Drives ties, candidates and intervals.",
            show_default="that of the run",
        ),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Evaluate RUN, by default on its test part.

    The test part judges a finished choice once; choose settings on validation (`--on valid`), where a refitted run
    is judged by the model it was before.
    """
    from neucf.artifacts import open_run
    from neucf.cli import display, reports
    from neucf.cli.breakdown import breakdown
    from neucf.evaluation import evaluate as measure
    from neucf.evaluation.beyond import genre_flags

    opened, on = open_run(run), options.part(on)
    seed = _seed_of(opened.manifest) if seed is None else seed
    # Only a model that never saw validation may be judged on it.
    model = opened.first_model if on == "valid" else opened.model
    with display.busy(f"Ranking for the {on} part"):
        evaluation = measure(
            model, opened.split, on, protocol, tuple(sorted(set(k or (10, 20)))),
            seed=seed, threads=threads, ties=ties,
        )  # fmt: skip
    genres = genre_flags(opened.items)
    spec, split_seed = opened.manifest["split"], opened.manifest["split_seed"]
    if json:
        display.document(evaluation.to_json(spec, split_seed, seed, genres))
    else:
        reports.evaluation_table(evaluation, opened.manifest["model"]["name"], f"{spec}, split seed {split_seed}", seed)
        breakdown(evaluation, genres)


def _seed_of(manifest: Mapping[str, Any]) -> int:
    """Returns the seed of a run, by which its own metrics are; 0 where it says none."""
    seed = manifest.get("seed")
    return seed if isinstance(seed, int) and 0 <= seed < 2**63 else 0
