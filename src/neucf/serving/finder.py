"""Finder: items by the words of their titles, as one types into a search box."""

from __future__ import annotations

import numpy as np
import polars as pl

from neucf.serving.search import search_titles
from neucf.serving.service import Service

# Letters of a text too short to be taken for a misspelling.
_SHORT = 3


class Finder:
    """Looks through the titles of a service's catalogue.

    Args:
        service: Knows the titles, and by what it was trained on what is popular.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        # (I,)
        self._titles = _searched(service)
        self._counts = service.model.train.item_counts()

    def find(self, text: str, k: int) -> list[int]:
        """Returns up to K items whose titles hold every word of a text, in any case and accents, or else nearly.

        The title that the text is comes first, then those that begin with it, and among equals what is popular. Where
        no titles are known, ids are looked through instead.
        """
        (wanted,) = _folded(pl.Series([text], dtype=pl.String))
        holds = self._titles.is_not_null()
        for word in wanted.split():
            holds &= self._titles.str.contains(word, literal=True)
        found = np.flatnonzero(holds.to_numpy())
        names = self._titles.gather(found)
        begins = names.str.starts_with(wanted).to_numpy()
        exact = names.str.contains(rf"^{pl.escape_regex(wanted.strip())}( \(\d{{4}}\))?$").to_numpy()
        best: list[int] = found[np.lexsort((-self._counts[found], ~begins, ~exact))][:k].tolist()
        if not best and sum(map(str.isalnum, text)) > _SHORT:
            best = [each.item for each in search_titles(self._service.catalogue, text, k)]
        return best


def _searched(service: Service) -> pl.Series:
    """Returns titles with their years, or ids where there are none, (I,), without case and accents."""
    ids = service.model.item_ids.series.cast(pl.String)
    if service.items is None:
        return _folded(ids)
    full = service.items.select(
        pl.when(pl.col("year").is_null())
        .then(pl.col("title"))
        .otherwise(pl.format("{} ({})", pl.col("title"), pl.col("year")))
    ).to_series()
    return _folded(full.fill_null(ids))


def _folded(texts: pl.Series) -> pl.Series:
    return texts.str.normalize("NFKD").str.to_lowercase().str.replace_all(r"\p{Mn}", "")
