"""What the batched engine holds: a batch, what it reads, and the buffers its threads write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.training.nets import Parts, Table

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch's positives and their negatives.

    Attributes:
        users: (B,).
        user_slots: (B,) each one's place in seen_users.
        seen_users: (S,) the users whose half of the tower is computed.
        items: (B, 1+N) the positive first.
        item_slots: (B, 1+N) each one's place in seen_items.
        seen_items: (S,) likewise; all items where the batch holds more terms than there are items.
        scale: What the loss divides its summed terms by, inverted.
        shares: Of the penalty, for a user, a positive and a negative.
    """

    users: Ints
    user_slots: Ints
    seen_users: Ints
    items: Ints
    item_slots: Ints
    seen_items: Ints | slice
    scale: np.float32
    shares: tuple[np.float32, ...]


@dataclass(frozen=True, slots=True)
class Values:
    """What a batch reads, shapes as in kernels.ncf; top (D_last,) is a leaf of its own."""

    p: Floats
    q: Floats
    h: Floats
    item_bias: Floats
    a: Floats
    c: Floats
    top: Tensor
    bias: np.float32


@dataclass(slots=True)
class Sums:
    """What a thread gathers beside tables: its loss, and gradients of the bias, of top and of the later layers."""

    loss: float = 0.0
    bias: float = 0.0
    weights: list[Tensor] | None = None


class TableAdam:
    """Adam's moments of one table, (R, D) each."""

    def __init__(self, table: Table) -> None:
        self.mean = torch.zeros_like(table.embedding.weight, requires_grad=False)
        self.square = torch.zeros_like(self.mean)


class Buffers:
    """What a batch gathers: gradients and penalty shares, by thread where threads could meet. Zero between steps.

    Users are dealt to threads, so their tables need no copy a thread. A part the net lacks has no columns.
    """

    def __init__(self, parts: Parts, train: Interactions, width: int, threads: int) -> None:
        def zeros(*shape: int) -> Floats:
            return np.zeros(shape, np.float32)

        num_users, num_items = train.num_users, train.num_items
        self.num_items = num_items
        dim = parts.product[0].embedding.embedding_dim if parts.product else 0
        # (U, D), (T, I, D) and, for the first tower layer, (S <= U, D1), (T, I, D1)
        self.p_slopes, self.q_slopes = zeros(num_users, dim), zeros(threads, num_items, dim)
        self.a_slopes, self.c_slopes = zeros(num_users, width), zeros(threads, num_items, width)
        self.item_bias = zeros(threads, num_items if parts.item_bias else 0)
        self.user_counts, self.item_counts = zeros(1, num_users), zeros(threads, num_items)
        self.h = zeros(threads, dim)
        half = parts.tower[0].embedding.embedding_dim if parts.tower else 0
        self.tower_user_slopes, self.tower_item_slopes = zeros(1, num_users, half), zeros(1, num_items, half)

    def of(self, thread: int) -> tuple[Floats, ...]:
        """Returns the buffers a thread writes, in the kernel's order."""
        return (
            self.p_slopes, self.a_slopes, self.user_counts[0], self.q_slopes[thread], self.c_slopes[thread],
            self.item_bias[thread], self.item_counts[thread], self.h[thread],
        )  # fmt: skip

    def slopes_of(self, parts: Parts, table: Table) -> Floats:
        """Returns a table's gradients (T, R, D)."""
        if parts.product and table.embedding is parts.product[0].embedding:
            return self.p_slopes[None]
        if parts.product and table.embedding is parts.product[1].embedding:
            return self.q_slopes
        if parts.item_bias and table.embedding is parts.item_bias.embedding:
            return self.item_bias[:, :, None]
        return self.tower_user_slopes if table.side == "user" else self.tower_item_slopes
