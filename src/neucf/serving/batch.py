"""write_recommendations: many users' lists to one file, in bounded memory, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from neucf.artifacts import Run
from neucf.data.vocabulary import Id, IntArray
from neucf.errors import ConfigError
from neucf.models import Model
from neucf.serving.answers import MAX_JSON_INT, json_id
from neucf.serving.filters import EVERYTHING, Filters
from neucf.serving.known import Mask
from neucf.serving.ranking import Wanted
from neucf.serving.service import Service

SUFFIXES = (".parquet", ".csv", ".jsonl")
# Rows of one tile; a tile takes some 100 MB while it is written.
TILE_ROWS = 1 << 20


def write_recommendations(
    source: Model | Run | Service,
    path: str | Path,
    k: int = 10,
    *,
    user_ids: Sequence[Id] | None = None,
    mask: Mask = "default",
    filters: Filters = EVERYTHING,
    diversity: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> int:
    """Writes the best K items of many users: user_id, item_id, rank (from 1), score, fallback.

    Args:
        source: A fitted model, an opened run, or the service of either.
        path: Ends in .parquet, .csv or .jsonl; replaced once the new file is complete.
        k: How many items a user; a user with fewer left gets fewer rows.
        user_ids: The users, in the order of their rows; None for everyone.
        mask: What is never suggested: see Service.
        filters: Which items may be suggested at all.
        diversity: In 0..1: how much each item should differ from those above it.
        progress: Called with users done and users in all.
        threads: Thread count; None for every core.

    Returns:
        The rows written.

    Raises:
        UnknownIdError: At an unknown user; names the nearest.
        ConfigError: If the suffix is another, `path` is no place for a file, or an argument is out of range.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES or path.is_dir():
        raise ConfigError(f"`out` must be a file that ends in {', '.join(SUFFIXES)}; got {str(path)!r}.")
    service = source if isinstance(source, Service) else Service(source)
    wanted = Wanted(k, mask, service.allowed(filters), diversity, threads)
    wanted.check(len(service.model.item_ids))
    vocabulary = service.model.user_ids
    users = np.arange(len(vocabulary), dtype=np.int32) if user_ids is None else vocabulary.indices(user_ids)
    tiles = _tiles(service, users, wanted, progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            whole = Path(folder) / path.name
            num_rows = _write_parquet(tiles, whole) if path.suffix == ".parquet" else _append(tiles, whole)
            os.replace(whole, path)
    except OSError as error:
        raise ConfigError(f"`out` must be writable; {path} is not ({error.strerror}).") from None
    return num_rows


def _tiles(
    service: Service, everyone: IntArray, wanted: Wanted, progress: Callable[[int, int], None] | None
) -> Iterator[pl.DataFrame]:
    """Yields the rows of some users at a time, in their order; at least one frame."""
    step = max(1, TILE_ROWS // wanted.k)
    for start in range(0, max(len(everyone), 1), step):
        users = everyone[start : start + step]
        ranked = service.ranker.users(users, wanted)
        rows, places = np.nonzero(ranked.items >= 0)
        tile = pl.DataFrame(
            {
                "user_id": service.model.user_ids.series.gather(users[rows]),
                "item_id": service.model.item_ids.series.gather(ranked.items[rows, places]),
                "rank": (places + 1).astype(np.int32),
                "score": ranked.scores[rows, places],
                "fallback": ranked.fallback[rows],
            }
        )
        yield tile.with_columns(fallback=pl.when("fallback").then(pl.lit("popularity")))
        if progress:
            progress(len(users) + start, len(everyone))


def _write_parquet(tiles: Iterator[pl.DataFrame], whole: Path) -> int:
    """Writes each tile to a file of its own, then streams them into one."""
    num_rows, files = 0, []
    for number, tile in enumerate(tiles):
        files.append(whole.with_name(f"tile-{number:06d}.parquet"))
        tile.write_parquet(files[-1])
        num_rows += tile.height
    pl.scan_parquet(files).sink_parquet(whole)
    return num_rows


def _append(tiles: Iterator[pl.DataFrame], whole: Path) -> int:
    num_rows = 0
    with open(whole, "wb") as handle:
        for tile in tiles:
            if whole.suffix == ".csv":
                tile.write_csv(handle, include_header=handle.tell() == 0)
            else:
                _write_jsonl(tile, handle)
            num_rows += tile.height
    return num_rows


def _write_jsonl(tile: pl.DataFrame, handle: IO[bytes]) -> None:
    integers = [name for name in ("user_id", "item_id") if tile[name].dtype == pl.Int64]
    if all(tile[name].is_between(-MAX_JSON_INT, MAX_JSON_INT).all() for name in integers):
        tile.write_ndjson(handle)
        return
    for row in tile.iter_rows(named=True):
        line = {**row, "user_id": json_id(row["user_id"]), "item_id": json_id(row["item_id"])}
        handle.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
