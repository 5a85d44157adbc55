"""Matrix factorisation, and BPR-MF, its pairwise preset."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor, nn

from neucf.data.interactions import Interactions
from neucf.models.config import Tunable
from neucf.models.neural import NeuralModel
from neucf.models.neural_config import CosineConfig
from neucf.training.losses import LossName
from neucf.training.nets import EmbeddingTable, Net, Parts, all_rows, embedding, raw, rows_of, unit
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
        self.cosine, self.reg = config.by_cosine, config.reg
        shape = (config.dim, config.init, config.init_std, generator, self.cosine)
        self.user_embedding = embedding(num_users, *shape)
        self.item_embedding = embedding(num_items, *shape)
        self.item_bias = nn.Embedding(num_items, 1, _weight=torch.zeros(num_items, 1)) if config.bias else None

    def tables(self) -> list[EmbeddingTable]:
        """Returns the user table, the item table and, if any, the item bias."""
        tables = [
            EmbeddingTable(self.user_embedding, "user", self.reg),
            EmbeddingTable(self.item_embedding, "item", self.reg),
        ]
        return tables if self.item_bias is None else [*tables, EmbeddingTable(self.item_bias, "item", self.reg)]

    def parts(self) -> Parts | None:
        """Returns the tables; None for cosines, whose lengths depend on whole rows."""
        if self.cosine:
            return None
        users, items, *bias = self.tables()
        return Parts(product=(users, items), item_bias=bias[0] if bias else None)

    def product(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the vectors as they are scaled; an item's bias meets a user's 1."""
        left, right = self.user_embedding(users), all_rows(self.item_embedding)
        if self.item_bias is None:
            return left, right
        return torch.cat([left, torch.ones_like(left[:, :1])], 1), torch.cat([right, self.item_bias.weight], 1)

    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns p_u (..., D), of any length."""
        return (raw(self.user_embedding, users),)

    def scaled(self, vectors: Tensor) -> Tensor:
        """Returns vectors (..., D) as they enter logits: of length 1 where these are cosines."""
        return unit(vectors) if self.cosine else vectors

    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of p (..., D) with items (...)."""
        product: Tensor = (self.scaled(vectors[0]) * self.item_embedding(items)).sum(-1)
        return product if self.item_bias is None else product + self.item_bias(items).squeeze(-1)

    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C) by one matrix product."""
        product = self.scaled(vectors[0]) @ rows_of(self.item_embedding, items).T
        return product if self.item_bias is None else product + self.item_bias(items).squeeze(-1)


class MFConfig(CosineConfig):
    """Settings of mf."""

    bias: bool = Field(False, description="Whether each item has a bias.")


class MF(NeuralModel):
    """Matrix factorisation with any loss."""

    name: ClassVar[str] = "mf"
    config_class: ClassVar[type[MFConfig]] = MFConfig
    config: MFConfig

    def build(self, train: Interactions, generator: torch.Generator) -> MFNet:
        """Returns a fresh net."""
        return MFNet(train.num_users, train.num_items, self.config, generator)

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Returns user factors (U, D), item factors (I, D) and item bias (I,) or None: scores are their products."""
        net = self.net
        assert isinstance(net, MFNet)
        with torch.no_grad():
            users, items = (all_rows(table).cpu().numpy() for table in (net.user_embedding, net.item_embedding))
            bias = None if net.item_bias is None else net.item_bias.weight.squeeze(-1).cpu().numpy()
        return users, items, bias

    def history_factors(self, histories: csr_array) -> NDArray[np.float32]:
        """Returns factors (B, D) of people known by their histories (B, I)."""
        net = self.net
        assert isinstance(net, MFNet)
        scaled: NDArray[np.float32] = net.scaled(self.fold_in(histories)[0]).cpu().numpy()
        return scaled


class BprMFConfig(MFConfig):
    """Settings of bpr-mf: mf with the BPR loss, and defaults chosen for it."""

    dim: Annotated[int, Tunable(32, 512, log=True)] = Field(256, ge=1, le=4096, description="Length D of an embedding.")
    loss: LossName = Field("bpr", description="What training minimises.")
    optimizer: OptimizerName = Field("sgd", description="`adam` moves every row each step, `lazy-adam` those touched.")
    batch_size: int = Field(1, ge=0, description="Positives a step; 1 with `sgd` visits users in blocks, in cache.")
    negatives: Annotated[int, Tunable()] = Field(1, ge=1, le=65_536, description="Negatives N of each positive.")
    # The best on validation was 3 or 4 of 1,682 items, where 8 is 2 % below and 16 a tenth, 8 of 9,742, and 16 or more
    # of 40,981, where 8 is 4 % below; 8 of 3,706 is above 5: docs/results.md.
    hardness: Annotated[int, Tunable(choices=(0, 1, 2, 4, 8, 16, 32))] = Field(
        0,
        ge=0,
        le=1024,
        description="Each negative is the best scored of this many draws; 0 takes 8, and from 10,000 items on 8 times "
        "the root of I / 10,000, at most 32.",
    )
    lr: Annotated[float, Tunable(0.02, 0.3, log=True)] = Field(0.1, gt=0, description="Learning rate.")
    reg: Annotated[float, Tunable(0.002, 0.1, log=True)] = Field(
        0.022, ge=0, description="L2 strength on the embeddings a step touches, before it is scaled by density."
    )
    # The best strength on validation was .06 on ml-100k (4.7 % of all pairs), .03 on ncf-ml-1m (4.5 %) and on the
    # lecture's split (.65 %), and .005 on gowalla (.06 %), and a little too much harms most: docs/results.md.
    reg_power: float = Field(
        0.33,
        ge=0,
        description="Exponent of the density, the percentage of all pairs that interacted, that scales `reg`; 0 "
        "leaves it alone.",
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
    config: BprMFConfig

    def build(self, train: Interactions, generator: torch.Generator) -> MFNet:
        """Returns a fresh net, its L2 penalty scaled."""
        scale = (100 * train.density) ** self.config.reg_power
        scaled = self.config.model_copy(update={"reg": self.config.reg * scale})
        return MFNet(train.num_users, train.num_items, scaled, generator)
