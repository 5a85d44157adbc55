"""Neural matrix factorisation: GMF and MLP joined before the output, from scratch or from both trained first."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import IntArray
from neucf.errors import ConfigError
from neucf.kernels.grid import Factors
from neucf.models.gmf import GMF, GMFNet
from neucf.models.mlp import MLP, MLPNet, tower_factors
from neucf.models.neumf_net import NeuMFConfig, NeuMFNet
from neucf.models.neural import NeuralModel
from neucf.recommender import Monitor
from neucf.training.nets import all_rows


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
