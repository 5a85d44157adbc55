"""Neural matrix factorisation: GMF and MLP joined before the output, from scratch or from both trained first."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError
from neucf.kernels.grid import Factors
from neucf.models.config import Tunable
from neucf.models.gmf import GMF, GMFNet
from neucf.models.mlp import MLP, TOWERS, MLPNet, Tower, Widths, tower_factors, tower_grid
from neucf.models.neural import NeuralModel
from neucf.models.neural_config import CosineConfig
from neucf.recommender import Monitor
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


class NeuMF(NeuralModel):
    """NeuMF (He et al. 2017): GMF and MLP joined.

    Attributes:
        halves: A fitted gmf and mlp to start from; set before `fit`, or trained by it where `pretrain` is true.
    """

    name: ClassVar[str] = "neumf"
    config_class: ClassVar[type[NeuMFConfig]] = NeuMFConfig
    config: NeuMFConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.halves: tuple[GMF, MLP] | None = None
        self._joined: tuple[GMF, MLP] | None = None
        self._stop_halves_at: tuple[int, ...] = ()

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
        """Trains; where `pretrain` is true, gmf and mlp come first, by their own defaults, these shapes, gmf's loss."""
        self._joined = self.halves
        if self.config.pretrain and self.halves is None:
            gmf = GMF(dim=self.config.dim, loss=self.config.loss, cosine=self.config.cosine)
            mlp = MLP(tower=self.config.tower)
            for half, epoch in zip((gmf, mlp), self._stop_halves_at, strict=False):
                half.stop_at((epoch,))
            for half in (gmf, mlp):
                half.valid_history = self.valid_history
                half.fit(train, valid, seed=seed, device=device, threads=threads)
            self._joined = (gmf, mlp)
        self._check_halves(train)
        return super().fit(train, valid, seed=seed, device=device, threads=threads, monitor=monitor)

    @property
    def best_epochs(self) -> tuple[int, ...]:
        """The epoch whose weights were kept, then those of both halves where `pretrain` trained them."""
        halves = self._joined or () if self.config.pretrain else ()
        return super().best_epochs + tuple(epoch for half in halves for epoch in half.best_epochs)

    def stop_at(self, best_epochs: tuple[int, ...]) -> None:
        """Makes the next fit, and those of its halves, stop at these epochs."""
        super().stop_at(best_epochs[:1])
        self._stop_halves_at = best_epochs[1:]

    def build(self, train: Interactions, generator: torch.Generator) -> NeuMFNet:
        """Returns a fresh net, or the joined halves."""
        net = NeuMFNet(train.num_users, train.num_items, self.config, generator)
        if self._joined is not None:
            gmf, mlp = (half.net for half in self._joined)
            assert isinstance(gmf, GMFNet)
            assert isinstance(mlp, MLPNet)
            net.join(gmf, mlp, self.config.alpha)
        return net

    @property
    def warm_started(self) -> bool:
        """Whether the weights before the first epoch are worth keeping."""
        return self._joined is not None or super().warm_started

    @torch.no_grad()
    def tower_factors(self, users: IntArray) -> Factors:
        """Returns what the scores of users (B,) are made of."""
        net = self.net
        assert isinstance(net, NeuMFNet)
        gmf, mlp = net.user_vectors(self._tensor(users))
        scaled = (net.scaled(gmf), all_rows(net.gmf_item_embedding))
        return tower_factors(net.tower, net.tower_h(), (mlp, net.mlp_item_embedding.weight), scaled, net.bias)

    def _check_halves(self, train: Interactions) -> None:
        if self._joined is None:
            if self.config.gmf or self.config.mlp:
                raise ConfigError("`gmf` and `mlp` name runs to start from; open both and set `halves` before `fit`.")
            return
        gmf, mlp = self._joined
        if gmf.config.dim != self.config.dim:
            raise ConfigError(f"`dim` must be that of the gmf to start from, {gmf.config.dim}; got {self.config.dim}.")
        if mlp.config.tower != self.config.tower:
            raise ConfigError(
                f"`tower` must be that of the mlp to start from, {mlp.config.tower}; got {self.config.tower}."
            )
        if gmf.config.by_cosine != self.config.by_cosine:
            raise ConfigError(
                "`loss` and `cosine` must make products cosines where the gmf to start from does; got "
                f"loss={self.config.loss}, cosine={self.config.cosine} for a gmf of loss={gmf.config.loss}, "
                f"cosine={gmf.config.cosine}. Set them alike."
            )
        for half in self._joined:
            if half.user_ids != train.user_ids or half.item_ids != train.item_ids:
                raise ConfigError(
                    f"The {half.name} to start from must know the same users and items in the same order."
                )
