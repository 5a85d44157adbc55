"""Formats: the layouts data sets are published in, which one a folder has, and its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neucf.data.grouped import Loaded, load_lightgcn
from neucf.data.ncf import load_ncf
from neucf.errors import ConfigError, DataError

FILE_FORMATS = ("table", "no-header", "grouped", "ncf")


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder's layout.

    Attributes:
        needs: Patterns of the files that must be there; the first is the table of interactions.
        items: Pattern of the item file, which may be absent.
        load: Reads a layout that has a published split.
    """

    needs: tuple[str, ...]
    items: str | None = None
    load: Callable[[Path], Loaded] | None = None


LAYOUTS = {
    "movielens-csv": Layout(("ratings.csv",), items="movies.csv"),
    "movielens-100k": Layout(("u.data",), items="u.item"),
    "movielens-dat": Layout(("ratings.dat",), items="movies.dat"),
    "recbole": Layout(("*.inter",), items="*.item"),
    "ncf": Layout(("*.test.rating", "*.train.*"), load=load_ncf),
    "lightgcn": Layout(("train.txt", "test.txt"), load=load_lightgcn),
}


def folder_format(folder: Path, format: str | None = None) -> str:
    """Returns the layout of a folder: the first whose files are there, or the one asked for.

    Raises:
        ConfigError: If `format` is unknown.
        DataError: If the folder has no known layout, or lacks a file of the one asked for.
    """
    if format is not None and format not in LAYOUTS:
        raise ConfigError(f"`format` of a folder must be one of {', '.join(LAYOUTS)}; got {format!r}.")
    tried = [format] if format else list(LAYOUTS)
    for name in tried:
        if all(any(folder.glob(pattern)) for pattern in LAYOUTS[name].needs):
            return name
    known = "; ".join(f"{name} has {' and '.join(LAYOUTS[name].needs)}" for name in tried)
    raise DataError(f"{folder} is a folder of no known format ({known}); name a file in it instead.")


def only(folder: Path, pattern: str) -> Path:
    """Returns the one file of a folder that fits a pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds several files {pattern} ({names}); name the one to read.")
    return found[0]
