"""Columns: which column of a table is the user, the item, ...; and checked, encoded arrays out of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np
import polars as pl

from neucf.data.arrays import is_weight
from neucf.data.encoding import encode
from neucf.data.tables import Table
from neucf.data.vocabulary import FloatArray, IntArray
from neucf.errors import ConfigError, DataError

# In order of preference; compared without case, underscores, blanks, and the `:token` of RecBole's files.
USUAL_NAMES = {
    role: tuple(names.split())
    for role, names in {
        "user": "userid user uid reviewerid customerid memberid accountid visitorid username",
        "item": "itemid item iid movieid movie productid parentasin asin bookid isbn trackid songid artistid businessid"
        " articleid newsid gameid contentid sku",
        "rating": "rating ratings score stars overall bookrating",
        "time": "timestamp time ts datetime date unixreviewtime createdat eventtime",
        "title": "title movietitle booktitle itemname productname name",
        "year": "year releaseyear yearofpublication",
        "genres": "genres genre class categories category",
    }.items()
}


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The column of each role, as the user names it; None is guessed, and an empty name leaves the column out.

    A column of weights is never guessed: it would change what is learnt unasked.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    weight: str | None = None

    def in_table(self, table: Table) -> dict[str, str]:
        """Returns role -> column of `table`; raises DataError where user or item has none."""
        chosen = {}
        for role in (field.name for field in fields(self)):
            column = getattr(self, role)
            if column is None and role != "weight":
                column = guess(role, table.columns)
            if column and column not in table.columns:
                raise DataError(f"`{role}_col` must be a column of {table.name} ({_listed(table)}); got {column!r}.")
            if column:
                chosen[role] = column
        for role in ("user", "item"):
            if role not in chosen:
                raise DataError(
                    f"{table.name} has no column with a usual {role} name among {_listed(table)}; name it with"
                    f" `{role}_col`, by its position if the file has no header line."
                )
        if chosen["user"] == chosen["item"]:
            raise ConfigError(f"`user_col` and `item_col` must differ; got {chosen['user']!r} for both.")
        return chosen


@dataclass(frozen=True, slots=True)
class Columns:
    """Checked columns of N rows in file order; ids are texts in order of first appearance.

    Attributes:
        users: (N,) int32 index into `user_ids`.
        items: (N,) int32 index into `item_ids`.
        ratings: (N,) float64 or None.
        weights: (N,) float64 or None.
        timestamps: (N,) int64 or None.
        user_ids: (U,) texts.
        item_ids: (I,) texts.
    """

    users: IntArray
    items: IntArray
    ratings: FloatArray | None
    weights: FloatArray | None
    timestamps: IntArray | None
    user_ids: pl.Series
    item_ids: pl.Series


def guess(role: str, columns: list[str]) -> str | None:
    """Returns the column whose name is usual for a role, or None."""
    plain = {re.sub(r"[\s_.-]", "", column.partition(":")[0]).lower(): column for column in reversed(columns)}
    return next((plain[name] for name in USUAL_NAMES[role] if name in plain), None)


def read_columns(table: Table, names: ColumnNames) -> tuple[Columns, dict[str, str]]:
    """Reads and checks the columns of a table, one at a time; returns them and role -> column."""
    chosen = names.in_table(table)
    ids: dict[str, tuple[IntArray, pl.Series]] = {}
    numbers: dict[str, FloatArray] = {}
    timestamps: IntArray | None = None
    distinct = list(dict.fromkeys(chosen.values()))
    for column, series in zip(distinct, table.take(distinct), strict=True):
        for role in (role for role, its in chosen.items() if its == column):
            if role in ("user", "item"):
                ids[role] = encode(as_ids(series, role, table))
            elif role == "time":
                timestamps = _times(_as_text(series), table)
            else:
                numbers[role] = _numbers(_as_text(series), role, table)
    columns = Columns(
        users=ids["user"][0],
        items=ids["item"][0],
        ratings=numbers.get("rating"),
        weights=numbers.get("weight"),
        timestamps=timestamps,
        user_ids=ids["user"][1],
        item_ids=ids["item"][1],
    )
    return columns, chosen


def as_ids(series: pl.Series, role: str, table: Table) -> pl.Series:
    """Returns integers, texts or categories without an empty one; raises DataError naming the row."""
    is_text = isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum)
    if not (series.dtype.is_integer() or is_text):
        rule = f"the {role} column {series.name!r} must hold integers or texts"
        raise DataError(f"{table.name}: {rule}; got {series.dtype}; cast it (missing values make integers floats).")
    empty = series.is_null()
    if is_text:
        empty = empty | series.to_frame().select(pl.first() == "").to_series()
    if empty.any():
        place = table.where(_first(empty))
        raise DataError(f"{place}: the {role} id ({series.name!r}) must not be empty; drop the row or fill it.")
    return series


def _as_text(series: pl.Series) -> pl.Series:
    """Returns a column of categories as the texts they stand for, others as they are."""
    return series.cast(pl.String) if isinstance(series.dtype, pl.Categorical | pl.Enum) else series


def _numbers(series: pl.Series, role: str, table: Table) -> FloatArray:
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null)):
        raise DataError(f"{table.name}: the {role} column {series.name!r} must hold numbers; got {series.dtype}.")
    if series.dtype == pl.Float32:
        # By its shortest decimals, as text has it: a rating of 2.3 is not below a threshold of 2.3
        series = series.cast(pl.String)
    values = series.cast(pl.Float64, strict=False)
    wrong = ~values.is_finite().fill_null(False)
    rule = "a finite number"
    if role == "weight" and not wrong.any():
        wrong = ~pl.Series(is_weight(values.to_numpy()))
        rule = "above 0, in 32 bits too" if (values > 0).all() else "above 0"
    if wrong.any():
        row = _first(wrong)
        instead = "" if role == "weight" else f", or leave the column out with an empty `{role}_col`"
        raise DataError(
            f"{table.where(row)}: the {role} ({series.name!r}) must be {rule}; got {_shown(series[row])}; fix the row"
            f"{instead}."
        )
    return values.to_numpy()


def _times(series: pl.Series, table: Table) -> IntArray:
    """Returns integers as they are, dates as microseconds since 1970, and fractions of a second as microseconds."""
    values = series.cast(pl.Float64) if series.dtype.is_decimal() else series
    if series.dtype == pl.String:
        values = series.cast(pl.Int64, strict=False)
        if values.has_nulls():
            values = series.cast(pl.Float64, strict=False)
        if values[0] is None:
            values = _dates(series)
    if values.dtype in (pl.Date, pl.Datetime):
        values = values.dt.epoch("us")
    elif not values.dtype.is_numeric():
        raise DataError(f"{table.name}: the time column {series.name!r} must hold times; got {series.dtype}.")
    wrong = values.is_null()
    fractions = values.dtype.is_float() and not (values == values.round()).fill_null(True).all()
    if values.dtype.is_float():
        # Fractions become microseconds, in 64 bits
        wrong = wrong | ~(values.abs() < (2.0**63 / 1e6 if fractions else 2.0**53)).fill_null(False)
    else:
        wrong = wrong | values.cast(pl.Int64, strict=False).is_null()
    if wrong.any():
        row = _first(wrong)
        raise DataError(
            f"{table.where(row)}: the time ({series.name!r}) must be a number or an ISO date, all of one kind, or"
            f" leave the column out with an empty `time_col`; got {_shown(series[row])}."
        )
    if fractions:
        values = (values * 1e6).round()
    return values.cast(pl.Int64).to_numpy()


def _dates(series: pl.Series) -> pl.Series:
    # Day or month first, nobody could tell
    year_first = series.set(~series.str.contains(r"^\s*\d{4}[-/]").fill_null(True), None)
    try:
        return year_first.str.to_datetime(strict=False, time_unit="us")
    except pl.exceptions.PolarsError:
        return pl.Series(series.name, [None] * len(series), dtype=pl.Datetime)


def _first(wrong: pl.Series) -> int:
    return int(np.argmax(wrong.to_numpy()))


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)


def _listed(table: Table) -> str:
    shown = table.columns[:8] + ["..."] * (len(table.columns) > 8)
    return ", ".join(shown)
