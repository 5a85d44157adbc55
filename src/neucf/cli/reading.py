"""Reading a source while the terminal says so; shared by the commands that take DATA."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neucf.cli import display
from neucf.data.catalog import CATALOG, locate
from neucf.data.dataset import Dataset
from neucf.data.readers import read_dataset
from neucf.data.sources import source_name
from neucf.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl


# The options by which commands say how DATA is read.
OPTIONS = (
    "format", "user_col", "item_col", "rating_col", "time_col", "weight_col", "weight", "sep", "min_rating", "k_core",
    "items",
)  # fmt: skip


def read(source: str, **options: Any) -> Dataset:
    """Reads a source as `read_dataset` does."""
    if source in CATALOG:
        # Before anything moves on the terminal: a download shows a bar of its own.
        locate(source)
    with display.busy(f"Reading {source}"):
        return read_dataset(source, **options)


def reading_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of reading among the arguments of a command."""
    return {name: given[name] for name in OPTIONS}


def reading_options(source: str, options: Mapping[str, Any]) -> str:
    """Returns DATA and the options that read it so, as one types them."""
    words = [source]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", f"{value:.15g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def read_events(url: str, source: str) -> pl.DataFrame:
    """Returns all events of a store as rows; `default` is the source's own in the per-user data folder."""
    try:
        from neucf.serving.database import default_url
        from neucf.serving.events import EventStore
    except ImportError:
        raise ConfigError('`--events` needs SQLAlchemy: install it with `pip install "neucf[serve]"`.') from None
    place = default_url(source_name(source)) if url == "default" else url
    with display.busy("Reading the events"), EventStore(place, create=False) as store:
        return store.frame()
