"""Reading a source while the terminal says so; shared by the commands that take DATA."""

from __future__ import annotations

from typing import Any

from neucf.cli import display
from neucf.data.catalog import CATALOG, locate
from neucf.data.dataset import Dataset
from neucf.data.readers import read_dataset


def read(source: str, **options: Any) -> Dataset:
    """Reads a source as `read_dataset` does."""
    if source in CATALOG:
        # Before anything moves on the terminal: a download shows a bar of its own.
        locate(source)
    with display.busy(f"Reading {source}"):
        return read_dataset(source, **options)
