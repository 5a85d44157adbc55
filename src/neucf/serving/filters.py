"""Filters: which items may be listed at all, decided before anything is ranked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from neucf.checks import as_integer
from neucf.data.genres import genre_matrix
from neucf.data.vocabulary import Id, Vocabulary
from neucf.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class Filters:
    """What an item must be to be listed; the default lets everything pass.

    Attributes:
        genres: It has one of these, in any case; empty for any.
        year_from: It is of this year or later; one of unknown year is not.
        year_to: It is of this year or earlier; one of unknown year is not.
        allow: External ids of the only items that pass; None for all.
        deny: External ids of items that don't.
    """

    genres: tuple[str, ...] = ()
    year_from: int | None = None
    year_to: int | None = None
    allow: tuple[Id, ...] | None = None
    deny: tuple[Id, ...] = ()

    def __post_init__(self) -> None:
        for name in ("genres", "allow", "deny"):
            given = getattr(self, name)
            if given is None and name == "allow":
                continue
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ConfigError(f"`{name}` must be given in a row; got {given!r}. Write [{given!r}].")
            object.__setattr__(self, name, tuple(given))
        for name in ("year_from", "year_to"):
            year = getattr(self, name)
            if year is not None and as_integer(year) is None:
                raise ConfigError(f"`{name}` must be a year, an integer; got {year!r}. Write 1990, for example.")

    def allowed(self, item_ids: Vocabulary, items: pl.DataFrame | None) -> npt.NDArray[np.bool_] | None:
        """Returns (I,) whether an item passes, or None where all do.

        Args:
            item_ids: The catalogue.
            items: title, year and genres in index order; None where nothing is known.

        Raises:
            ConfigError: If the years are the wrong way round, a genre is no item's, or nothing is known of items.
            UnknownIdError: If `allow` or `deny` holds an unknown id.
        """
        if self == EVERYTHING:
            return None
        passes = np.ones(len(item_ids), np.bool_)
        if self.allow is not None:
            passes[:] = False
            passes[item_ids.indices(self.allow)] = True
        passes[item_ids.indices(self.deny)] = False
        if self.genres:
            passes &= _has_genre(_known(items, "genre", "genres"), self.genres)
        if self.year_from is not None or self.year_to is not None:
            first, last = self.year_from, self.year_to
            if first is not None and last is not None and first > last:
                raise ConfigError(f"`year_from` must not be after `year_to`; got {first} and {last}. Swap them.")
            years = _known(items, "year", "years")["year"].cast(pl.Float64).to_numpy()
            # NaN, an unknown year, passes no comparison
            passes &= (years >= (-np.inf if first is None else first)) & (years <= (np.inf if last is None else last))
        return passes


EVERYTHING = Filters()


def _has_genre(items: pl.DataFrame, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
    matrix, names = genre_matrix(items)
    columns = {name.casefold(): column for column, name in enumerate(names)}
    folded = [str(genre).casefold() for genre in wanted]
    for genre, name in zip(wanted, folded, strict=True):
        if name not in columns:
            hint = did_you_mean(name, names, f"Genres: {', '.join(names) or 'none'}.")
            raise ConfigError(f"`genre` must be a genre of some item; got {genre!r}. {hint}")
    found: npt.NDArray[np.bool_] = matrix[:, [columns[name] for name in folded]].sum(1) > 0
    return found


def _known(items: pl.DataFrame | None, argument: str, what: str) -> pl.DataFrame:
    if items is None:
        raise ConfigError(f"`{argument}` needs items with {what}; this model knows none. Train with --items FILE.")
    return items
