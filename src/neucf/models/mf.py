"""Matrix factorisation, and BPR-MF, its pairwise preset."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from neucf.models.config import Tunable
from neucf.models.neural import NeuralModel
from neucf.models.neural_config import NeuralConfig
from neucf.training.catalogue_loss import TEMPERATURES
from neucf.training.losses import LossName
from neucf.training.nets import Net, Parts, Table, embedding, rows_of
from neucf.training.optimizers import OptimizerName


class MFNet(Net):
    """logit(u, i) = <p_u, q_i> + b_i, the bias by choice (Koren, Bell and Volinsky 2009, equation 1).

    Args:
        num_users: U.
        num_items: I.
        config: Dimension, bias, cosine, L2 strength and initialisation.
        generator: Draws the initial embeddings.
    """

    def __init__(self, num_users: int, num_items: int, config: MFConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.cosine, self.reg = config.cosine and config.loss == "softmax", config.reg
        self._kept: tuple[Tensor, Tensor] | None = None
        self.user_embedding = embedding(num_users, config.dim, config.init, config.init_std, generator)
        self.item_embedding = embedding(num_items, config.dim, config.init, config.init_std, generator)
        self.item_bias = nn.Embedding(num_items, 1, _weight=torch.zeros(num_items, 1)) if config.bias else None

    def train(self, mode: bool = True) -> Self:
        """Sets the mode, and forgets vectors scaled before."""
        self._kept = None
        return super().train(mode)

    def scaled_tables(self) -> tuple[Tensor, Tensor]:
        """Returns the vectors of all users (U, D) and items (I, D) as scaled; out of training, scaled but once."""
        if self._kept is not None:
            return self._kept
        tables = self._scaled(self.user_embedding.weight), self._scaled(self.item_embedding.weight)
        if self.cosine and not self.training:
            self._kept = tables[0].detach(), tables[1].detach()
        return tables

    def tables(self) -> list[Table]:
        """Returns the user table, the item table and, if any, the item bias."""
        tables = [
            Table(self.user_embedding, "user", self.reg),
            Table(self.item_embedding, "item", self.reg),
        ]
        return tables if self.item_bias is None else [*tables, Table(self.item_bias, "item", self.reg)]

    def parts(self) -> Parts | None:
        """Returns the tables; None for cosines, whose lengths depend on whole rows."""
        if self.cosine:
            return None
        users, items, *bias = self.tables()
        return Parts(product=(users, items), item_bias=bias[0] if bias else None)

    def product(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the vectors as they are scaled; an item's bias meets a user's 1."""
        left, right = self._scaled(self.user_embedding(users)), self._scaled(self.item_embedding.weight)
        if self.item_bias is None:
            return left, right
        return torch.cat([left, torch.ones_like(left[:, :1])], 1), torch.cat([right, self.item_bias.weight], 1)

    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns p_u (..., D)."""
        return (self.user_embedding(users),)

    def item_vectors(self, items: Tensor) -> Tensor:
        """Returns q_i (..., D), of length 1 where logits are cosines."""
        if self.cosine and not self.training:
            return rows_of(nn.Embedding.from_pretrained(self.scaled_tables()[1]), items)
        return self._scaled(rows_of(self.item_embedding, items))

    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of p (..., D) with items (...)."""
        product: Tensor = (self._scaled(vectors[0]) * self.item_vectors(items)).sum(-1)
        return product if self.item_bias is None else product + self.item_bias(items).squeeze(-1)

    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C) by one matrix product."""
        product = self._scaled(vectors[0]) @ self.item_vectors(items).T
        return product if self.item_bias is None else product + self.item_bias(items).squeeze(-1)

    def _scaled(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors, dim=-1) if self.cosine else vectors


class MFConfig(NeuralConfig):
    """Settings of mf."""

    dim: Annotated[int, Tunable(32, 1024, log=True)] = Field(
        512, ge=1, le=4096, description="Length D of an embedding."
    )
    bias: bool = Field(False, description="Whether each item has a bias.")
    cosine: Annotated[bool, Tunable(choices=(False, True), when=("loss", "softmax"))] = Field(
        True, description="Whether logits are cosines, with the softmax loss; with others they are products."
    )
    # Of the losses, the softmax over cosines was best on validation on ml-latest-small, ml-100k and gowalla,
    # most of all over the whole catalogue (docs/results.md).
    loss: LossName = Field("softmax", description="What training minimises.")
    temperature: Annotated[float, Tunable(choices=TEMPERATURES, when=("loss", "softmax"))] = Field(
        0.0,
        ge=0,
        description="Divides the logits of the softmax loss; 0 goes by the catalogue's size, 1.66 / I^0.286.",
    )
    lr: Annotated[float, Tunable(5e-4, 0.1, log=True)] = Field(0.02, gt=0, description="Learning rate.")
    epochs: Annotated[int, Tunable(8, 64, log=True)] = Field(16, ge=1, description="Horizon of the schedule.")
    eval_every: int = Field(2, ge=1, description="Epochs between two evaluations on validation.")


class MF(NeuralModel):
    """Matrix factorisation with any loss."""

    name: ClassVar[str] = "mf"
    config_class: ClassVar[type[MFConfig]] = MFConfig
    config: MFConfig

    def build(self, num_users: int, num_items: int, generator: torch.Generator) -> MFNet:
        """Returns a fresh net."""
        return MFNet(num_users, num_items, self.config, generator)

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns user factors (U, D), item factors (I, D) and item bias (I,) or None: scores are their products."""
        net = self.net
        assert isinstance(net, MFNet)
        with torch.no_grad():
            users, items = (table.cpu().numpy() for table in net.scaled_tables())
            bias = None if net.item_bias is None else net.item_bias.weight.squeeze(-1).cpu().numpy()
        return users, items, bias

    def history_factors(self, histories: csr_array) -> NDArray[np.float32]:
        """Returns factors (B, D) of people known by their histories (B, I)."""
        net = self.net
        assert isinstance(net, MFNet)
        scaled: NDArray[np.float32] = net._scaled(self.fold_in(histories)[0]).cpu().numpy()
        return scaled


class BprMFConfig(MFConfig):
    """Settings of bpr-mf: mf with the BPR loss, and defaults chosen for it."""

    dim: Annotated[int, Tunable(32, 512, log=True)] = Field(256, ge=1, le=4096, description="Length D of an embedding.")
    loss: LossName = Field("bpr", description="What training minimises.")
    optimizer: OptimizerName = Field("sgd", description="`adam` moves every row each step, `lazy-adam` those touched.")
    batch_size: int = Field(1, ge=0, description="Positives a step; 1 with `sgd` visits users in blocks, in cache.")
    negatives: Annotated[int, Tunable()] = Field(1, ge=1, le=65_536, description="Negatives N of each positive.")
    hardness: Annotated[int, Tunable(1, 32, log=True)] = Field(
        8, ge=1, le=1024, description="Each negative is the best scored of this many draws."
    )
    lr: Annotated[float, Tunable(0.02, 0.3, log=True)] = Field(0.1, gt=0, description="Learning rate.")
    reg: Annotated[float, Tunable(0.002, 0.1, log=True)] = Field(
        0.02, ge=0, description="L2 strength on the embeddings a step touches."
    )
    init_std: float = Field(0.01, ge=0, description="Deviation of `init=normal`.")
    epochs: Annotated[int, Tunable(40, 320, log=True)] = Field(160, ge=1, description="Horizon of the schedule.")
    eval_every: int = Field(10, ge=1, description="Epochs between two evaluations on validation.")
    # Quality may stall for fifty epochs and rise while the rate falls to 0: on ml-100k, stopping then kept epoch 10 of
    # 160 in half of the fits, at .247 validation nDCG@20 against .271.
    patience: int = Field(0, ge=0, description="Evaluations without a new best before stopping; 0 never stops.")


class BprMF(MF):
    """BPR-MF (Rendle et al. 2009), negatives drawn hard (Zhang et al. 2013, dynamic negative sampling)."""

    name: ClassVar[str] = "bpr-mf"
    config_class: ClassVar[type[BprMFConfig]] = BprMFConfig
