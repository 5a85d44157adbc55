"""item-knn and user-knn: neighbourhood models, by cosine similarity of weighted columns or rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.sparse import csr_array, vstack

from neucf.data.interactions import Interactions
from neucf.kernels.compile import num_threads, slices, spread
from neucf.kernels.neighbours import mark_best
from neucf.models.base import Arrays
from neucf.models.config import Config, Tunable
from neucf.models.linear import ItemItem, SparseProduct, packed, unpacked
from neucf.recommender import Monitor

# Robertson and Zaragoza 2009, section 3.2: how soon repeats count no more, and how much a long row counts against one.
BM25_K1, BM25_B = 1.2, 0.75
# Bytes that the products of a block of rows may take, all threads together.
_MEMORY = 256 << 20

# Of values whose squares float32 holds with all their bits, summed over any row.
_RANGE = (2.0**-40, 2.0**40)

Vector = npt.NDArray[np.float32]
Weigh = Callable[[csr_array], csr_array]


class NeighboursConfig(Config):
    """Settings of user-knn, and of item-knn where it has none of its own."""

    neighbours: Annotated[int, Tunable(10, 1000, log=True)] = Field(
        100, ge=1, description="Users each user keeps: those most similar."
    )
    weighting: Annotated[Literal["none", "tf-idf", "bm25"], Tunable(choices=("none", "tf-idf", "bm25"))] = Field(
        "tf-idf", description="How rows are weighed before cosines."
    )
    shrinkage: Annotated[float, Tunable(0.0, 100.0)] = Field(
        0.0, ge=0, description="Added to the denominator: similarities of rare items, or short rows, shrink."
    )


class ItemKNNConfig(NeighboursConfig):
    """Settings of item-knn."""

    neighbours: int = Field(200, ge=1, description="Items each item keeps: those most similar.")
    normalize: Annotated[bool, Tunable(choices=(False, True))] = Field(
        False,
        description="Whether scores are an item's mean plus its neighbours' weighted mean deviation from theirs, not "
        "plain sums of similarities.",
    )


class ItemKNN(ItemItem):
    """Item-based nearest neighbours (Sarwar et al. 2001): items like those of the history.

    Normalised, a score is m_i + sum_j s_ij (x_j - m_j) / sum_j s_ij over all neighbours j, where m is an item's mean
    over the training users (Sarwar et al., section 3.2.1; the means as in Koren 2008, equation 3, with no other
    baseline). It keeps items with many close neighbours, or popular ones, from filling every list.
    """

    name: ClassVar[str] = "item-knn"
    config_class: ClassVar[type[ItemKNNConfig]] = ItemKNNConfig
    config: ItemKNNConfig

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        monitor: Monitor | None = None,
    ) -> Self:
        """Finds each item's nearest. `valid`, `seed`, `device` and `monitor` change nothing."""
        del valid, seed, device, monitor
        columns = csr_array(train.csr().T)
        columns = weigher(self.config.weighting, columns)(columns)
        # (I, I), a row for each item j with its neighbours i; a score adds s_ij over the history, so W is its transpose
        similar = most_similar(
            columns, columns, self.config.neighbours, self.config.shrinkage, threads, exclude_self=True
        )
        if not self.config.normalize:
            return self._keep(train, csr_array(similar.T))
        similar.data /= np.repeat(similar.sum(1), np.diff(similar.indptr)).astype(np.float32)
        # (I,) of the interactions as given, whatever the weighting
        means = train.csr().sum(0).astype(np.float32) / np.float32(max(train.num_users, 1))
        # (I + 1, I): the last row is what every history gets
        baseline = csr_array((means - similar @ means)[np.newaxis])
        return self._keep(train, vstack([similar.T, baseline], format="csr"))

    def _rows(self, users: npt.NDArray[np.int64] | None, histories: csr_array | None) -> csr_array:
        """Returns histories, a one after each where scores have a part that every history gets."""
        rows = super()._rows(users, histories)
        if not self.config.normalize:
            return rows
        num_rows, num_items = rows.shape
        ends = rows.indptr[1:]
        columns, values = np.insert(rows.indices, ends, num_items), np.insert(rows.data, ends, 1)
        return csr_array((values, columns, rows.indptr + np.arange(num_rows + 1)), shape=(num_rows, num_items + 1))

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the weights back."""
        shape = (train.num_items + self.config.normalize, train.num_items)
        return self._keep(train, unpacked(self.name, "weights", arrays, shape))


class UserKNN(SparseProduct):
    """User-based nearest neighbours (Resnick et al. 1994): what similar people chose, by their similarity."""

    name: ClassVar[str] = "user-knn"
    config_class: ClassVar[type[NeighboursConfig]] = NeighboursConfig
    config: NeighboursConfig

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
        monitor: Monitor | None = None,
    ) -> Self:
        """Finds each user's nearest. `valid`, `seed`, `device` and `monitor` change nothing."""
        del valid, seed, device, monitor
        self._prepare(train)
        self._similar = self._nearest(self._weighed, threads, exclude_self=True)
        return self

    def _rows(self, users: npt.NDArray[np.int64] | None, histories: csr_array | None) -> csr_array:
        """Returns similarities to training users (B, U), of the nearest only."""
        if histories is None:
            return self._similar[users]
        # One thread: this answers requests, which come on threads of their own.
        return self._nearest(self._weigh(super()._rows(None, histories)), 1)

    def arrays(self) -> Arrays:
        """Returns the similarities by rows."""
        return packed("similarities", self._similar)

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the similarities back."""
        similar = unpacked(self.name, "similarities", arrays, (train.num_users, train.num_users))
        self._prepare(train)
        self._similar = similar
        return self

    def _prepare(self, train: Interactions) -> None:
        self._know(train)
        self._right = self._train_csr
        self._weigh = weigher(self.config.weighting, self._train_csr)
        self._weighed = self._weigh(self._train_csr)

    def _nearest(self, rows: csr_array, threads: int | None, exclude_self: bool = False) -> csr_array:
        return most_similar(rows, self._weighed, self.config.neighbours, self.config.shrinkage, threads, exclude_self)


def weigher(weighting: str, rows: csr_array) -> Weigh:
    """Returns what weighs rows (., C) by the statistics of training rows (R, C): a column in few of them tells more.

    tf-idf: sqrt(x) ln(1 + R / df), df the rows that have the column (Salton and Buckley 1988, with the root of x).
    bm25: x (k1 + 1) / (x + k1 (1 - b + b |row| / mean |row|)) ln(1 + (R - df + .5) / (df + .5))
    (Robertson and Zaragoza 2009, equation 3.15, with the logarithm kept above zero).
    """
    if weighting == "none":
        return lambda matrix: matrix
    num_rows = rows.shape[0]
    frequency = np.bincount(rows.indices, minlength=rows.shape[1])
    if weighting == "tf-idf":
        rarity = np.log1p(num_rows / np.maximum(frequency, 1))
    else:
        rarity = np.log1p((num_rows - frequency + 0.5) / (frequency + 0.5))
    mean_length = rows.data.sum() / max(num_rows, 1)

    def weigh(matrix: csr_array) -> csr_array:
        values = matrix.data.astype(np.float64)
        if weighting == "tf-idf":
            values = np.sqrt(values)
        else:
            lengths = np.repeat(matrix.sum(1) / mean_length, np.diff(matrix.indptr))
            values *= (BM25_K1 + 1) / (values + BM25_K1 * (1 - BM25_B + BM25_B * lengths))
        values *= rarity[matrix.indices]
        return csr_array((values.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)

    return weigh


def most_similar(
    left: csr_array, right: csr_array, num: int, shrinkage: float, threads: int | None, exclude_self: bool = False
) -> csr_array:
    """Returns for each row of left (L, C) its `num` most similar rows of right (R, C), as a matrix (L, R).

    s_ij = <x_i, x_j> / (|x_i| |x_j| + shrinkage). Blocks of rows bound the memory.
    """
    if not shrinkage:
        left, right = in_range(left), in_range(right)
    lengths, others = norms(left), norms(right)
    columns = csr_array(right.T)

    def similarities(rows: slice) -> csr_array:
        block = left[rows] @ columns
        places = np.repeat(np.arange(rows.start, rows.stop), np.diff(block.indptr))
        block.data /= lengths[places] * others[block.indices] + np.float32(shrinkage)
        if exclude_self:
            block.data[places == block.indices] = 0
        return keep_best(block, num)

    return blockwise(similarities, left.shape[0], right.shape[0], threads)


def norms(rows: csr_array) -> Vector:
    """Returns the Euclidean length of each row (R,)."""
    lengths: Vector = np.sqrt(rows.multiply(rows).sum(1)).astype(np.float32)
    return lengths


def in_range(rows: csr_array) -> csr_array:
    """Returns rows, times powers of two if squares of values might not fit in float32: no cosine changes by a bit."""
    if rows.data.min(initial=1) > _RANGE[0] and rows.data.max(initial=1) < _RANGE[1]:
        return rows
    exponents = np.frexp(rows.max(axis=1).toarray())[1]
    data = np.ldexp(rows.data, -np.repeat(exponents, np.diff(rows.indptr)))
    return csr_array((data, rows.indices, rows.indptr), shape=rows.shape)


def blockwise(
    function: Callable[[slice], csr_array], num_rows: int, num_columns: int, threads: int | None
) -> csr_array:
    """Stacks what `function` gives for blocks of rows, small enough that (rows, columns) values fit in memory."""
    count = num_threads(threads)
    step = max(1, min(1024, _MEMORY // (16 * max(num_columns, 1) * count)))
    blocks = spread(function, slices(0, num_rows, step), count)
    return vstack(blocks, format="csr") if blocks else csr_array((0, num_columns), dtype=np.float32)


def keep_best(matrix: csr_array, num: int) -> csr_array:
    """Returns the `num` highest positive values of each row, by column; ties go to lower columns."""
    best = np.empty(matrix.nnz, np.bool_)
    mark_best(matrix.indptr, matrix.indices, matrix.data, num, best)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(best)])[matrix.indptr]
    kept = csr_array((matrix.data[best], matrix.indices[best], ends), shape=matrix.shape)
    kept.sort_indices()
    return kept
