"""The layout of the NCF paper: train and test rows, and for each test row the negatives it is ranked among."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from neucf.data.columns import as_ids
from neucf.data.filtering import among
from neucf.data.grouped import NEITHER, TEST, TRAIN, Loaded, read_grouped, to_columns
from neucf.data.splits import Candidates
from neucf.data.text import text_of
from neucf.data.text_file import TextFile
from neucf.data.titles import SCHEMA, read_items
from neucf.data.vocabulary import indices_of
from neucf.errors import DataError

Keys = npt.NDArray[np.int64]


def load_ncf(folder: Path, prefix: str = "*") -> Loaded:
    """Reads PREFIX.train.rating or .train.users, PREFIX.test.rating, and PREFIX.test.negative if it is there.

    `PREFIX.chrono.users`, each user's whole history in order of time, gives all rows where it is there, with the
    position in the history as time. `item_map.csv` (item, movie) and `movies.dat` give the catalogue and its titles.

    Raises:
        DataError: If a file is absent, stands twice or breaks a rule, or the files contradict each other.
    """
    train_path = _find(folder, f"{prefix}.train.rating") or _need(folder, f"{prefix}.train.users")
    test_path = _need(folder, f"{prefix}.test.rating")
    negative_path = _find(folder, f"{prefix}.test.negative")
    chrono_path = _find(folder, f"{prefix}.chrono.users")

    train = _rated(train_path) if train_path.suffix == ".rating" else read_grouped(train_path)[0]
    test = _rated(test_path)
    if chrono_path is not None:
        rows = read_grouped(chrono_path)[0].with_columns(pl.int_range(pl.len()).over("user").alias("time"))
    else:
        shared = [column for column in train.columns if column in test.columns]
        rows = pl.concat([train.select(shared), test.select(shared)])
    lists = None if negative_path is None else _negative_lines(negative_path)
    items = _mapped_items(folder)

    appearances = [rows["item"], train["item"], test["item"]]
    if items is not None:
        appearances.insert(0, items["item_id"])
    if lists is not None:
        appearances.append(lists["negatives"].explode().drop_nulls())
    users = pl.concat([rows["user"], train["user"], test["user"]])
    columns = to_columns(rows, users, pl.concat(appearances))

    row_keys = columns.users.astype(np.int64) * len(columns.item_ids) + columns.items
    parts = np.full(len(rows), NEITHER, np.int8)
    # Test comes last: a pair that stands in both is not trained on.
    for part, pairs, path in ((TRAIN, train, train_path), (TEST, test, test_path)):
        pair_keys = _keys(pairs, columns.user_ids, columns.item_ids)
        absent = ~among(pair_keys, row_keys)
        if absent.any():
            user, item = pairs.row(int(absent.argmax()))[:2]
            raise DataError(f"{path}: each pair must stand in {chrono_path}; user {user}, item {item} does not.")
        parts[among(row_keys, pair_keys)] = part
    if lists is None or negative_path is None:
        return Loaded(columns, items, parts)

    unknown = ~among(_keys(lists, columns.user_ids, columns.item_ids), row_keys[parts == TEST])
    if unknown.any():
        place = f"{negative_path}, row {lists['row'][int(unknown.argmax())]}"
        raise DataError(f"{place}: the pair that begins a line must be a row of {test_path}; it is not.")
    positives = indices_of(lists["item"], columns.item_ids)
    candidates = Candidates(indices_of(lists["user"], columns.user_ids), positives, _padded(lists, columns.item_ids))
    return Loaded(columns, items, parts, *_without_positives(candidates, row_keys, len(columns.item_ids)))


def _find(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds several data sets ({names}); give the train file of one, with the format ncf.")
    return found[0] if found else None


def _need(folder: Path, pattern: str) -> Path:
    found = _find(folder, pattern)
    if found is None:
        raise DataError(f"{folder} must hold a file {pattern}; it does not.")
    return found


def _rated(path: Path) -> pl.DataFrame:
    """Reads `user item [rating [time]]` rows; the rating plays no part in the paper's protocol."""
    table = TextFile(path, sep="\t", header=False)
    if len(table.columns) < 2:
        raise DataError(f"{path}, row 1: a row must hold user and item, separated by a tab; got one field.")
    user, item, *rest = table.take(table.columns)
    ids = {"user": as_ids(user, "user", table), "item": as_ids(item, "item", table)}
    frame = pl.DataFrame(ids).cast(pl.String)
    times = rest[1].cast(pl.Int64, strict=False) if len(rest) > 1 else None
    return frame if times is None or times.has_nulls() else frame.with_columns(times.alias("time"))


def _negative_lines(path: Path) -> pl.DataFrame:
    """Reads lines of `(user,item)` and negatives, separated by tabs: row, user, item, negatives."""
    lines = pl.DataFrame({"line": text_of(path).split("\n")}).with_row_index("row", offset=1)
    words = pl.col("line").str.extract_all(r"[^\t\r]+")
    pair = pl.col("words").list.first().str.extract_groups(r"^\(([^,\s]+),([^,\s]+)\)$")
    parsed = (
        lines.filter(pl.col("line").str.strip_chars() != "")
        .with_columns(words.alias("words"))
        .select(
            "row",
            pair.struct.field("1").alias("user"),
            pair.struct.field("2").alias("item"),
            pl.col("words").list.slice(1).alias("negatives"),
        )
    )
    wrong = parsed.filter(pl.col("item").is_null() | (pl.col("negatives").list.len() == 0))
    if len(wrong):
        raise DataError(f"{path}, row {wrong['row'][0]}: a line must be (user,item) and negatives, separated by tabs.")
    return parsed


def _mapped_items(folder: Path) -> pl.DataFrame | None:
    path = folder / "item_map.csv"
    if not path.is_file():
        return None
    table = TextFile(path, header=True)
    if len(table.columns) != 2:
        raise DataError(f"{path} must have two columns, item and movie; got {len(table.columns)}.")
    item, movie = table.take(table.columns)
    ids = {"item_id": as_ids(item, "item", table), "movie": as_ids(movie, "movie", table)}
    items = pl.DataFrame(ids).cast(pl.String)
    if items["item_id"].n_unique() < len(items):
        raise DataError(f"{path}: an item must stand once; got {item.filter(item.is_duplicated())[0]!r} twice.")
    path = folder / "movies.dat"
    movies = read_items(path) if path.is_file() else pl.DataFrame(schema=SCHEMA)
    movies = movies.rename({"item_id": "movie"})
    return items.join(movies, on="movie", how="left", maintain_order="left").drop("movie")


def _keys(pairs: pl.DataFrame, user_ids: pl.Series, item_ids: pl.Series) -> Keys:
    users, items = indices_of(pairs["user"], user_ids), indices_of(pairs["item"], item_ids)
    keys: Keys = users.astype(np.int64) * len(item_ids) + items
    return keys


def _padded(lists: pl.DataFrame, item_ids: pl.Series) -> npt.NDArray[np.int32]:
    """Returns the negatives as (L, N) indices, -1 after the end of a list."""
    lengths = lists["negatives"].list.len().to_numpy()
    padded = np.full((len(lists), int(lengths.max())), -1, np.int32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = indices_of(lists["negatives"].explode(), item_ids)
    return padded


def _without_positives(given: Candidates, row_keys: Keys, num_items: int) -> tuple[Candidates, int, int]:
    """Leaves out negatives that are positives of the user or repeated; returns how many of each."""
    lists = given.negatives.astype(np.int64)
    keys = given.users[:, None].astype(np.int64) * num_items + lists
    positive = (lists >= 0) & among(keys.ravel(), row_keys).reshape(keys.shape)
    lists[positive] = -1
    places = lists + 1 + np.arange(len(lists))[:, None] * (num_items + 1)
    repeated = np.ones(lists.shape, bool).ravel()
    repeated[np.unique(places, return_index=True)[1]] = False
    repeated = repeated.reshape(lists.shape) & (lists >= 0)
    lists[repeated] = -1
    order = np.argsort(lists < 0, axis=1, kind="stable")
    negatives = np.take_along_axis(lists, order, axis=1).astype(np.int32)
    return Candidates(given.users, given.positives, negatives), int(positive.sum()), int(repeated.sum())
