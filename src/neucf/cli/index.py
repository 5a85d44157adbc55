"""`neucf index`: makes recommending from a large catalogue quick."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from neucf.cli import options


def index(
    run: options.Run,
    retriever: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="For mlp and neumf: a run of mf on the same data and split finds candidates."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, metavar="K", help="Recall is measured on lists of K.")] = 10,
    probes: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Cells looked into for a person.", show_default="as recall needs"),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    r"""Build the index of `neucf recommend RUN --ann` and say how much of the exact lists it finds.

    It is written into RUN as ann.safetensors. Needs faiss: pip install 'neucf\[ann]'
    """
    from neucf.artifacts import open_run
    from neucf.cli import display
    from neucf.serving import build_index

    opened = open_run(run)
    other = None if retriever is None else open_run(retriever)
    with display.busy("Building the index"):
        built = build_index(opened, other, k=k, probes=probes, threads=threads)
    if json:
        display.document(asdict(built))
        return
    display.say(
        f"Recall@{built.k} against exact lists: {built.recall:.3f} (mean of {built.num_users:,} users), "
        f"looking into {built.probes} of {built.num_cells:,} cells."
    )
    display.next_steps([f"neucf recommend {display.shown(run)} --ann --user ID"])
