"""Text files: their bytes, plain or gzip, whole or in blocks, and one sentence on what is no text."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader
from itertools import chain
from pathlib import Path

from neucf.errors import DataError

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
# Bytes read at a time: enough to keep threads busy, and little beside the columns of a large file.
_BLOCK = 1 << 23


def blocks_of(path: Path, *, quoted: bool = False) -> Iterator[bytes]:
    """Yields a text file's bytes in blocks that end with a line, decompressed where its name ends in .gz.

    Args:
        path: The file.
        quoted: Whether a line break between quotation marks ends no line.

    Raises:
        DataError: If the file cannot be read, is empty or does not look like text.
    """
    reads = _reads(path)
    start = next(reads, b"")
    _check_looks(path, start)
    # What follows the last line that ended, and the quotation marks in it
    pieces: list[bytes] = []
    marks = 0
    for read in chain([start], reads):
        end = read.rfind(b"\n") + 1
        before, after = (read.count(b'"', 0, end), read.count(b'"', end)) if quoted else (0, 0)
        if end and (marks + before) % 2 == 0:
            yield b"".join([*pieces, read[:end]])
            pieces, marks = [read[end:]], after
        else:
            pieces.append(read)
            marks += before + after
    rest = b"".join(pieces)
    if rest:
        yield rest


def bytes_of(path: Path) -> bytes:
    """Returns a text file's bytes, as `blocks_of` has them."""
    return b"".join(blocks_of(path))


def text_of(path: Path, content: bytes | None = None) -> str:
    """Returns a text file as UTF-8, without a byte-order mark; raises DataError naming the row that is not."""
    content = bytes_of(path) if content is None else content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row, found = content.count(b"\n", 0, error.start) + 1, content[error.start]
        rule = "the text must be UTF-8"
        raise DataError(f"{path}, row {row}: {rule}; got the byte 0x{found:02x}; save the file as UTF-8.") from error


def _reads(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        raise DataError(f"{path} is a folder where a file is needed." if path.exists() else f"{path} does not exist.")
    try:
        with _opened(path) as file:
            while read := file.read(_BLOCK):
                yield read
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is not the gzip file its name says ({error}); rename it or fetch it again.") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path} is a truncated or damaged gzip file; fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _check_looks(path: Path, start: bytes) -> None:
    if not start.strip():
        raise DataError(f"{path} is empty; rows are needed.")
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    kind = "a binary file" if kind is None and b"\0" in start[:8192] else kind
    if kind is not None:
        raise DataError(f"{path} is not the text file its name says but looks like {kind}; rename or convert it.")
