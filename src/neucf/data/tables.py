"""Tables: a text file, a Parquet file or a frame as named columns, read when taken. No polars error leaves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from neucf.data.text_file import TextFile, check_distinct, first_line
from neucf.errors import ConfigError, DataError


class Table(Protocol):
    """Named columns of one source, read when taken."""

    name: str
    columns: list[str]

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the distinct `columns` one after the other; the table keeps none of them."""
        ...

    def where(self, row: int) -> str:
        """Names the data row of 0-based index `row`, for an error."""
        ...


def open_table(path: Path, *, sep: str | None = None, header: bool | None = None) -> Table:
    """Opens one file by its name: Parquet, or else separated text."""
    if path.suffix.lower() not in (".parquet", ".pq"):
        return TextFile(path, sep=sep, header=header)
    if sep is not None:
        raise ConfigError(f"`sep` is for text files; got {sep!r} for {path}; leave it out.")
    return ParquetFile(path)


class ParquetFile:
    """A Parquet file; each column is read when taken."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        if not path.is_file():
            raise DataError(f"{path} is a folder where a file is needed." if path.exists() else f"{path} is absent.")
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(max(0, path.stat().st_size - 4))
            end = file.read()
        if not start:
            raise DataError(f"{path} is empty; a Parquet file is needed.")
        if start != b"PAR1":
            raise DataError(f"{path} is not the Parquet file its name says; rename it by what it is, such as .csv.")
        if end != b"PAR1":
            raise DataError(f"{path} is a truncated Parquet file; fetch it again.")
        with self._readable():
            self.columns = list(pl.read_parquet_schema(path))

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the columns in the types they are stored in."""
        for column in columns:
            with self._readable():
                series = pl.read_parquet(self._path, columns=[column]).to_series()
            if not len(series):
                raise DataError(f"{self.name} holds columns and no row; rows are needed.")
            yield series

    def where(self, row: int) -> str:
        """Names file and row, from 1."""
        return f"{self.name}, row {row + 1}"

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{self.name} is a damaged Parquet file: {first_line(error)}.") from error


class Frame:
    """A polars, pandas or Arrow frame.

    Args:
        frame: A polars DataFrame or LazyFrame, a pandas DataFrame, or anything with the Arrow stream interface.
    """

    def __init__(self, frame: Any) -> None:
        self.name = "the frame"
        self._pandas: Any = None
        if type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns"):
            self._pandas, self.columns = frame, [str(column) for column in frame.columns]
            check_distinct(self.name, self.columns)
            return
        try:
            self._frame = frame.lazy() if isinstance(frame, pl.DataFrame | pl.LazyFrame) else pl.DataFrame(frame).lazy()
            self.columns = self._frame.collect_schema().names()
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise DataError(f"the frame cannot be read: {first_line(error)}.") from error

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the columns in the types they have."""
        # All at once: a plan may give its rows in another order each time it is carried out.
        frame = self._collected(columns) if self._pandas is None else None
        for column in columns:
            series = self._from_pandas(column) if frame is None else frame[column]
            if not len(series):
                raise DataError("the frame holds no row; rows are needed.")
            yield series

    def where(self, row: int) -> str:
        """Names the row, from 1."""
        return f"the frame, row {row + 1}"

    def _collected(self, columns: Sequence[str]) -> pl.DataFrame:
        try:
            return self._frame.select(columns).collect()
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the frame cannot be read: {first_line(error)}.") from error

    def _from_pandas(self, column: str) -> pl.Series:
        values = self._pandas.iloc[:, self.columns.index(column)]
        if getattr(values.dtype, "kind", "O") in "iufbM" and not values.isna().any():
            # Extension types (Int64, timestamps with a zone) give plain arrays where nothing is missing.
            array = values.to_numpy()
            if array.dtype.kind in "iufbM":
                return pl.Series(column, array.astype("datetime64[us]") if array.dtype.kind == "M" else array)
        missing = values.isna().to_numpy()
        present = [None if absent else value for value, absent in zip(values, missing, strict=True)]
        kinds = {type(value) for value in present} - {type(None)}
        # Numbers remain such: as texts, ids that gaps made fractions of would be others, '52.0'
        if any(issubclass(kind, Real) and not issubclass(kind, Integral) for kind in kinds):
            if all(issubclass(kind, Real) for kind in kinds):
                return pl.Series(column, [None if value is None else float(value) for value in present], pl.Float64)
            raise DataError(f"the frame: the column {column!r} must not mix fractions with texts; cast it to one kind.")
        others = [kind for kind in kinds if kind is bool or not issubclass(kind, (str, Integral, date, Decimal))]
        if others:
            raise DataError(
                f"the frame: the column {column!r} must hold texts, numbers or times; got {others[0].__name__}."
            )
        return pl.Series(column, [None if value is None else str(value) for value in present], dtype=pl.String)
