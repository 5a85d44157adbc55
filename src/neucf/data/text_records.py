"""Records: a separated text walked line by line in plain Python, to say what is wrong with which line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from neucf.errors import DataError


@dataclass(frozen=True, slots=True)
class TextRecords:
    """How the records of a file are written.

    Attributes:
        name: The file's, for errors.
        sep: What separates fields: `::` or one character.
        width: Fields a record.
    """

    name: str
    sep: str
    width: int = 0

    @property
    def quoted(self) -> bool:
        """Whether quotation marks may enclose a field; in other files they belong to the text."""
        return self.sep in ",;"

    def walk(self, text: str, first_line: int = 1) -> Iterator[tuple[int, list[str]]]:
        """Yields the line that a record starts in, and its fields; `first_line` is where `text` starts."""
        lines = io.StringIO(text, newline="\n")
        if len(self.sep) > 1:
            yield from ((number, line.rstrip("\r\n").split(self.sep)) for number, line in enumerate(lines, first_line))
            return
        mark = '"' if self.quoted else None
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE
        reader = csv.reader(lines, delimiter=self.sep, quotechar=mark, quoting=quoting, strict=True)
        started = first_line
        try:
            for fields in reader:
                yield started, fields
                started = reader.line_num + first_line
        except csv.Error as error:
            raise DataError(
                f"{self.name}, row {started}: the row cannot be read: {str(error).partition(' - ')[0]}."
            ) from error

    def checked(self, text: str, first_line: int = 1) -> Iterator[list[str]]:
        """Yields the fields of each record; raises DataError naming the line of one that has too few or too many."""
        for number, fields in self.walk(text, first_line):
            if len(fields) != self.width and not self.is_blank(fields):
                few = "few" if len(fields) < self.width else "many"
                rule = f"a row must have {self.width} fields, as row 1 has"
                raise DataError(f"{self.name}, row {number}: {rule}; got {len(fields)}, too {few}.")
            yield fields

    def is_blank(self, fields: list[str]) -> bool:
        """Whether a record is a blank line."""
        return self.width > 1 and len(fields) <= 1 and not "".join(fields).strip()

    def line_of(self, text: str, record: int) -> int:
        """Returns the line of a record, counted from 0 without blank lines."""
        lines = (line for line, fields in self.walk(text) if not self.is_blank(fields))
        return next(line for index, line in enumerate(lines) if index == record)

    def diagnosis(self, text: str, error: str) -> DataError:
        """Returns what is wrong with a text that polars refused, in its own words where no record can be blamed."""
        try:
            for _ in self.checked(text):
                pass
        except DataError as found:
            return found
        stray = self._stray_quotation_mark(text) if self.quoted else None
        if stray is not None:
            return DataError(
                f"{self.name}, row {stray}: quotation marks must enclose a field, and be doubled inside it."
            )
        return DataError(f"{self.name} cannot be read as text separated by {self.sep!r}: {error}.")

    def _stray_quotation_mark(self, text: str) -> int | None:
        """Returns the line of the first record that is no sequence of plain and of properly quoted fields."""
        position = 0
        field = rf'(?:"(?:[^"]|"")*"|[^"\n{self.sep}]*)'
        record = re.compile(rf"{field}(?:{self.sep}{field})*\r?\n?")
        while position < len(text):
            found = record.match(text, position)
            if found is None or not (found[0].endswith("\n") or found.end() == len(text)):
                return text.count("\n", 0, position) + 1
            position = found.end()
        return None
