"""Sources: a named set, file, folder, frame or sparse matrix -> checked columns, whatever it looks like."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import issparse

from neucf.data.arrays import entries, is_weight
from neucf.data.catalog import CATALOG, locate
from neucf.data.columns import ColumnNames, Columns, read_columns
from neucf.data.formats import FILE_FORMATS, LAYOUTS, folder_format, only
from neucf.data.grouped import Loaded, load_grouped
from neucf.data.ncf import load_ncf
from neucf.data.tables import Frame, Table, open_table
from neucf.data.text_file import TextFile
from neucf.data.titles import read_items
from neucf.errors import ConfigError, DataError, closest

_BY_POSITION = ColumnNames("1", "2", "3", "4")


def load(source: Any, names: ColumnNames, *, format: str | None, sep: str | None) -> tuple[Loaded, str, dict[str, str]]:
    """Reads a source.

    Args:
        source: As in `read_dataset`.
        names: The columns named by the user.
        format: The format named by the user, or None.
        sep: The separator named by the user, or None.

    Returns:
        What was read, the name of the source, and how it was read: its format, and the column of each role.

    Raises:
        DataError: If the source breaks a rule.
        ConfigError: If an option does not fit the source.
    """
    if not isinstance(source, str | Path):
        _refuse_options(source, {"format": format, "sep": sep})
        if issparse(source):
            return Loaded(_matrix_columns(source, names)), "matrix", {"format": "matrix"}
        columns, chosen = read_columns(Frame(source), names)
        return Loaded(columns), "frame", _described("frame", chosen)
    path = locate(source) if isinstance(source, str) and source in CATALOG else _existing(source)
    loaded, how = _load_folder(path, names, format, sep) if path.is_dir() else _load_file(path, names, format, sep)
    return loaded, source_name(source), how


def source_name(source: str | Path) -> str:
    """Returns what a named data set, a file or a folder is called: its own name, without endings."""
    path = Path(source).expanduser()
    if source in CATALOG:
        return str(source)
    return path.name.partition(".")[0] if path.is_file() else path.resolve().name


def _existing(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if path.exists():
        return path
    if path.name != str(source) or path.suffix:
        raise DataError(f"{source} does not exist; check the path.")
    name = closest(str(source), CATALOG)
    hint = f"the nearest name is {name}" if name else f"the names are {', '.join(CATALOG)}"
    raise DataError(f"{str(source)!r} is neither a named data set nor an existing path; {hint}.")


def _load_folder(
    folder: Path, names: ColumnNames, format: str | None, sep: str | None
) -> tuple[Loaded, dict[str, str]]:
    format = folder_format(folder, format)
    layout = LAYOUTS[format]
    if layout.load is not None:
        _refuse_columns(format, names, sep)
        return layout.load(folder), {"format": format}
    table, names = _open(only(folder, layout.needs[0]), names, None, sep)
    columns, chosen = read_columns(table, names)
    has_items = layout.items is not None and any(folder.glob(layout.items))
    items = read_items(only(folder, layout.items)) if layout.items is not None and has_items else None
    return Loaded(columns, items), _described(format, chosen)


def _load_file(path: Path, names: ColumnNames, format: str | None, sep: str | None) -> tuple[Loaded, dict[str, str]]:
    if format not in (None, *FILE_FORMATS):
        raise ConfigError(f"`format` of a file must be one of {', '.join(FILE_FORMATS)}; got {format!r}.")
    if format is None and path.name.removesuffix(".gz").endswith(".users"):
        format = "grouped"
    if format in ("grouped", "ncf"):
        _refuse_columns(format, names, sep)
        loaded = load_grouped(path) if format == "grouped" else load_ncf(path.parent, path.name.partition(".")[0])
        return loaded, {"format": format}
    table, names = _open(path, names, format, sep)
    columns, chosen = read_columns(table, names)
    return Loaded(columns), _described(format or "table", chosen)


def _open(path: Path, names: ColumnNames, format: str | None, sep: str | None) -> tuple[Table, ColumnNames]:
    """Opens one table; in a text file, columns named by digits alone are named by position: it has no header line."""
    table = open_table(path, sep=sep, header=False if format == "no-header" else None)
    if not isinstance(table, TextFile):
        return table, names
    given = [column for column in (names.user, names.item) if column]
    if table.has_header and given and all(name.isdigit() for name in given):
        if table.looks_headed():
            raise DataError(
                f"{path}, row 1: columns named by position need a file without a header line, and this looks like one:"
                f" {', '.join(table.columns[:8])}; name columns as it does, or give the format no-header."
            )
        table = TextFile(path, sep=sep, header=False)
    if table.has_header or given:
        return table, names
    if format == "no-header" or (len(table.columns) == 4 and table.sep in ("\t", "::")):
        usual = {
            field.name: getattr(_BY_POSITION, field.name)
            for field in fields(names)
            if getattr(names, field.name) is None and getattr(_BY_POSITION, field.name) in table.columns
        }
        return table, replace(names, **usual)
    raise DataError(
        f"{path}, row 1: a header line is needed, and this is a row of numbers; name columns by position, as in"
        " user_col=1 and item_col=2, or give the format: no-header for user, item, rating, time, or grouped for"
        " `user item item ...`."
    )


def _matrix_columns(matrix: Any, names: ColumnNames) -> Columns:
    _refuse_options("a sparse matrix", {f"{field.name}_col": getattr(names, field.name) for field in fields(names)})
    *places, values = entries(matrix)
    wrong = ~is_weight(values)
    if wrong.any():
        user, item = (int(axis[np.argmax(wrong)]) for axis in places)
        raise DataError(f"the matrix at ({user}, {item}): a stored value must be above 0 and finite; fix or remove it.")
    users, items = (np.asarray(axis, np.int32) for axis in places)
    user_ids, item_ids = (pl.Series(np.arange(size)).cast(pl.String) for size in matrix.shape)
    return Columns(users, items, None, None if (values == 1).all() else values, None, user_ids, item_ids)


def _described(format: str, chosen: dict[str, str]) -> dict[str, str]:
    return {"format": format} | {f"{role}_col": column for role, column in chosen.items()}


def _refuse_columns(format: str, names: ColumnNames, sep: str | None) -> None:
    given = {f"{field.name}_col": getattr(names, field.name) for field in fields(names)}
    _refuse_options(f"the format {format}", given | {"sep": sep})


def _refuse_options(source: Any, options: dict[str, str | None]) -> None:
    for option, value in options.items():
        if value is not None:
            of = source if isinstance(source, str) else "data in memory"
            raise ConfigError(f"`{option}` has no meaning for {of}; got {value!r}; leave it out.")
