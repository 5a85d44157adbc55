"""Net: what every neural model's network promises; it never knows which loss trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from neucf.training.losses import LossName

InitName = Literal["normal", "xavier"]


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """An embedding table, what its rows stand for, and its L2 strength.

    Attributes:
        embedding: The table.
        side: `user` or `item`.
        reg: L2 strength on the rows a batch touches.
    """

    embedding: nn.Embedding
    side: Literal["user", "item"]
    reg: float


@dataclass(frozen=True, slots=True)
class Parts:
    """A net of the NCF family taken apart for a compiled engine; what it lacks is None.

    logit(u, i) = h . (p_u * q_i) + b_i + k . tower([p'_u; q'_i]) + b

    Attributes:
        product: The tables of p and q.
        h: The parameter that holds h, from element 0 on; None for ones.
        item_bias: The table of b_i.
        tower: The tables of p' and q'.
        layers: Each tower layer's weight (D_l, D_l-1) and bias (D_l,); the first has 2D' columns.
        top: The parameter that holds k, as its last elements.
        bias: b.
    """

    product: tuple[EmbeddingTable, EmbeddingTable] | None = None
    h: nn.Parameter | None = None
    item_bias: EmbeddingTable | None = None
    tower: tuple[EmbeddingTable, EmbeddingTable] | None = None
    layers: tuple[tuple[nn.Parameter, nn.Parameter], ...] = ()
    top: nn.Parameter | None = None
    bias: nn.Parameter | None = None


class Net(nn.Module, ABC):
    """Users and items to logits, broadcasting.

    A net says how a user becomes vectors, and how vectors meet items. Fold-in optimises a new user's vectors alone.
    """

    @abstractmethod
    def tables(self) -> list[EmbeddingTable]:
        """Returns the embedding tables; all other parameters count as weights."""

    def weights(self) -> list[nn.Parameter]:
        """Returns the trained parameters that belong to no table."""
        tables = {id(table.embedding.weight) for table in self.tables()}
        return [each for each in self.parameters() if each.requires_grad and id(each) not in tables]

    @abstractmethod
    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns the vectors (..., D) that stand for users (...)."""

    @abstractmethod
    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of vectors (..., D) with items (...), broadcast against each other."""

    @abstractmethod
    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C) of vectors (B, D) with each of items (C,), fast."""

    def product(self, users: Tensor) -> tuple[Tensor, Tensor] | None:
        """Returns vectors (B, E) of users (B,) and (I, E) of all items, whose inner products are the logits.

        Up to a constant; None where logits are no such products.
        """
        del users
        return None

    def product_part(self, users: Tensor) -> tuple[Tensor, Tensor] | None:
        """Returns the same of a part of the logits, to which `rest` is added; None where there is no such part."""
        del users
        return None

    def rest(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns what is added to `product_part`, where there is one, for users (...) with items (...)."""
        raise NotImplementedError(f"{type(self).__name__} has no product part")

    def rest_grid(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns the same for users (B,) with each of items (C,), (B, C)."""
        raise NotImplementedError(f"{type(self).__name__} has no product part")

    def parts(self) -> Parts | None:
        """Returns the net taken apart; None where its logit has another form."""
        return None

    def seed_dropout(self, seed: int) -> None:
        """Seeds whatever the net draws while training; nets without dropout draw nothing."""

    def after_step(self) -> None:
        """Called after each optimiser step, for constraints on weights."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns logits of users and items, broadcast against each other."""
        return self.logits(self.user_vectors(users), items)


class _Unit(torch.autograd.Function):
    """x / |x| along the last axis; backward by three passes over memory, where autograd's own takes about ten."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        lengths = vectors.norm(dim=-1, keepdim=True).clamp_(min=1e-12)
        scaled: Tensor = vectors / lengths
        ctx.save_for_backward(scaled, lengths)
        return scaled

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        scaled, lengths = ctx.saved_tensors
        along = torch.linalg.vecdot(upstream[0], scaled).unsqueeze(-1)
        gradients: Tensor = torch.addcmul(upstream[0], scaled, along, value=-1)
        return gradients.div_(lengths)


def unit(vectors: Tensor) -> Tensor:
    """Returns vectors (..., D) at length 1."""
    scaled: Tensor = _Unit.apply(vectors)
    return scaled


class UnitEmbedding(nn.Embedding):
    """A table that gives its rows at length 1, however long they are in `weight`; out of training, scaled but once."""

    _scaled: Tensor | None = None

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, and forgets what was scaled before."""
        self._scaled = None
        return super().train(mode)

    def rows(self) -> Tensor:
        """Returns all rows (I, D)."""
        if self.training:
            return unit(self.weight)
        if self._scaled is None:
            self._scaled = unit(self.weight.detach())
        return self._scaled

    def forward(self, indices: Tensor) -> Tensor:
        """Returns the rows of indices (...)."""
        if self.training:
            return unit(super().forward(indices))
        return functional.embedding(indices, self.rows())


def embedding(
    rows: int, dim: int, init: InitName, std: float, generator: torch.Generator, unit: bool = False
) -> nn.Embedding:
    """Returns a table (rows, D): normal with deviation `std`, or Xavier uniform over (rows, D) as in the lecture.

    With `unit` it gives its rows at length 1.
    """
    bound = (6.0 / (rows + dim)) ** 0.5
    weight = torch.empty(rows, dim)
    if init == "normal":
        filled(weight, lambda table: table.normal_(0.0, std, generator=generator))
    else:
        uniform(weight, bound, generator)
    return (UnitEmbedding if unit else nn.Embedding)(rows, dim, _weight=weight)


def filled(weight: Tensor, fill: Callable[[Tensor], object]) -> Tensor:
    """Returns a new weight, filled; without memory there is nothing to fill, and PyTorch would load its compiler."""
    if not weight.is_meta:
        fill(weight)
    return weight


def uniform(weight: Tensor, bound: float, generator: torch.Generator) -> Tensor:
    """Returns a new weight, filled with draws from -bound..bound."""
    return filled(weight, lambda each: each.uniform_(-bound, bound, generator=generator))


def output_bias(loss: LossName, wanted: bool = True) -> nn.Parameter:
    """Returns the bias of all logits, 0 at first.

    Losses that compare logits have no gradient by it, and Adam would make steps of rounding errors.
    """
    return nn.Parameter(torch.zeros(1), requires_grad=wanted and loss == "bce")


def shapes_of(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the parameters that a net would have, without memory for any."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build().state_dict().items()}


def all_rows(table: nn.Embedding) -> Tensor:
    """Returns the rows of a table (R, D), as it gives them."""
    return table.rows() if isinstance(table, UnitEmbedding) else table.weight


def raw(table: nn.Embedding, indices: Tensor) -> Tensor:
    """Returns the rows of indices (...) at the length they are kept at: what fold-in moves."""
    return functional.embedding(indices, table.weight, sparse=table.sparse)


def rows_of(table: nn.Embedding, items: Tensor) -> Tensor:
    """Returns the rows of a table (..., D); where every row is asked for in order, as they are, without a copy."""
    size = table.num_embeddings
    # In training, what is as it is has a dense gradient
    free = items.device.type == "cpu" and not (table.sparse and table.training)
    if free and items.ndim == 1 and len(items) == size and torch.equal(items, torch.arange(size)):
        return all_rows(table)
    rows: Tensor = table(items)
    return rows
