"""Net: what every neural model's network promises; it never knows which loss trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

InitName = Literal["normal", "xavier"]


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding table, what its rows stand for, and its L2 strength.

    Attributes:
        embedding: The table.
        side: `user` or `item`.
        reg: L2 strength on the rows a batch touches.
    """

    embedding: nn.Embedding
    side: Literal["user", "item"]
    reg: float


class Net(nn.Module, ABC):
    """Users and items to logits, broadcasting.

    A net says how a user becomes vectors, and how vectors meet items. Fold-in optimises a new user's vectors alone.
    """

    @abstractmethod
    def tables(self) -> list[Table]:
        """Returns the embedding tables; all other parameters count as weights."""

    @abstractmethod
    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns the vectors (..., D) that stand for users (...)."""

    @abstractmethod
    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of vectors (..., D) with items (...), broadcast against each other."""

    @abstractmethod
    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C) of vectors (B, D) with each of items (C,), fast."""

    def seed_dropout(self, seed: int) -> None:
        """Seeds whatever the net draws while training; nets without dropout draw nothing."""

    def after_step(self) -> None:
        """Called after each optimiser step, for constraints on weights."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns logits of users and items, broadcast against each other."""
        return self.logits(self.user_vectors(users), items)


def embedding(rows: int, dim: int, init: InitName, std: float, generator: torch.Generator) -> nn.Embedding:
    """Returns a table (rows, D): normal with deviation `std`, or Xavier uniform over (rows, D) as in the lecture."""
    weight = torch.empty(rows, dim)
    if init == "normal":
        weight.normal_(0.0, std, generator=generator)
    else:
        bound = (6.0 / (rows + dim)) ** 0.5
        weight.uniform_(-bound, bound, generator=generator)
    return nn.Embedding(rows, dim, _weight=weight)
