"""Keeps freed memory with the process for an epoch, so that each step does not fault its pages in anew."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# glibc's mallopt: bytes of free heap to give back, bytes from which a block is mapped by itself, how many may be.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP = {_TRIM_THRESHOLD: (1 << 31) - 1, _MMAP_MAX: 0}
# Setting any of them ends glibc's own adjustment of the first two, so they are left where large blocks had taken it.
_AFTER = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 65_536}


@contextmanager
def kept_pages() -> Iterator[None]:
    """Makes glibc hold on to freed memory inside the block; elsewhere does nothing.

    A step over a catalogue makes and drops dozens of matrices of tens of megabytes. Each would be mapped afresh, and
    the kernel's clearing of its pages costs as much as the arithmetic (docs/results.md).
    """
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    for option, value in _KEEP.items():
        mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _AFTER.items():
            mallopt(option, value)
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt() -> Callable[[int, int], int] | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return getattr(library, "mallopt", None) if hasattr(library, "gnu_get_libc_version") else None
