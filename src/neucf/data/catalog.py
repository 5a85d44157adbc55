"""Catalogue: the named data sets, where each comes from, on whose terms, and where its files lie on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import platformdirs
from rich.console import Console

from neucf.data.download import Archive, Report, Source, Wheel, install
from neucf.errors import DataError, DownloadError, closest

DATA_VARIABLE = "NEUCF_DATA"
_MOVIELENS = "GroupLens, for research; not for commercial use or redistribution without permission"


@dataclass(frozen=True, slots=True)
class Entry:
    """A named data set.

    Attributes:
        name: What it is called on the command line.
        about: One line on what it is.
        licence: One line on its terms, shown at the first download.
        layouts: Alternatives of the files a folder must hold; patterns.
        sources: Where to download it, in order; none means local only.
        min_rating: The threshold it is read with unless another is given.
    """

    name: str
    about: str
    licence: str
    layouts: tuple[tuple[str, ...], ...]
    sources: tuple[Source, ...] = ()
    min_rating: float | None = None

    @property
    def local_only(self) -> bool:
        """Whether no download of it is offered."""
        return not self.sources

    @property
    def where_to_put(self) -> str:
        """Says where its files go by hand."""
        files = " or ".join(" and ".join(layout) for layout in self.layouts)
        return f"put {files} in the folder {self.name} of the folder that {DATA_VARIABLE} names"

    def is_in(self, folder: Path) -> bool:
        """Whether a folder holds all files of one of the layouts."""
        return any(all(any(folder.glob(pattern)) for pattern in layout) for layout in self.layouts)


def _grouplens(name: str, sha256: str) -> Archive:
    return Archive(f"https://files.grouplens.org/datasets/movielens/{name}.zip", sha256, prefix=name)


# The SHA-256 of GroupLens' archives are those that public repositories pin; no download here has confirmed them.
# The SHA-256 of recbole's wheel was computed from the file pip downloaded from the package index.
_ENTRIES = (
    Entry(
        "ml-latest-small",
        "MovieLens latest-small (2018): 100,836 ratings, 610 users, 9,742 movies",
        "GroupLens, not for commercial use without permission; may be redistributed under the same terms",
        (("ratings.csv", "movies.csv"),),
        (_grouplens("ml-latest-small", "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"),),
        min_rating=4,
    ),
    Entry(
        "ml-100k",
        "MovieLens 100K (1998): 100,000 ratings, 943 users, 1,682 movies",
        _MOVIELENS,
        (("u.data", "u.item"), ("ml-100k.inter", "ml-100k.item")),
        (
            _grouplens("ml-100k", "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"),
            Wheel(
                "recbole==1.2.1",
                "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                prefix="recbole/dataset_example/ml-100k",
            ),
        ),
    ),
    Entry(
        "ncf-ml-1m",
        "MovieLens 1M as split by the NCF paper: 6,040 users, 3,706 movies, one test item and 99 negatives a user",
        _MOVIELENS,
        (("ml-1m.train.*", "ml-1m.test.rating", "ml-1m.test.negative", "item_map.csv", "movies.dat"),),
    ),
    Entry(
        "gowalla",
        "Gowalla check-ins as split by the NGCF and LightGCN papers: 29,858 users, 40,981 places",
        "terms not stated by the publisher; for research",
        (("train.txt", "test.txt"),),
    ),
    Entry(
        "ml-1m",
        "MovieLens 1M (2003): 1,000,209 ratings, 6,040 users, 3,883 movies",
        _MOVIELENS,
        (("ratings.dat", "movies.dat"),),
        (_grouplens("ml-1m", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"),),
    ),
    Entry(
        "ml-20m",
        "MovieLens 20M (2015): 20,000,263 ratings, 138,493 users, 27,278 movies",
        _MOVIELENS,
        (("ratings.csv", "movies.csv"),),
        (_grouplens("ml-20m", "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3"),),
    ),
    Entry(
        "ml-25m",
        "MovieLens 25M (2019): 25,000,095 ratings, 162,541 users, 62,423 movies",
        _MOVIELENS,
        (("ratings.csv", "movies.csv"),),
        (_grouplens("ml-25m", "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa"),),
    ),
)
CATALOG: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def names() -> list[str]:
    """Returns the names of all data sets."""
    return list(CATALOG)


def cache_folder() -> Path:
    """Returns the folder downloaded sets are kept in."""
    return Path(platformdirs.user_cache_dir("neucf", appauthor=False)) / "data"


def find(name: str) -> Path | None:
    """Returns the folder of a set that is on this machine: in NEUCF_DATA, else in the cache; None where in neither.

    Raises:
        DataError: If the name is unknown, or the set's folder in NEUCF_DATA lacks files.
    """
    entry = _entry(name)
    root = os.environ.get(DATA_VARIABLE)
    if root:
        folder = Path(root).expanduser() / name
        if folder.is_dir():
            if not entry.is_in(folder):
                raise DataError(f"{folder} lacks files of {name}: {entry.where_to_put}.")
            return folder
    cached = cache_folder() / name
    return cached if entry.is_in(cached) else None


def locate(name: str, *, download: bool = True, progress: Report | None = None) -> Path:
    """Returns the folder that holds a set's files: NEUCF_DATA/NAME, the cache, or a fresh download.

    Args:
        name: A name of the catalogue.
        download: Whether a set that is not there may be downloaded.
        progress: Called with the bytes that have come and all there will be; None shows a bar on standard error.

    Raises:
        DataError: If the name is unknown, or the set is not there and no download of it is offered or wanted.
        DownloadError: If it could not be fetched from any of its sources.
    """
    entry, folder = _entry(name), find(name)
    if folder is not None:
        return folder
    if entry.local_only:
        raise DataError(f"{name} is local only, as no download of it could be verified: {entry.where_to_put}.")
    if not download:
        raise DataError(f"{name} is not on this machine: download it, or {entry.where_to_put}.")
    target = cache_folder() / name
    # Only what is complete gets this name, so anything else was altered by hand.
    shutil.rmtree(target, ignore_errors=True)
    if progress is None:
        Console(stderr=True).print(f"downloading {name}; its terms: {entry.licence}", highlight=False, soft_wrap=True)
    reasons = []
    for source in entry.sources:
        try:
            install(source, target, report=progress)
        except DownloadError as error:
            reasons.append(str(error).rstrip("."))
            continue
        if entry.is_in(target):
            return target
        shutil.rmtree(target, ignore_errors=True)
        reasons.append(f"{source.origin} holds no {' and '.join(entry.layouts[0])}")
    raise DownloadError(f"{name} could not be downloaded: {'; '.join(reasons)}; instead {entry.where_to_put}.")


def _entry(name: str) -> Entry:
    if name not in CATALOG:
        near = closest(name, CATALOG)
        hint = f"the nearest is {near}" if near else f"the names are {', '.join(CATALOG)}"
        raise DataError(f"{name!r} is no data set of the catalogue; {hint}.")
    return CATALOG[name]
