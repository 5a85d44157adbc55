"""A separated text file as a table, read block by block.

Polars reads a block the fast way. Only where it refuses, or something about the result could hide a broken row, is the
text walked again in plain Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from neucf.data.encoding import as_integers
from neucf.data.text import blocks_of, text_of
from neucf.data.text_records import TextRecords
from neucf.errors import ConfigError, DataError

_SEPARATORS = ("::", "\t", ",", ";", "|")
# Polars takes separators of one byte; no text holds this one.
_STAND_IN = "\x1f"
# Bytes by which a header line is told.
_SAMPLE = 1 << 16


class TextFile:
    """A separated text file, plain or .gz.

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
        block = next(blocks_of(path))
        self._start = block if len(block) < _SAMPLE else block[:_SAMPLE].rpartition(b"\n")[0]
        first = text_of(path, block.partition(b"\n")[0]).rstrip("\r")
        self.sep = _separator(sep, first)
        fields = [field.strip() for field in next(TextRecords(self.name, self.sep).walk(first), (1, [""]))[1]]
        self.has_header = not all(map(_is_number, fields)) if header is None else header
        positions = map(str, range(1, len(fields) + 1))
        # Spreadsheets leave header cells empty
        self.columns = [
            field if self.has_header and field else place for field, place in zip(fields, positions, strict=True)
        ]
        check_distinct(f"{path}, row 1", self.columns)
        self._records = TextRecords(self.name, self.sep, len(self.columns))
        if self._records.quoted and first.count('"') % 2:
            raise DataError(f"{path}, row 1: quotation marks must come in pairs in the header line; mend it.")

    def looks_headed(self) -> bool:
        """Whether the first line names something that is a number in each of the next hundred rows."""
        records = islice(self._records.walk(text_of(self._path, self._start)), 101)
        first, *rows = (fields for _, fields in records if not self._records.is_blank(fields))
        below = zip(*rows, strict=False)
        return any(
            not _is_number(name) and all(map(_is_number, values)) for name, values in zip(first, below, strict=False)
        )

    def take(self, columns: Sequence[str]) -> Iterator[pl.Series]:
        """Yields the columns as integers where each value is its own decimal, else as categories.

        Texts would take more memory than all that becomes of them.
        """
        kinds = {column: pl.Categorical(pl.Categories.random()) for column in columns}
        taken: dict[str, list[pl.Series]] = {column: [] for column in columns}
        for frame in filter(len, self._frames(columns)):
            for column, parts in taken.items():
                part = as_integers(frame[column])
                parts.append(part if part.dtype == pl.Int64 else part.cast(kinds[column]))
        if not taken[columns[0]]:
            raise DataError(f"{self.name} holds a header and no row; rows are needed.")
        for column in columns:
            parts = taken.pop(column)
            if len({part.dtype for part in parts}) > 1:
                parts = [part.cast(pl.String).cast(kinds[column]) for part in parts]
            yield pl.concat(parts)

    def where(self, row: int) -> str:
        """Names file and line of a data row."""
        return f"{self.name}, row {self._records.line_of(text_of(self._path), row + self.has_header)}"

    def _frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yields columns as texts, block by block."""
        line = 1
        for number, block in enumerate(blocks_of(self._path, quoted=self._records.quoted)):
            rows = block.partition(b"\n")[2] if self.has_header and number == 0 else block
            # Polars takes the width from the first row it sees, so that must not be a blank one.
            rows = rows[_blank_start(rows, self.sep) :]
            if rows:
                skipped = block.count(b"\n", 0, len(block) - len(rows))
                yield self._stripped(self._frame(rows, line + skipped).select(columns), rows, line + skipped)
            line += block.count(b"\n")

    def _frame(self, rows: bytes, line: int) -> pl.DataFrame:
        """Returns all columns of some rows, the first of which is in `line`."""
        separator = self.sep
        if len(separator) > 1:
            rows, separator = rows.replace(separator.encode(), _STAND_IN.encode()), _STAND_IN
        quoted = self._records.quoted and b'"' in rows
        try:
            frame = pl.read_csv(
                rows,
                separator=separator,
                # The names are given, not read: polars would look for them unstripped.
                has_header=False,
                quote_char='"' if quoted else None,
                schema=dict.fromkeys(self.columns, pl.String),
            )
        except pl.exceptions.PolarsError as error:
            raise self._records.diagnosis(text_of(self._path), first_line(error)) from error
        if not self._is_sound(frame, rows, separator, quoted):
            blank = [self._records.is_blank(fields) for fields in self._records.checked(self._text(rows), line)]
            frame = frame.filter(~pl.Series(blank, dtype=pl.Boolean))
        return frame

    def _is_sound(self, frame: pl.DataFrame, rows: bytes, separator: str, quoted: bool) -> bool:
        """Whether every line is a row of the right width; False where only a walk through them can tell."""
        complete = not frame[self.columns[-1]].has_nulls()
        if quoted:
            # A stray quotation mark can join lines, and so can a proper pair around a line break.
            return complete and rows.count(b"\n") + (not rows.endswith(b"\n")) == len(frame)
        # Polars fills a short row with nulls but refuses a long one: with all separators there, no row is short.
        return complete or rows.count(separator.encode()) == len(frame) * (len(self.columns) - 1)

    def _stripped(self, frame: pl.DataFrame, rows: bytes, line: int) -> pl.DataFrame:
        """Returns texts without the blanks around them; raises DataError where one hides a quotation mark."""
        if self.sep == " " or b" " not in rows:
            return frame
        bare = frame.with_columns(pl.all().str.strip_chars(" "))
        if self._records.quoted and re.search(rb'(?:^|[\n,;]) +"', rows):
            hidden = pl.any_horizontal(
                pl.col(column).str.starts_with('"') & (pl.col(column) != frame[column]) for column in frame.columns
            )
            places = bare.select(hidden.fill_null(False).arg_true()).to_series()
            if len(places):
                row = line - 1 + self._records.line_of(self._text(rows), int(places[0]))
                rule = "a quotation mark must follow the separator at once"
                raise DataError(f"{self.name}, row {row}: {rule}; remove the blank between.")
        return bare

    def _text(self, rows: bytes) -> str:
        return text_of(self._path, rows).replace(_STAND_IN, self.sep)


def _separator(sep: str | None, first: str) -> str:
    if sep is None:
        likely = max(_SEPARATORS, key=first.count)
        return likely if likely in first else " " if " " in first else ","
    sep = {"\\t": "\t", "tab": "\t"}.get(sep, sep)
    if sep != "::" and (len(sep) != 1 or not sep.isascii() or sep in '"\r\n'):
        raise ConfigError(f"`sep` must be `::`, `\\t` or one other ASCII character; got {sep!r}.")
    return sep


def _blank_start(rows: bytes, sep: str) -> int:
    """Returns where the first line that is not blank begins; separators alone are a row."""
    blanks = "".join(blank for blank in " \t\r" if blank != sep).encode()
    found = re.compile(rb"(?:[" + blanks + rb"]*\n)*(?:[" + blanks + rb"]*\Z)?").match(rows)
    return found.end() if found else 0


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
