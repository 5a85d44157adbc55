"""Titles: what is known of items: title, year and genres, in the order of the file that says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import polars as pl

from neucf.data.columns import as_ids, guess
from neucf.data.tables import Table, open_table
from neucf.data.text import bytes_of
from neucf.errors import DataError

Row: TypeAlias = tuple[str, str | None, int | None, list[str]]

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_id": pl.String,
    "title": pl.String,
    "year": pl.Int32,
    "genres": pl.List(pl.String),
}
# The 19 flags at the end of a row of ml-100k's u.item, in the order of its u.genre.
_FLAGS = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_NO_GENRES = ("", "(no genres listed)", "unknown")
# A column with gaps is often one of fractions
_WRITTEN_YEAR = re.compile(r"\s*([0-9]{1,4})(?:\.0*)?\s*")
# 'Toy Story (1995)', 'Death Note (2006-2007)', 'Lost World, The (1995) (V)'
_YEAR = re.compile(r"^(.*?)\s*\((\d{4})(?:[-\u2013]\d{0,4})?\)\s*(?:\([A-Z]{1,2}\))?\s*$", re.DOTALL)


def read_items(path: Path, *, sep: str | None = None) -> pl.DataFrame:
    """Reads an item file: ml-100k's u.item, MovieLens' movies.dat, RecBole's .item, or a table with a header.

    Args:
        path: The file.
        sep: Separator of a text table; guessed where None.

    Returns:
        item_id (text), title, year, genres (lists of texts), in file order; absent where the file has none.

    Raises:
        DataError: If a row breaks a rule or an item stands twice.
    """
    name = path.name.removesuffix(".gz")
    if name in _PUBLISHED:
        rows = [_PUBLISHED[name](path, number, line) for number, line in _lines(path)]
    else:
        rows = _rows_of(open_table(path, sep=sep))
    items = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(pl.col("title").replace("", None))
    if items["item_id"].n_unique() < len(items):
        twice = items.filter(pl.col("item_id").is_duplicated())["item_id"][0]
        raise DataError(f"{path}: an item must stand once; got the item id {twice!r} more than once.")
    return items


def split_year(title: str) -> tuple[str, int | None]:
    """Returns a title without the year that ends it, and the year: 'Toy Story (1995)' -> ('Toy Story', 1995)."""
    found = _YEAR.match(title)
    return (found[1], int(found[2])) if found else (title.strip(), None)


def full_title(title: str, year: int | None) -> str:
    """Returns a title with its year, unless it ends in it: what `split_year` took apart."""
    return title if year is None or title.endswith(f"({year})") else f"{title} ({year})"


def in_order(items: pl.DataFrame | None, item_ids: pl.Series) -> pl.DataFrame | None:
    """Returns the rows of `items` in the order of `item_ids` (a vocabulary's series), null where nothing is known."""
    if items is None:
        return None
    wanted = pl.DataFrame({"item_id": item_ids.cast(pl.String)})
    ordered = wanted.join(items, on="item_id", how="left", maintain_order="left")
    return ordered.with_columns(item_ids.alias("item_id"), pl.col("genres").fill_null([]))


def _rows_of(table: Table) -> list[Row]:
    roles = {role: guess(role, table.columns) for role in ("item", "title", "year", "genres")}
    if roles["item"] is None:
        raise DataError(f"{table.name} has no column with a usual item name, such as `item_id`; rename its column.")
    distinct = list(dict.fromkeys(column for column in roles.values() if column))
    series = dict(zip(distinct, table.take(distinct), strict=True))

    def column(role: str) -> pl.Series | None:
        its = roles[role]
        return None if its is None or (role != "item" and its == roles["item"]) else series[its]

    ids = as_ids(series[roles["item"]], "item", table).cast(pl.String)
    titles, years, genres = column("title"), column("year"), column("genres")
    rows: list[Row] = []
    blank = " " if "token_seq" in (roles["genres"] or "") else "|"
    for index, item_id in enumerate(ids):
        title, year = (
            split_year(str(titles[index])) if titles is not None and titles[index] is not None else (None, None)
        )
        given = None if years is None else _WRITTEN_YEAR.fullmatch(str(years[index]))
        if given:
            year = int(given[1])
        rows.append((item_id, title, year, _genres(genres[index] if genres is not None else None, blank)))
    return rows


def _genres(value: object, separator: str) -> list[str]:
    if value is None:
        return []
    names = list(value) if isinstance(value, list | pl.Series) else str(value).split(separator)
    return [name.strip() for name in map(str, names) if name.strip() not in _NO_GENRES]


def _flagged(path: Path, number: int, line: str) -> Row:
    fields = line.split("|")
    if len(fields) != 5 + len(_FLAGS):
        raise DataError(f"{path}, row {number}: a row must have {5 + len(_FLAGS)} fields; got {len(fields)}.")
    flagged = [genre for genre, flag in zip(_FLAGS, fields[5:], strict=True) if flag == "1"]
    return (fields[0], *split_year(fields[1]), [genre for genre in flagged if genre not in _NO_GENRES])


def _double_colon(path: Path, number: int, line: str) -> Row:
    fields = line.split("::")
    if len(fields) < 3:
        raise DataError(f"{path}, row {number}: a row must have 3 fields, item::title::genres; got {len(fields)}.")
    return (fields[0], *split_year("::".join(fields[1:-1])), _genres(fields[-1], "|"))


def _lines(path: Path) -> list[tuple[int, str]]:
    """Returns numbered lines; these two files are Latin-1 as published, yet often found converted to UTF-8."""
    content = bytes_of(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    numbered = ((number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in numbered if line.strip()]


_PUBLISHED: dict[str, Callable[[Path, int, str], Row]] = {"u.item": _flagged, "movies.dat": _double_colon}
