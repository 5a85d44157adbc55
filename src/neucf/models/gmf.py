"""Generalised matrix factorisation."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor, nn

from neucf.data.interactions import Interactions
from neucf.models.neural import NeuralModel
from neucf.models.neural_config import CosineConfig
from neucf.training.nets import EmbeddingTable, Net, Parts, all_rows, embedding, output_bias, raw, rows_of, unit


class GMFConfig(CosineConfig):
    """Settings of gmf."""

    h: Literal["ones", "free", "clipped"] = Field(
        "clipped", description="Output weights: fixed at 1, learnt, or learnt and held within -1..1."
    )
    bias: bool = Field(True, description="Whether the output has a bias.")


class GMFNet(Net):
    """logit(u, i) = h . (p_u * q_i) + b (He et al. 2017, equations 8 and 9; the sigmoid lives in the loss).

    With h free it grows, and a penalty on p and q stops binding; clipped, it cannot. By cosines p and q have length 1.

    Args:
        num_users: U.
        num_items: I.
        config: Dimension, h, bias, cosine, L2 strength and initialisation.
        generator: Draws the initial embeddings.
    """

    def __init__(self, num_users: int, num_items: int, config: GMFConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.cosine, self.reg, self.clipped = config.by_cosine, config.reg, config.h == "clipped"
        shape = (config.dim, config.init, config.init_std, generator, self.cosine)
        self.user_embedding = embedding(num_users, *shape)
        self.item_embedding = embedding(num_items, *shape)
        # (D,) and (1,)
        self.h = nn.Parameter(torch.ones(config.dim), requires_grad=config.h != "ones")
        self.bias = output_bias(config.loss, config.bias)

    def tables(self) -> list[EmbeddingTable]:
        """Returns the user table and the item table."""
        return [
            EmbeddingTable(self.user_embedding, "user", self.reg),
            EmbeddingTable(self.item_embedding, "item", self.reg),
        ]

    def parts(self) -> Parts | None:
        """Returns the tables, h and the bias; None for cosines, whose lengths depend on whole rows."""
        if self.cosine:
            return None
        users, items = self.tables()
        return Parts(product=(users, items), h=self.h, bias=self.bias)

    def product(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Returns p, h within it, and q; the bias is the same for every item."""
        return self.user_embedding(users) * self.h, all_rows(self.item_embedding)

    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns p_u (..., D), of any length."""
        return (raw(self.user_embedding, users),)

    def scaled(self, vectors: Tensor) -> Tensor:
        """Returns vectors (..., D) as they enter logits, h within them."""
        return (unit(vectors) if self.cosine else vectors) * self.h

    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of p (..., D) with items (...)."""
        # h meets p first: p is the smaller of the two when a user has several items
        product: Tensor = (self.scaled(vectors[0]) * self.item_embedding(items)).sum(-1)
        return product + self.bias

    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C) by one matrix product."""
        product: Tensor = self.scaled(vectors[0]) @ rows_of(self.item_embedding, items).T
        return product + self.bias

    @torch.no_grad()
    def after_step(self) -> None:
        """Holds h within -1..1 where it is clipped."""
        if self.clipped:
            self.h.clamp_(-1.0, 1.0)


class GMF(NeuralModel):
    """Generalised matrix factorisation with any loss."""

    name: ClassVar[str] = "gmf"
    config_class: ClassVar[type[GMFConfig]] = GMFConfig
    config: GMFConfig

    def build(self, train: Interactions, generator: torch.Generator) -> GMFNet:
        """Returns a fresh net."""
        return GMFNet(train.num_users, train.num_items, self.config, generator)

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns user factors (U, D), h within them, item factors (I, D) and item bias (I,), all alike."""
        net = self.net
        assert isinstance(net, GMFNet)
        with torch.no_grad():
            users = (all_rows(net.user_embedding) * net.h).cpu().numpy()
            items = all_rows(net.item_embedding).cpu().numpy()
            bias = net.bias.expand(len(items)).contiguous().cpu().numpy()
        return users, items, bias

    def history_factors(self, histories: csr_array) -> NDArray[np.float32]:
        """Returns factors (B, D), h within them, of people known by their histories (B, I)."""
        net = self.net
        assert isinstance(net, GMFNet)
        with torch.no_grad():
            scaled: NDArray[np.float32] = net.scaled(self.fold_in(histories)[0]).cpu().numpy()
        return scaled
