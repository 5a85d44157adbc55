"""New items: what nobody has touched, placed among items of the same genres."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_array

from neucf.data.genres import genre_matrix
from neucf.errors import ConfigError
from neucf.models import Model


def place_new_items(model: Model, items: pl.DataFrame | None) -> tuple[Model, npt.NDArray[np.bool_]]:
    """Returns a model that knows the items it was not trained on by their genres, and which these are (I,).

    Such an item gets the mean embedding of the trained items whose genres are most like its own by Jaccard's index:
    those of the very same genres, where there are any. One without genres stays as it is.

    Args:
        model: A fitted model that can place items; it is left as it is.
        items: The genres in index order.

    Raises:
        ConfigError: If no genres are known, or the model cannot place items.
    """
    if items is None:
        raise ConfigError("`new_items` needs items with genres; this model knows none. Train with --items FILE.")
    genres = genre_matrix(items)[0].toarray() > 0
    trained = model.train.item_counts() > 0
    new = ~trained & genres.any(1)
    weights = genre_means(genres[new], genres, trained)
    new[new] = weights.sum(1) > 0
    return model.placed(np.flatnonzero(new), weights[np.diff(weights.indptr) > 0]), new


def genre_means(
    wanted: npt.NDArray[np.bool_], genres: npt.NDArray[np.bool_], trained: npt.NDArray[np.bool_]
) -> csr_array:
    """Returns weights (C, I), each row 1 in all, of the trained items most like each of C sets of genres (C, G)."""
    known = np.flatnonzero(trained)
    shared = wanted.astype(np.float32) @ genres[known].T.astype(np.float32)
    union = wanted.sum(1)[:, None] + genres[known].sum(1)[None, :] - shared
    alike = shared / np.maximum(union, 1)
    best = alike.max(1, initial=0, keepdims=True)
    rows, places = np.nonzero((alike == best) & (best > 0))
    values = (1 / np.bincount(rows, minlength=len(wanted))[rows]).astype(np.float32)
    return csr_array((values, (rows, known[places])), shape=(len(wanted), len(genres)))
