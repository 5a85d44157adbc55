"""Reading a source while the terminal says so; shared by the commands that take DATA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neucf.cli import display
from neucf.data.catalog import CATALOG, locate
from neucf.data.dataset import Dataset
from neucf.data.readers import read_dataset
from neucf.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl


def read(source: str, **options: Any) -> Dataset:
    """Reads a source as `read_dataset` does."""
    if source in CATALOG:
        # Before anything moves on the terminal: a download shows a bar of its own.
        locate(source)
    with display.busy(f"Reading {source}"):
        return read_dataset(source, **options)


def read_events(url: str) -> pl.DataFrame:
    """Returns all events of a store as rows; `default` is the store of the per-user data folder."""
    try:
        from neucf.serving.events import EventStore
    except ImportError:
        raise ConfigError('`--events` needs SQLAlchemy: install it with `pip install "neucf[serve]"`.') from None
    with display.busy("Reading the events"), EventStore(None if url == "default" else url, create=False) as store:
        return store.frame()
