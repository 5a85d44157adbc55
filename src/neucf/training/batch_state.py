"""What the batched engine keeps between steps: Adam's moments, and the arrays that gradients are added up in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.kernels.ncf import Gradients
from neucf.kernels.tower import padded
from neucf.training.nets import EmbeddingTable, Parts

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Moments:
    """Adam's moments of one parameter, shaped as it is."""

    def __init__(self, parameter: Tensor) -> None:
        self.mean = torch.zeros_like(parameter, requires_grad=False)
        self.square = torch.zeros_like(self.mean)


class Buffers:
    """What a batch adds up: gradients and penalty shares, by thread where threads could meet. Zero between steps.

    Users are dealt to threads, so their tables need no copy a thread. A part the net lacks has no columns.
    """

    def __init__(self, parts: Parts, train: Interactions, threads: int) -> None:
        def zeros(*shape: int) -> Floats:
            return np.zeros(shape, np.float32)

        num_users, num_items = train.num_users, train.num_items
        dim = parts.product[0].embedding.embedding_dim if parts.product else 0
        # (L,) the hidden layers' widths, none where there is no tower, and in whole vectors of units
        self.widths: Ints = np.array([len(bias) for _, bias in parts.layers], np.int64)
        wide = np.array([padded(width) for width in self.widths], np.int64)
        width, last = (int(wide[0]), int(wide[-1])) if len(self.widths) else (0, 0)
        # (U, D), (T, I, D) and, for the first tower layer, (S <= U, D1), (T, I, D1)
        self.p, self.q = zeros(num_users, dim), zeros(threads, num_items, dim)
        self.a, self.c = zeros(num_users, width), zeros(threads, num_items, width)
        self.item_bias = zeros(threads, num_items if parts.item_bias else 0)
        self.user_counts, self.item_counts = zeros(1, num_users), zeros(threads, num_items)
        # (T, D), (T, weights of the later layers), (T, their biases), laid out as a Tower's, (T, D_last), (T, 1)
        self.h = zeros(threads, dim)
        self.weights = zeros(threads, int(wide[:-1] @ self.widths[1:]))
        self.biases = zeros(threads, int(wide[1:].sum()))
        self.top, self.bias = zeros(threads, last), zeros(threads, 1)
        half = parts.tower[0].embedding.embedding_dim if parts.tower else 0
        self.tower_user, self.tower_item = zeros(1, num_users, half), zeros(1, num_items, half)

    def of(self, thread: int) -> Gradients:
        """Returns the arrays a thread adds to."""
        return Gradients(
            p=self.p, q=self.q[thread], h=self.h[thread], item_bias=self.item_bias[thread],
            a=self.a, c=self.c[thread], weights=self.weights[thread], biases=self.biases[thread],
            top=self.top[thread], bias=self.bias[thread],
            user_counts=self.user_counts[0], item_counts=self.item_counts[thread],
        )  # fmt: skip

    def of_table(self, parts: Parts, table: EmbeddingTable) -> Floats:
        """Returns a table's gradients (T, R, D)."""
        if parts.product and table.embedding is parts.product[0].embedding:
            return self.p[None]
        if parts.product and table.embedding is parts.product[1].embedding:
            return self.q
        if parts.item_bias and table.embedding is parts.item_bias.embedding:
            return self.item_bias[:, :, None]
        return self.tower_user if table.side == "user" else self.tower_item

    def clear_weights(self) -> None:
        """Zeroes what belongs to no table."""
        for array in (self.h, self.weights, self.biases, self.top, self.bias):
            array.fill(0)
