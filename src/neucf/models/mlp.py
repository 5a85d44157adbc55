"""The multi-layer perceptron of neural collaborative filtering, and the tower it shares with NeuMF."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor, nn
from torch.nn import functional

from neucf.data.interactions import Interactions
from neucf.data.vocabulary import IntArray
from neucf.kernels.grid import Factors
from neucf.models.config import Tunable
from neucf.models.neural import NeuralModel
from neucf.models.neural_config import NeuralConfig
from neucf.recommender import to_numpy
from neucf.training.nets import EmbeddingTable, Net, Parts, embedding, output_bias, rows_of, uniform

# Floats of hidden activations held at once when a tower meets a whole catalogue: about what the cache holds.
GRID_FLOATS = 1 << 20
MAX_WIDTHS, MAX_WIDTH = 16, 1 << 16


def _widths(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return [int(part) for part in value.replace(",", "-").split("-")]
    except ValueError:
        raise ValueError("must be whole numbers joined by dashes, such as 64-32-16") from None


def _check_widths(widths: tuple[int, ...]) -> tuple[int, ...]:
    if not 2 <= len(widths) <= MAX_WIDTHS or not 1 <= min(widths) <= max(widths) <= MAX_WIDTH or widths[0] % 2:
        raise ValueError(
            f"a tower needs 2 to {MAX_WIDTHS} widths in 1..{MAX_WIDTH}, the first of them even, such as 64-32-16-8"
        )
    return widths


TOWERS = ((32, 16, 8), (64, 32, 16), (128, 64, 32), (256, 64, 32), (512, 128, 64))
Widths = Annotated[tuple[int, ...], BeforeValidator(_widths), AfterValidator(_check_widths)]


class Tower(nn.Module):
    """Hidden layers over [p_u; q_i] (He et al. 2017, equation 10), the first kept in its user and item halves.

    The first layer is linear in its two halves, so each is computed once a user and once an item, then added.

    Args:
        widths: Input width (both halves together), then each hidden layer's.
        dropout: Share of hidden activations dropped while training.
        generator: Draws the initial weights, Xavier uniform.
    """

    def __init__(self, widths: tuple[int, ...], dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.width, self.dropout = widths[0] // 2, dropout
        self.random: torch.Generator | None = None
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(widths):
            bound = (6.0 / (fan_in + fan_out)) ** 0.5
            # (fan_out, fan_in)
            self.weights.append(nn.Parameter(uniform(torch.empty(fan_out, fan_in), bound, generator)))
            self.biases.append(nn.Parameter(torch.zeros(fan_out)))

    def user_half(self, vectors: Tensor) -> Tensor:
        """Returns the first layer's share of user vectors (..., D), its bias included."""
        return functional.linear(vectors, self.weights[0][:, : self.width], self.biases[0])

    def item_half(self, table: nn.Embedding, items: Tensor) -> Tensor:
        """Returns the first layer's share of items (...), by the whole table where that is less work."""
        weight = self.weights[0][:, self.width :]
        if items.numel() > table.num_embeddings and not table.sparse:
            return functional.embedding(items, functional.linear(table.weight, weight))
        return functional.linear(rows_of(table, items), weight)

    def forward(self, first: Tensor) -> Tensor:
        """Returns the last hidden layer (..., D_last) from the summed halves of the first."""
        hidden = self._activate(first)
        for weight, bias in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
            hidden = self._activate(functional.linear(hidden, weight, bias))
        return hidden

    def _activate(self, values: Tensor) -> Tensor:
        hidden = functional.relu(values)
        if self.training and self.dropout > 0:
            keep = torch.empty_like(hidden).bernoulli_(1.0 - self.dropout, generator=self.random)
            hidden = hidden * keep / (1.0 - self.dropout)
        return hidden

    def layers(self) -> tuple[tuple[nn.Parameter, nn.Parameter], ...]:
        """Returns each layer's weight and bias."""
        return tuple(zip(self.weights, self.biases, strict=True))

    def seed_dropout(self, seed: int) -> None:
        """Gives dropout a generator of its own."""
        self.random = torch.Generator(self.biases[0].device).manual_seed(seed)


class MLPConfig(NeuralConfig):
    """Settings of mlp."""

    tower: Annotated[Widths, Tunable(choices=TOWERS)] = Field(
        (128, 64, 32), description="Input width (user and item halves together), then hidden ones."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden activations dropped while training.")
    negatives: int = Field(6, ge=1, le=65_536, description="Negatives N of each positive, or of the batch if shared.")
    lr: float = Field(0.003, gt=0, description="Learning rate.")
    reg: Annotated[float, Tunable(1e-3, 0.1, log=True)] = Field(
        0.012, ge=0, description="L2 strength on the embeddings a step touches."
    )
    reg_weights: Annotated[float, Tunable(1e-6, 1e-2, log=True)] = Field(
        3e-5, ge=0, description="L2 strength on all other weights."
    )
    epochs: int = Field(12, ge=1, description="Horizon of the schedule.")


class MLPNet(Net):
    """logit(u, i) = h . tower([p_u; q_i]) + b (He et al. 2017, equation 10; the sigmoid lives in the loss).

    Args:
        num_users: U.
        num_items: I.
        config: Tower, dropout, L2 strength and initialisation.
        generator: Draws the initial parameters.
    """

    def __init__(self, num_users: int, num_items: int, config: MLPConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.reg = config.reg
        half, last = config.tower[0] // 2, config.tower[-1]
        self.user_embedding = embedding(num_users, half, config.init, config.init_std, generator)
        self.item_embedding = embedding(num_items, half, config.init, config.init_std, generator)
        self.tower = Tower(config.tower, config.dropout, generator)
        bound = (3.0 / last) ** 0.5
        self.h = nn.Parameter(uniform(torch.empty(last), bound, generator))
        self.bias = output_bias(config.loss)

    def tables(self) -> list[EmbeddingTable]:
        """Returns the user table and the item table."""
        return [
            EmbeddingTable(self.user_embedding, "user", self.reg),
            EmbeddingTable(self.item_embedding, "item", self.reg),
        ]

    def parts(self) -> Parts | None:
        """Returns the tables and the layers; None under dropout."""
        if self.tower.dropout > 0:
            return None
        users, items = self.tables()
        return Parts(tower=(users, items), layers=self.tower.layers(), top=self.h, bias=self.bias)

    def user_vectors(self, users: Tensor) -> tuple[Tensor, ...]:
        """Returns p_u (..., D)."""
        return (self.user_embedding(users),)

    def logits(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits of p (..., D) with items (...)."""
        first = self.tower.user_half(vectors[0]) + self.tower.item_half(self.item_embedding, items)
        product: Tensor = self.tower(first) @ self.h
        return product + self.bias

    def grid(self, vectors: tuple[Tensor, ...], items: Tensor) -> Tensor:
        """Returns logits (B, C), a slice of the items at a time."""
        return tower_grid(self.tower, self.h, vectors[0], self.item_embedding, items) + self.bias

    def seed_dropout(self, seed: int) -> None:
        """Seeds the tower's dropout."""
        self.tower.seed_dropout(seed)


def tower_grid(tower: Tower, h: Tensor, vectors: Tensor, table: nn.Embedding, items: Tensor) -> Tensor:
    """Returns h . tower (B, C) of vectors (B, D) with items (C,), hidden layers of a few items at a time only."""
    # (B, D1) and (C, D1): (B, C, D) is never held
    user_half, item_half = tower.user_half(vectors), tower.item_half(table, items)
    step = max(1, GRID_FLOATS // max(user_half.numel(), 1))
    columns = [tower(user_half.unsqueeze(1) + part) @ h for part in item_half.split(step)]
    return torch.cat(columns, dim=1)


def tower_factors(
    tower: Tower, h: Tensor, vectors: tuple[Tensor, Tensor], scaled: tuple[Tensor, Tensor], bias: Tensor
) -> Factors:
    """Returns what scores p . q + h . tower([p'; q']) + b are made of.

    Args:
        tower: The hidden layers.
        h: Output weights (D_last,).
        vectors: p' (B, D') and q' (I, D').
        scaled: p (B, D), output weights within, and q (I, D).
        bias: b (1,).
    """
    users, items = scaled
    return Factors(
        users=to_numpy(users),
        items=to_numpy(items),
        item_bias=to_numpy(bias.expand(len(items))),
        user_half=to_numpy(tower.user_half(vectors[0])),
        item_vectors=to_numpy(vectors[1]),
        first=to_numpy(tower.weights[0][:, tower.width :]),
        layers=tuple((to_numpy(weight), to_numpy(each)) for weight, each in tower.layers()[1:]),
        top=to_numpy(h),
    )


class MLP(NeuralModel):
    """The multi-layer perceptron with any loss."""

    name: ClassVar[str] = "mlp"
    config_class: ClassVar[type[MLPConfig]] = MLPConfig
    config: MLPConfig

    def build(self, train: Interactions, generator: torch.Generator) -> MLPNet:
        """Returns a fresh net."""
        return MLPNet(train.num_users, train.num_items, self.config, generator)

    @torch.no_grad()
    def tower_factors(self, users: IntArray) -> Factors:
        """Returns what the scores of users (B,) are made of."""
        net = self.net
        assert isinstance(net, MLPNet)
        vectors, items = net.user_vectors(self._tensor(users))[0], net.item_embedding.weight
        nothing = (vectors[:, :0], items[:, :0])
        return tower_factors(net.tower, net.h, (vectors, items), nothing, net.bias)
