"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

READING, RUNNING, LISTED = "How DATA is read", "How the run goes", "What may be listed"

Data = Annotated[str, typer.Argument(metavar="DATA", help="A named data set (`neucf data list`), a file, or a folder.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder written by `neucf train`.")]
On = Annotated[Literal["valid", "validation", "test"], typer.Option(help="The part to judge on; validation is valid.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def _reading(type_help: str, metavar: str, default: str | bool = False) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(
        help=type_help, metavar=metavar, show_default=default, rich_help_panel=READING
    )
    return info


def part(on: Literal["valid", "validation", "test"]) -> Literal["valid", "test"]:
    """Returns the part that `--on` names."""
    return "valid" if on == "validation" else on


MinRating = Annotated[
    float | None, _reading("Rows rated at least R are positives.", "R", "every row; a named set's own")
]
KCore = Annotated[int | None, _reading("Keep users and items with at least N positives.", "N")]
Items = Annotated[Path | None, _reading("A file of items: item_id, title, year, genres.", "FILE")]
Events = Annotated[
    str | None,
    _reading("Add the events of a store (sqlite:///FILE, postgresql://..., or default).", "URL"),
]
UserCol = Annotated[str | None, _reading("Column of user ids.", "COLUMN", "guessed")]
ItemCol = Annotated[str | None, _reading("Column of item ids.", "COLUMN", "guessed")]
RatingCol = Annotated[str | None, _reading("Column of ratings.", "COLUMN", "guessed")]
TimeCol = Annotated[str | None, _reading("Column of times.", "COLUMN", "guessed")]
WeightCol = Annotated[str | None, _reading("Column of weights.", "COLUMN", "none")]
Weight = Annotated[Literal["count"] | None, _reading("Weigh a pair by the number of its rows.", "count")]
Sep = Annotated[str | None, _reading("What separates columns.", "TEXT", "guessed")]
Format = Annotated[str | None, _reading("Format of DATA.", "NAME", "recognised")]

Model = Annotated[str, typer.Option(metavar="NAME", help="The model, such as bpr-mf (`neucf models`).")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the model (`neucf models NAME`); repeatable."),
]
Split = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="random, random-user, temporal, temporal-user or users with shares of train/valid/test; "
        "leave-last-out; fixed (the published split); none.",
    ),
]
SplitSeed = Annotated[int, typer.Option(min=0, metavar="N", help="Drives the split.")]
Valid = Annotated[
    str | None,
    typer.Option(
        metavar="V",
        help="Carve validation from train where the split has none: latest-item, last:0.1 (each user) or random:0.1.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Drives initialisation, sampling and order.")]
Refit = Annotated[
    bool | None,
    typer.Option(
        "--refit/--no-refit",
        help="Train anew on train and validation, up to the epoch chosen.",
        show_default="only with --split fixed",
    ),
]

Device = Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING)]
Threads = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="CPU threads.", show_default="every core", rich_help_panel=RUNNING),
]


def _listed(help_text: str, metavar: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(help=help_text, metavar=metavar, rich_help_panel=LISTED)
    return info


Genre = Annotated[list[str] | None, _listed("Only items of this genre; repeat it for any of several.", "GENRE")]
YearFrom = Annotated[int | None, _listed("Only items of this year or later.", "YEAR")]
YearTo = Annotated[int | None, _listed("Only items of this year or earlier.", "YEAR")]
Allow = Annotated[list[str] | None, _listed("Only these items: an id, or a file of one id a line; repeat.", "FILE|ID")]
Deny = Annotated[list[str] | None, _listed("Never these items: an id, or a file of one id a line; repeat.", "FILE|ID")]
