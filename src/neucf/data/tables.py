"""Tables: one text file, Parquet file or frame as named columns, or one sentence on what is wrong with it.

Polars reads the fast way; only when it refuses, or a row looks short, is the file walked again in plain Python
to name the offending line. No polars error leaves this module.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import polars as pl

from neucf.errors import ConfigError, DataError

_MAGIC = {
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive or a workbook",
    b"ARROW1": "an Arrow file",
    b"SQLite format": "a SQLite database",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"<!": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML page",
    b"{": "JSON",
}
_SEPARATORS = ("::", "\t", ",", ";", "|")
# Polars takes separators of one byte; no text holds this one.
_STAND_IN = "\x1f"


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
    if path.suffix not in (".parquet", ".pq"):
        return TextFile(path, sep=sep, header=header)
    if sep is not None:
        raise ConfigError(f"`sep` is for text files; got {sep!r} for {path}; leave it out.")
    return ParquetFile(path)


def bytes_of(path: Path) -> bytes:
    """Returns a text file's bytes, decompressed where its name ends in .gz, if they look like text."""
    if not path.is_file():
        raise DataError(f"{path} is a folder where a file is needed." if path.exists() else f"{path} does not exist.")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz" and content:
            content = gzip.decompress(content)
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is not the gzip file its name says ({error}); rename it or fetch it again.") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path} is a truncated or damaged gzip file; fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not content.strip():
        raise DataError(f"{path} is empty; rows are needed.")
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)
    kind = "a binary file" if kind is None and b"\0" in content[:8192] else kind
    if kind is not None:
        raise DataError(f"{path} is not the text file its name says but looks like {kind}; rename or convert it.")
    return content


def text_of(path: Path, content: bytes | None = None) -> str:
    """Returns a text file as UTF-8, without a byte-order mark; raises DataError naming the row that is not."""
    content = bytes_of(path) if content is None else content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row, found = content.count(b"\n", 0, error.start) + 1, content[error.start]
        rule = "the text must be UTF-8"
        raise DataError(f"{path}, row {row}: {rule}; got the byte 0x{found:02x}; save the file as UTF-8.") from error


class TextFile:
    """A separated text file, plain or .gz; every column is read as text.

    Args:
        path: The file.
        sep: One ASCII character or `::`; guessed from the first line where None.
        header: Whether the first line names the columns; where it does not, they are named 1, 2, ... None guesses:
            a first line of numbers alone is no header.

    Raises:
        DataError: If the file breaks a rule.
    """

    def __init__(self, path: Path, *, sep: str | None = None, header: bool | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._content: bytes | None = bytes_of(path)
        first = text_of(path, self._content.partition(b"\n")[0]).rstrip("\r")
        self.sep = _separator(sep, first)
        # Only comma and semicolon files quote; elsewhere a quotation mark belongs to the text.
        self._quoted = self.sep in ",;" and b'"' in self._content
        fields = [field.strip() for field in next(self._split(first), (1, [""]))[1]]
        self.has_header = not all(map(_is_number, fields)) if header is None else header
        self.columns = fields if self.has_header else [str(position + 1) for position in range(len(fields))]
        _check_distinct(f"{path}, row 1", self.columns)

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the columns as texts."""
        frame = self._read()
        if not len(frame):
            raise DataError(f"{self.name} holds a header and no row; rows are needed.")
        for column in columns:
            yield frame[column]
            frame = frame.drop(column)

    def where(self, row: int) -> str:
        """Names file and line of a data row."""
        lines = (line for line, fields in self._split(text_of(self._path)) if not self._is_blank(fields))
        line = next(line for index, line in enumerate(lines) if index == row + self.has_header)
        return f"{self.name}, row {line}"

    def _read(self) -> pl.DataFrame:
        content = bytes_of(self._path) if self._content is None else self._content
        self._content = None
        separator = self.sep
        if len(separator) > 1:
            content, separator = content.replace(separator.encode(), _STAND_IN.encode()), _STAND_IN
        try:
            frame = pl.read_csv(
                content,
                separator=separator,
                has_header=self.has_header,
                quote_char='"' if self._quoted else None,
                schema=dict.fromkeys(self.columns, pl.String),
            )
        except pl.exceptions.PolarsError as error:
            raise self._diagnosis(error) from error
        # Polars fills a short row with nulls but refuses a long one, so the right number of separators clears all rows.
        if not frame[self.columns[-1]].has_nulls():
            return frame
        separators = (len(frame) + self.has_header) * (len(self.columns) - 1)
        if not self._quoted and content.count(separator.encode()) == separators:
            return frame
        blank = [self._is_blank(fields) for _, fields in self._checked_rows()]
        return frame.filter(~pl.Series(blank[self.has_header :], dtype=pl.Boolean))

    def _split(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Yields the line a record starts in, from 1, and its fields."""
        lines = io.StringIO(text, newline="\n")
        if len(self.sep) > 1:
            yield from ((number, line.rstrip("\r\n").split(self.sep)) for number, line in enumerate(lines, 1))
            return
        mark = '"' if self._quoted else None
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self._quoted else csv.QUOTE_NONE
        reader = csv.reader(lines, delimiter=self.sep, quotechar=mark, quoting=quoting, strict=True)
        started = 1
        try:
            for fields in reader:
                yield started, fields
                started = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.name}, row {started}: the row cannot be read: {error}.") from error

    def _checked_rows(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self.columns)
        for number, fields in self._split(text_of(self._path)):
            if len(fields) != width and not self._is_blank(fields):
                few = "few" if len(fields) < width else "many"
                rule = f"a row must have {width} fields, as row 1 has"
                raise DataError(f"{self.name}, row {number}: {rule}; got {len(fields)}, too {few}.")
            yield number, fields

    def _is_blank(self, fields: list[str]) -> bool:
        return len(self.columns) > 1 and len(fields) <= 1 and not "".join(fields).strip()

    def _diagnosis(self, error: Exception) -> DataError:
        try:
            for _ in self._checked_rows():
                pass
        except DataError as found:
            return found
        text = text_of(self._path)
        stray = re.search(rf'[^"\n{self.sep}]"(?!["\r\n{self.sep}])', text) if self._quoted else None
        if stray is not None:
            row = text.count("\n", 0, stray.start()) + 1
            return DataError(f"{self.name}, row {row}: quotation marks must enclose a field, and be doubled inside it.")
        return DataError(f"{self.name} cannot be read as text separated by {self.sep!r}: {_first_line(error)}.")


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
            raise DataError(f"{self.name} is a damaged Parquet file: {_first_line(error)}.") from error


class Frame:
    """A polars, pandas or Arrow frame.

    Args:
        frame: A polars DataFrame or LazyFrame, a pandas DataFrame, or anything with the Arrow stream interface.
    """

    def __init__(self, frame: Any) -> None:
        self.name = "the frame"
        self._pandas = None
        if type(frame).__module__.partition(".")[0] == "pandas":
            self._pandas, self.columns = frame, [str(column) for column in frame.columns]
            _check_distinct(self.name, self.columns)
            return
        try:
            self._frame = frame.lazy() if isinstance(frame, pl.DataFrame | pl.LazyFrame) else pl.DataFrame(frame).lazy()
            self.columns = self._frame.collect_schema().names()
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise DataError(f"the frame cannot be read: {_first_line(error)}.") from error

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the columns in the types they have."""
        for column in columns:
            series = self._column(column)
            if not len(series):
                raise DataError("the frame holds no row; rows are needed.")
            yield series

    def where(self, row: int) -> str:
        """Names the row, from 1."""
        return f"the frame, row {row + 1}"

    def _column(self, column: str) -> pl.Series:
        if self._pandas is None:
            try:
                return self._frame.select(column).collect().to_series()
            except pl.exceptions.PolarsError as error:
                raise DataError(f"the frame cannot be read: {_first_line(error)}.") from error
        values = self._pandas.iloc[:, self.columns.index(column)]
        if getattr(values.dtype, "kind", "O") in "iufbM" and not values.isna().any():
            # Extension types (Int64, timestamps with a zone) give plain arrays where nothing is missing.
            array = values.to_numpy()
            if array.dtype.kind in "iufbM":
                return pl.Series(column, array.astype("datetime64[us]") if array.dtype.kind == "M" else array)
        missing = values.isna().to_numpy()
        texts = [None if absent else str(value) for value, absent in zip(values, missing, strict=True)]
        return pl.Series(column, texts, dtype=pl.String)


def _separator(sep: str | None, first: str) -> str:
    if sep is None:
        likely = max(_SEPARATORS, key=first.count)
        return likely if likely in first else " " if " " in first else ","
    sep = {"\\t": "\t", "tab": "\t"}.get(sep, sep)
    if sep != "::" and (len(sep) != 1 or not sep.isascii() or sep in '"\r\n'):
        raise ConfigError(f"`sep` must be `::`, `\\t` or one other ASCII character; got {sep!r}.")
    return sep


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_distinct(place: str, columns: list[str]) -> None:
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise DataError(f"{place}: column names must be distinct; got {twice!r} twice.")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
