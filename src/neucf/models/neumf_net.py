"""The net of neumf, and its settings."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from neucf.models.config import Tunable
from neucf.models.gmf import GMFNet
from neucf.models.mlp import TOWERS, MLPNet, Tower, Widths, tower_grid
from neucf.models.neural_config import CosineConfig
from neucf.training.catalogue_loss import temperature_for
from neucf.training.nets import (
    EmbeddingTable,
    Net,
    Parts,
    all_rows,
    embedding,
    output_bias,
    raw,
    rows_of,
    uniform,
    unit,
)


class NeuMFConfig(CosineConfig):
    """Settings of neumf."""

    dim: Annotated[int, Tunable(32, 1024, log=True)] = Field(
        256, ge=1, le=4096, description="Length D of a GMF embedding."
    )
    tower: Annotated[Widths, Tunable(choices=TOWERS)] = Field(
        (64, 32, 16), description="MLP input width (both halves together), then hidden ones."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden activations dropped while training.")
    h: Literal["free", "clipped"] = Field("clipped", description="GMF's output weights: learnt, or held within -1..1.")
    lr: float = Field(0.002, gt=0, description="Learning rate.")
    # A cosine moves by the rate over its row's length: short rows let the rate be as low as the tower wants it
    init_std: float = Field(0.01, ge=0, description="Deviation of `init=normal`.")
    reg_mlp: Annotated[float, Tunable(3e-3, 0.3, log=True)] = Field(
        0.1, ge=0, description="L2 strength on the MLP embeddings a step touches."
    )
    reg_weights: Annotated[float, Tunable(1e-6, 1e-2, log=True)] = Field(
        1e-3, ge=0, description="L2 strength on all other weights."
    )
    pretrain: bool = Field(False, description="Whether gmf and mlp of these shapes are trained first and joined.")
    alpha: Annotated[float, Tunable(0.0, 1.0, when=("pretrain", True))] = Field(
        0.5, ge=0, le=1, description="Weight of GMF when pretrained halves are joined."
    )
    gmf: str = Field("", description="Run folder of a trained gmf to start from, together with `mlp`.")
    mlp: str = Field("", description="Run folder of a trained mlp to start from, together with `gmf`.")


class NeuMFNet(Net):
    """logit(u, i) = h . [p_u * q_i; tower([p'_u; q'_i])] + b (He et al. 2017, equation 12).

    By cosines p and q have length 1, and the tower's share is multiplied by the temperature that the loss divides by:
    a product needs it to stand out, a tower learns its own scale.

    Args:
        num_users: U.
        num_items: I.
        config: Shapes, dropout, cosine, L2 strengths and initialisation.
        generator: Draws the initial parameters.
    """

    def __init__(self, num_users: int, num_items: int, config: NeuMFConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.dim, self.reg, self.reg_mlp = config.dim, config.reg, config.reg_mlp
        self.clipped, self.cosine = config.h == "clipped", config.by_cosine
        self.tower_scale = temperature_for(config.temperature, num_items) if self.cosine else 1.0
        half, last = config.tower[0] // 2, config.tower[-1]
        shape = (config.init, config.init_std, generator)
        self.gmf_user_embedding = embedding(num_users, config.dim, *shape, self.cosine)
        self.gmf_item_embedding = embedding(num_items, config.dim, *shape, self.cosine)
        self.mlp_user_embedding = embedding(num_users, half, *shape)
        self.mlp_item_embedding = embedding(num_items, half, *shape)
        self.tower = Tower(config.tower, config.dropout, generator)
        bound = (3.0 / last) ** 0.5
        # (D + D_last,): GMF's weights start at 1, as in gmf
        self.h = nn.Parameter(torch.ones(config.dim + last))
        uniform(self.h.data[config.dim :], bound, generator)
        self.bias = output_bias(config.loss)

    def tables(self) -> list[EmbeddingTable]:
        """Returns the four embedding tables."""
        return [
            EmbeddingTable(self.gmf_user_embedding, "user", self.reg),
            EmbeddingTable(self.gmf_item_embedding, "item", self.reg),
            EmbeddingTable(self.mlp_user_embedding, "user", self.reg_mlp),
            EmbeddingTable(self.mlp_item_embedding, "item", self.reg_mlp),
        ]

    def parts(self) -> Parts | None:
        """Returns the tables, the layers and the joint output weights; None under dropout and for cosines."""
        if self.tower.dropout > 0 or self.cosine:
            return None
        tables = self.tables()
        return Parts(
            product=(tables[0], tables[1]),
            h=self.h,
            tower=(tables[2], tables[3]),
            layers=self.tower.layers(),
            top=self.h,
            bias=self.bias,
        )

    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns p_u (..., D), of any length, and p'_u (..., D')."""
        return raw(self.gmf_user_embedding, users), self.mlp_user_embedding(users)

    def scaled(self, vectors: Tensor) -> Tensor:
        """Returns p (..., D) as it enters logits, GMF's h within it."""
        return (unit(vectors) if self.cosine else vectors) * self.h[: self.dim]

    def tower_h(self) -> Tensor:
        """Returns the tower's h (D_last,) as it enters logits."""
        return self.h[self.dim :] * self.tower_scale

    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of both vectors with items (...)."""
        gmf: Tensor = (self.scaled(vectors[0]) * self.gmf_item_embedding(items)).sum(-1)
        return gmf + self._tower_logits(vectors[1], items)

    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C): a matrix product, and the tower a slice of the items at a time."""
        gmf: Tensor = self.scaled(vectors[0]) @ rows_of(self.gmf_item_embedding, items).T
        return gmf + self._tower_grid(vectors[1], items)

    def product_part(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Returns p, h within it, and q: GMF's part."""
        return self.scaled(raw(self.gmf_user_embedding, users)), all_rows(self.gmf_item_embedding)

    def rest(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns the tower's part."""
        return self._tower_logits(self.mlp_user_embedding(users), items)

    def rest_grid(self, users: Tensor, items: Tensor) -> Tensor:
        """Returns the tower's part, (B, C)."""
        return self._tower_grid(self.mlp_user_embedding(users), items)

    def _tower_logits(self, vectors: Tensor, items: Tensor) -> Tensor:
        first = self.tower.user_half(vectors) + self.tower.item_half(self.mlp_item_embedding, items)
        mlp: Tensor = self.tower(first) @ self.tower_h()
        return mlp + self.bias

    def _tower_grid(self, vectors: Tensor, items: Tensor) -> Tensor:
        return tower_grid(self.tower, self.tower_h(), vectors, self.mlp_item_embedding, items) + self.bias

    def seed_dropout(self, seed: int) -> None:
        """Seeds the tower's dropout."""
        self.tower.seed_dropout(seed)

    @torch.no_grad()
    def after_step(self) -> None:
        """Holds GMF's h within -1..1 where it is clipped."""
        if self.clipped:
            self.h[: self.dim].clamp_(-1.0, 1.0)

    @torch.no_grad()
    def join(self, gmf: GMFNet, mlp: MLPNet, alpha: float) -> None:
        """Takes trained halves: logits become alpha x gmf's + (1 - alpha) x mlp's (He et al. 2017, equation 13).

        The weight falls on the concatenated output weights and on the bias alike. By cosines the tower's share, but not
        the bias, is that times the temperature, as in every logit of this net.
        """
        self.gmf_user_embedding.load_state_dict(gmf.user_embedding.state_dict())
        self.gmf_item_embedding.load_state_dict(gmf.item_embedding.state_dict())
        self.mlp_user_embedding.load_state_dict(mlp.user_embedding.state_dict())
        self.mlp_item_embedding.load_state_dict(mlp.item_embedding.state_dict())
        self.tower.load_state_dict(mlp.tower.state_dict())
        self.h.copy_(torch.cat([alpha * gmf.h, (1 - alpha) * mlp.h]))
        self.bias.copy_(alpha * gmf.bias + (1 - alpha) * mlp.bias)
