"""The leaderboard and the comparisons on the terminal, for the commands that give them."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from neucf.cli import display
from neucf.errors import ConfigError
from neucf.evaluation.titles import metric_title
from neucf.experiment import SplitTable
from neucf.experiment.comparing import COLUMNS, ComparisonTable
from neucf.experiment.leaderboard import Leaderboard
from neucf.experiment.tables import seconds


def leaderboard(board: Leaderboard) -> None:
    """Prints a row a label, published numbers indented below the label they stand beside; then the comparisons."""
    parts = {"valid": "validation", "test": "test"}
    columns = [*(f"{metric_title(name)}\n{parts[part]}" for part, name in board.columns), "training"]
    made = display.table("model", *columns, right=columns)
    # The labels of published numbers may be long.
    made.columns[0].no_wrap = False

    def add_published(label: str | None) -> None:
        for name, cells in board.published_rows(label):
            made.add_row(f"{'  ' if label else ''}{escape(name)}", *cells, "", style="dim")

    for row in board.rows:
        style = None if row.num_seeds else "red"
        made.add_row(escape(row.label), *board.figures(row), seconds(row.train_seconds), style=style)
        add_published(row.label)
    made.add_section()
    add_published(None)
    display.show(board.title, made)
    _lines(board.footnotes)
    if board.published:
        display.say("leaderboard.md gives the sources of the numbers of others.")
    if board.comparisons is not None:
        _comparisons(board.comparisons)


def split_table(found: SplitTable) -> None:
    """Prints a row a label: the primary metric, and its mean difference from the reference over splits."""
    # The interval holds what p says, and the table must fit 80 columns.
    columns = (f"{metric_title(found.primary)}\ntest", "difference", "95 % interval", "p, Holm")
    made = display.table("model", *columns, right=columns)
    made.columns[0].no_wrap = False
    for row in found.rows:
        figure, difference, bounds, _, corrected = found.cells(row)
        made.add_row(escape(row.label), figure, difference, bounds, corrected)
    display.show(found.title, made)
    _lines(found.footnotes)


def report(board: Leaderboard, file: Path, *, command: str, recipe: str | None = None) -> list[Path]:
    """Writes the HTML report and returns its path; says so where what it needs is not installed."""
    from neucf.reporting import write_report

    try:
        write_report(board, file, command=command, recipe=recipe)
    except ImportError:
        display.note("No report was written: it needs Jinja2. Install it by pip install 'neucf[plots]'.")
        return []
    except OSError as error:
        raise ConfigError(f"`report` must be a file that can be written; {file} cannot ({error.strerror}).") from None
    return [file]


def _comparisons(found: ComparisonTable) -> None:
    # Two cells of the widest columns and a label must fit 80 columns; files hold the rest.
    columns = COLUMNS[:4]
    made = display.table("model", *columns, right=columns)
    made.columns[0].no_wrap = False
    for row in found.rows:
        made.add_row(escape(row.label), *found.cells(row)[: len(columns)])
    display.show(found.title, made)
    _lines(found.footnotes(columns))


def _lines(texts: list[str]) -> None:
    for text in texts:
        display.console().print(text, markup=False)
