"""What commands print: tables and documents on standard output, notes on standard error."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from neucf.data.vocabulary import Id
    from neucf.serving import HistoryItem, NamedItem, Recommendations, Similar


def console() -> Console:
    """Returns the console of results: standard output."""
    return Console(highlight=False)


def say(text: str) -> None:
    """Prints a line of the result."""
    console().print(text, markup=False, soft_wrap=True)


def heading(text: str) -> None:
    """Prints a line that must not be missed."""
    console().print(f"\n[bold]{escape(text)}[/bold]")


def notes() -> Console:
    """Returns the console of progress and notes: standard error."""
    return Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Prints a line on standard error."""
    notes().print(text, markup=False, soft_wrap=True)


def document(value: Any) -> None:
    """Prints one JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def busy(text: str) -> AbstractContextManager[Any]:
    """Shows on a terminal's standard error that something is under way."""
    return notes().status(escape(text))


@contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on a terminal's standard error; yields a function that takes what is done, and all there is."""
    from rich.progress import Progress

    with Progress(console=notes(), transient=True, disable=not notes().is_terminal) as progress:
        task = progress.add_task(escape(text), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Returns an empty table in the house style; the columns named in `right` are numbers. The first never wraps."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = set(right)
    for place, column in enumerate(columns):
        number = column in numbers
        made.add_column(column, justify="right" if number else "left", no_wrap=number or place == 0, overflow="fold")
    return made


def show(title: str, made: Table) -> None:
    """Prints a table under its title, which may be wider than it."""
    heading(title)
    console().print(made)


def pairs(rows: Mapping[str, str]) -> None:
    """Prints names and values, a pair a line."""
    made = Table(box=None, show_header=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows.items():
        made.add_row(name, escape(value))
    console().print(made)


def next_steps(commands: Sequence[str]) -> None:
    """Prints commands worth trying next, each on a line of its own that can be copied."""
    heading("Next")
    for command in commands:
        say(f"  {command}")


def shown(path: Path) -> str:
    """Returns a path as one types it in a shell, relative where it lies below the working folder."""
    path = path.absolute()
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def quoted(external: Id) -> str:
    """Returns an id as one types it in a shell."""
    return shlex.quote(str(external))


def item_line(item: NamedItem) -> str:
    """Returns an item's title and id, or its id where no title is known."""
    return f"item {item.item_id}" if item.title is None else f"{item.title}, item {item.item_id}"


def matched_list(title: str, lines: Sequence[str]) -> None:
    """Prints what was understood."""
    heading(title)
    for line in lines:
        say(f"  {line}")


def history_table(who: str, rows: Sequence[HistoryItem]) -> None:
    """Prints what somebody rated, best first, or chose."""
    if not rows:
        heading(f"What {who} chose: nothing is known")
        return
    columns = {
        "rating": ["" if row.rating is None else f"{row.rating:g}" for row in rows],
        "item": [str(row.item_id) for row in rows],
        "title": [_title(row) for row in rows],
        "genres": [", ".join(row.genres) for row in rows],
    }
    rated = any(columns["rating"])
    show(f"What {who} rated highest" if rated else f"What {who} chose", _filled(columns, right=("rating", "item")))


def suggestions_table(title: str, answer: Recommendations | Similar) -> None:
    """Prints suggestions, best first, each with the strongest of its reasons."""
    if not answer.items:
        heading(f"{title}: nothing is left to list")
        return
    form = _form([row.score for row in answer.items])
    reasons = (row.because[0] if row.because else None for row in answer.items)
    columns = {
        "#": [str(rank) for rank, _ in enumerate(answer.items, start=1)],
        "item": [str(row.item_id) for row in answer.items],
        "title": [f"{_title(row)} (new)" if row.placed else _title(row) for row in answer.items],
        "genres": [", ".join(row.genres) for row in answer.items],
        "score": [f"{row.score:{form}}" for row in answer.items],
        "because of": ["" if reason is None else reason.title or str(reason.item_id) for reason in reasons],
    }
    show(title, _filled(columns, right=("#", "item", "score")))
    if any(row.placed for row in answer.items):
        say("(new): nobody has touched it yet; it stands where its genres put it.")
    if getattr(answer, "fallback", None) == "popularity":
        say("Nothing was known of this user to go by: these are the most popular items.")


def _filled(columns: Mapping[str, Sequence[str]], right: Iterable[str]) -> Table:
    """Returns a table of the columns that hold anything: where no titles are known, none stands empty."""
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    made = table(*filled, right=right)
    for cells in zip(*filled.values(), strict=True):
        made.add_row(*map(escape, cells))
    return made


def _form(scores: Sequence[float]) -> str:
    """Returns the format that shows three digits of the largest of a column; a model's scores may all be small."""
    largest = max(map(abs, scores))
    if 0 < largest < 1e-4:
        return ".2e"
    return f".{2 - floor(log10(largest))}f" if 0 < largest < 0.1 else ".3f"


def _title(row: Any) -> str:
    from neucf.data.titles import full_title

    return "" if row.title is None else full_title(row.title, row.year)
