"""item_map: the catalogue as points in the plane, near ones liked by the same people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neucf.errors import ConfigError
from neucf.models import Model

MAX_POINTS = 3000


@dataclass(frozen=True, slots=True)
class ItemMap:
    """Items in the plane.

    Attributes:
        items: (P,) item indices, the most popular first.
        points: (P, 2) in -1..1.
        explained: The share of the vectors' variance that each axis shows; the first shows most.
    """

    items: npt.NDArray[np.int64]
    points: npt.NDArray[np.float64]
    explained: tuple[float, float]


def item_map(model: Model, limit: int = MAX_POINTS) -> ItemMap:
    """Projects the vectors of a model's most popular items onto their two principal axes (Pearson 1901).

    Raises:
        ConfigError: If the model has no item vectors.
    """
    vectors = model.item_embeddings()
    if vectors is None:
        raise ConfigError(
            f"A map needs a model with a vector for each item; {model.name} has none. Use a run of another model."
        )
    counts = model.train.item_counts()
    items = np.argsort(-counts, kind="stable")[:limit]
    centred = vectors[items].astype(np.float64)
    centred -= centred.mean(axis=0, keepdims=True) if len(items) else 0
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    # An axis may point either way; its largest coordinate decides.
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None] if axes.size else 1
    points = np.zeros((len(items), 2))
    points[:, : len(axes)] = centred @ axes.T
    points /= max(float(np.abs(points).max(initial=0)), 1e-30)
    total = float((lengths**2).sum())
    shares = [float(length**2 / total) if total > 0 else 0.0 for length in lengths[:2]] + [0.0, 0.0]
    return ItemMap(items, points, (shares[0], shares[1]))
