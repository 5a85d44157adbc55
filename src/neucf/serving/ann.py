"""Ann: candidates from an inverted file instead of a pass over the catalogue, ranked by the model itself.

Faiss cannot open an index file from a stranger safely. What is stored is therefore a safetensors file of cell centres,
and the weights of the model that retrieves where that is another; the index is built from them when a run is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError
from neucf.evaluation.ranking import TopK, top_k
from neucf.models import Model
from neucf.recommender import to_numpy

Floats = npt.NDArray[np.float32]

# Candidates that another model than the one that ranks retrieves: for each place of the list, and at least.
PER_PLACE, MIN_CANDIDATES = 20, 300
# Points a cell k-means learns from, at most, and its rounds.
POINTS_PER_CELL, ROUNDS = 64, 10
# Cells are probed until this share of the exact list is found; recall is measured on so many users.
WANTED_RECALL, SAMPLE = 0.98, 500


@dataclass(frozen=True, slots=True)
class Built:
    """What building an index measured.

    Attributes:
        num_cells: Cells the items fall into.
        probes: Cells looked into for a person.
        recall: The share of the exact best K that is found, by the model that ranks.
        k: K.
        num_users: Users it was measured on.
    """

    num_cells: int
    probes: int
    recall: float
    k: int
    num_users: int


class Ann:
    """An inverted file over the items of a model whose scores are inner products.

    Args:
        retriever: Such a model, fitted.
        centres: (C, D) of the cells; D counts the item bias, if any.
        probes: Cells looked into for a person.
    """

    def __init__(self, retriever: Model, centres: Floats, probes: int) -> None:
        faiss = library()
        self.retriever, self.centres, self.probes = retriever, centres, probes
        vectors = item_vectors(retriever)
        self._quantizer = faiss.IndexFlatIP(vectors.shape[1])
        self._quantizer.add(np.ascontiguousarray(centres))
        self._index = faiss.IndexIVFFlat(self._quantizer, vectors.shape[1], len(centres), faiss.METRIC_INNER_PRODUCT)
        self._index.is_trained = True
        self._index.add(vectors)

    def top_k(
        self, model: Model, users: IntArray | None, k: int, *, histories: csr_array | None = None,
        mask: csr_array | None = None, allowed: npt.NDArray[np.bool_] | None = None, threads: int | None = None,
    ) -> TopK:  # fmt: skip
        """Returns lists as `neucf.evaluation.ranking.top_k`, from candidates; exact where too few are found.

        What is hidden is left out before candidates are counted, so that no list is cut short.
        """
        count = self.num_candidates(model, k)
        hidden = mask if mask is None or histories is not None or users is None else mask[users]
        items = self.candidates(users, histories, count, hidden, allowed)
        asked = np.where(items >= 0, items, 0)
        if histories is None:
            assert users is not None
            scored = model.score(users, asked)
        else:
            scored = model.score_history(histories, asked)
        scores = np.where(items >= 0, to_numpy(scored), -np.inf).astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = TopK(np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1))
        short = np.flatnonzero((best.items < 0).any(1))
        if len(short):
            exact = top_k(
                model, None if users is None else users[short], k,
                histories=None if histories is None else histories[short],
                mask=mask if hidden is None or histories is None else hidden[short], allowed=allowed, threads=threads,
            )  # fmt: skip
            best.items[short], best.scores[short] = exact.items, exact.scores
        return best

    def num_candidates(self, model: Model, k: int) -> int:
        """Returns how many items are found for the model to choose K of."""
        return k if model is self.retriever else min(max(PER_PLACE * k, MIN_CANDIDATES), self._index.ntotal)

    def candidates(
        self, users: IntArray | None, histories: csr_array | None, count: int, hidden: csr_array | None,
        allowed: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.int32]:  # fmt: skip
        """Returns items (B, count), -1 where fewer are found."""
        faiss = library()
        queries = user_vectors(self.retriever, users, histories)
        num_items = self._index.ntotal
        found = np.full((len(queries), count), -1, np.int32)
        for row, query in enumerate(queries):
            may = np.ones(num_items, np.bool_) if allowed is None else allowed.copy()
            if hidden is not None:
                may[hidden.indices[hidden.indptr[row] : hidden.indptr[row + 1]]] = False
            bits = np.packbits(may, bitorder="little")
            selected = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(bits), nprobe=self.probes)
            found[row] = self._index.search(query[None], count, params=selected)[1][0]
        return found


def build(
    model: Model, retriever: Model, *, k: int = 10, probes: int | None = None, seed: int = 0, threads: int | None = None
) -> tuple[Ann, Built]:
    """Clusters the retriever's items, and probes as many cells as the wanted recall takes.

    Args:
        model: What ranks.
        retriever: What finds candidates; the model itself where its scores are inner products.
        k: Recall is that of the best K with the training rows hidden.
        probes: Cells looked into; None for the least power of two that finds 98 % of the retriever's best
            candidates.
        seed: Drives k-means, and which users recall is measured on.
        threads: Of the exact ranking.
    """
    faiss = library()
    vectors = item_vectors(retriever)
    num_cells = max(1, min(round(4 * np.sqrt(len(vectors))), len(vectors) // 8))
    means = faiss.Kmeans(
        vectors.shape[1], num_cells, niter=ROUNDS, seed=seed + 1, max_points_per_centroid=POINTS_PER_CELL,
        min_points_per_centroid=1,
    )  # fmt: skip
    means.train(vectors)
    ann = Ann(retriever, np.array(means.centroids, np.float32), 1)
    trained = np.flatnonzero(model.train.user_counts())
    users = np.sort(np.random.default_rng(seed).permutation(trained)[:SAMPLE])
    if not 1 <= k <= len(vectors):
        raise ConfigError(f"`k` must be in 1..{len(vectors)} (the catalogue); got {k}.")
    if probes is not None and not 1 <= probes <= num_cells:
        raise ConfigError(f"`probes` must be in 1..{num_cells} (the cells); got {probes}.")
    mask = model.train.csr()

    count = ann.num_candidates(model, k)
    exact = top_k(retriever, users, count, mask=mask, threads=threads).items
    ann.probes = probes or 1
    while probes is None and ann.probes < num_cells:
        if overlap(exact, ann.candidates(users, None, count, mask[users], None)) >= WANTED_RECALL:
            break
        ann.probes = min(2 * ann.probes, num_cells)
    best = exact if model is retriever else top_k(model, users, k, mask=mask, threads=threads).items
    recall = overlap(best, ann.top_k(model, users, k, mask=mask, threads=threads).items)
    return ann, Built(num_cells, ann.probes, recall, k, len(users))


def overlap(exact: npt.NDArray[np.int32], near: npt.NDArray[np.int32]) -> float:
    """Returns the mean share of exact lists (B, K) that stands in others (B, C); -1 is no item."""
    shares = [
        np.isin(best[best >= 0], other).mean() for best, other in zip(exact, near, strict=True) if (best >= 0).any()
    ]
    return float(np.mean(shares)) if shares else 1.0


def item_vectors(model: Model) -> Floats:
    """Returns item factors (I, D), the bias as a last column; raises ConfigError unless scores are inner products."""
    _, items, bias = _factors(model)
    return np.ascontiguousarray(items if bias is None else np.column_stack([items, bias]), np.float32)


def user_vectors(model: Model, users: IntArray | None, histories: csr_array | None) -> Floats:
    """Returns factors (B, D) of users, or of people known by their histories (B, I), a 1 last to meet the bias."""
    everyone, _, bias = _factors(model)
    rows = everyone[users] if histories is None else model.history_factors(histories)  # type: ignore[attr-defined]
    ones = np.ones((len(rows), 1), np.float32)
    return np.ascontiguousarray(rows if bias is None else np.column_stack([rows, ones]), np.float32)


def _factors(model: Model) -> tuple[Floats, Floats, Floats | None]:
    if not hasattr(model, "factors") or not hasattr(model, "history_factors"):
        raise ConfigError(
            f"`retriever` must be a model whose scores are inner products, such as mf; got {model.name}. "
            "Build the index with --retriever RUN, a run of mf."
        )
    found: tuple[Floats, Floats, Floats | None] = model.factors()
    return found


def library() -> Any:
    """Returns faiss; raises ConfigError where it is not installed."""
    try:
        import faiss
    except ImportError:
        raise ConfigError("`ann` needs faiss, which is not installed. Run: pip install 'neucf[ann]'.") from None
    return faiss
