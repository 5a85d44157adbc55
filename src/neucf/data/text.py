"""Text files: separated columns, plain or gzip, read as text, or one sentence on what is wrong with which line.

Polars reads the fast way; only when it refuses, or something about the result could hide a broken row, is the file
walked again in plain Python to name the offending line.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

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
# Bytes by which a header line is told.
_SAMPLE = 1 << 16


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
        # Most files have no blank beside a separator, and need no look at each field.
        edges = (f"{self.sep} ", f" {self.sep}", "\n ", " \n", " \r\n")
        self._padded = self.sep != " " and any(edge.encode() in self._content for edge in edges)
        fields = [field.strip() for field in next(self._split(first), (1, [""]))[1]]
        self.has_header = not all(map(_is_number, fields)) if header is None else header
        positions = map(str, range(1, len(fields) + 1))
        # Spreadsheets leave header cells empty
        self.columns = [
            field if self.has_header and field else place for field, place in zip(fields, positions, strict=True)
        ]
        check_distinct(f"{path}, row 1", self.columns)
        if self._quoted and first.count('"') % 2:
            raise DataError(f"{path}, row 1: quotation marks must come in pairs in the header line; mend it.")

    def looks_headed(self) -> bool:
        """Whether the first line names something that is a number in each of the next hundred rows."""
        content = self._content or b""
        start = content if len(content) < _SAMPLE else content[:_SAMPLE].rpartition(b"\n")[0]
        records = islice(self._split(text_of(self._path, start)), 101)
        first, *rows = (fields for _, fields in records if not self._is_blank(fields))
        below = zip(*rows, strict=False)
        return any(
            not _is_number(name) and all(map(_is_number, values)) for name, values in zip(first, below, strict=False)
        )

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the columns as texts."""
        frame = self._read()
        if not len(frame):
            raise DataError(f"{self.name} holds a header and no row; rows are needed.")
        for column in columns:
            yield self._stripped(frame[column])
            frame = frame.drop(column)

    def _stripped(self, texts: pl.Series) -> pl.Series:
        """Returns texts without the blanks around them; raises DataError where one hides a quotation mark."""
        if not self._padded:
            return texts
        bare = texts.str.strip_chars()
        hidden = (bare.str.starts_with('"') & (bare != texts)).fill_null(False)
        if self._quoted and hidden.any():
            place = self.where(int(hidden.arg_max() or 0))
            raise DataError(f"{place}: a quotation mark must follow the separator at once; remove the blank between.")
        return bare

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
        # Polars takes the width from the first row it sees, so that must not be a blank one.
        skipped = int(self.has_header) + _blank_lines(content, self.has_header)
        try:
            frame = pl.read_csv(
                content,
                separator=separator,
                # The names are given, not read: polars would look for them unstripped.
                has_header=False,
                skip_rows=skipped,
                quote_char='"' if self._quoted else None,
                schema=dict.fromkeys(self.columns, pl.String),
            )
        except pl.exceptions.NoDataError:
            return pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))
        except pl.exceptions.PolarsError as error:
            raise self._diagnosis(error) from error
        if self._is_sound(frame, content, separator, skipped):
            return frame
        blank = [self._is_blank(fields) for _, fields in self._checked_rows()]
        return frame.filter(~pl.Series(blank[skipped:], dtype=pl.Boolean))

    def _is_sound(self, frame: pl.DataFrame, content: bytes, separator: str, skipped: int) -> bool:
        """Whether every line is a row of the right width; False where only a walk through the file can tell."""
        if self._quoted:
            # A stray quotation mark can join lines, and so can a proper pair around a line break.
            lines = content.count(b"\n") + (not content.endswith(b"\n"))
            return lines == skipped + len(frame) and not frame[self.columns[-1]].has_nulls()
        if not frame[self.columns[-1]].has_nulls():
            return True
        # Polars fills a short row with nulls but refuses a long one: with all separators there, no row is short.
        separators = (len(frame) + self.has_header) * (len(self.columns) - 1)
        return content.count(separator.encode()) == separators

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
            raise DataError(
                f"{self.name}, row {started}: the row cannot be read: {str(error).partition(' - ')[0]}."
            ) from error

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
        stray = self._stray_quotation_mark() if self._quoted else None
        if stray is not None:
            return DataError(
                f"{self.name}, row {stray}: quotation marks must enclose a field, and be doubled inside it."
            )
        return DataError(f"{self.name} cannot be read as text separated by {self.sep!r}: {first_line(error)}.")

    def _stray_quotation_mark(self) -> int | None:
        """Returns the line of the first record that is no sequence of plain and of properly quoted fields."""
        text, position = text_of(self._path), 0
        field = rf'(?:"(?:[^"]|"")*"|[^"\n{self.sep}]*)'
        record = re.compile(rf"{field}(?:{self.sep}{field})*\n?")
        while position < len(text):
            found = record.match(text, position)
            if found is None or not (found[0].endswith("\n") or found.end() == len(text)):
                return text.count("\n", 0, position) + 1
            position = found.end()
        return None


def _separator(sep: str | None, first: str) -> str:
    if sep is None:
        likely = max(_SEPARATORS, key=first.count)
        return likely if likely in first else " " if " " in first else ","
    sep = {"\\t": "\t", "tab": "\t"}.get(sep, sep)
    if sep != "::" and (len(sep) != 1 or not sep.isascii() or sep in '"\r\n'):
        raise ConfigError(f"`sep` must be `::`, `\\t` or one other ASCII character; got {sep!r}.")
    return sep


def _blank_lines(content: bytes, has_header: bool) -> int:
    """Returns how many blank lines stand before the first row."""
    start = content.find(b"\n") + 1 if has_header else 0
    blank = re.compile(rb"(?:[ \t\r]*\n)*").match(content, start)
    return 0 if blank is None else blank[0].count(b"\n")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_distinct(place: str, columns: list[str]) -> None:
    """Raises DataError, beginning with `place`, if two columns have one name."""
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise DataError(f"{place}: column names must be distinct; got {twice!r} twice; rename one.")


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, without the period that ends it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
