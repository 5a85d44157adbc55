"""Keeps freed memory with the process while a model trains, so that each step does not fault its pages in anew."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# glibc's mallopt: bytes of free heap to give back, blocks that may be mapped by themselves; and what both are at first.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULTS = {_TRIM_THRESHOLD: 128 << 10, _MMAP_MAX: 65_536}
_KEEP = {_TRIM_THRESHOLD: (1 << 31) - 1, _MMAP_MAX: 0}


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
        for option, value in _DEFAULTS.items():
            mallopt(option, value)
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt() -> Callable[[int, int], int] | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return getattr(library, "mallopt", None) if hasattr(library, "gnu_get_libc_version") else None
