"""genre_matrix: which item is of which genre."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from neucf.data.vocabulary import indices_of


def genre_matrix(items: pl.DataFrame) -> tuple[csr_array, list[str]]:
    """Returns (I, G) float32, 1 where an item is of a genre, and the genres' names by the alphabet.

    Args:
        items: A row an item in index order, with a column `genres` of lists.
    """
    pairs = items.select(pl.col("genres").fill_null([])).with_row_index("item").explode("genres").drop_nulls().unique()
    names = pairs["genres"].unique().sort()
    places = pairs["item"].to_numpy(), indices_of(pairs["genres"], names)
    return csr_array((np.ones(len(pairs), np.float32), places), shape=(len(items), len(names))), names.to_list()
