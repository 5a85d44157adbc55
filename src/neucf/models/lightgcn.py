"""lightgcn: embeddings averaged over the graph of users and items."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError, ConfigError, NotFittedError
from neucf.kernels.compile import num_threads, torch_threads
from neucf.models.base import Arrays
from neucf.models.config import Tunable
from neucf.models.engine_choice import resolve_device
from neucf.models.foldin import fold_in
from neucf.models.mf import MF, MFConfig, MFNet
from neucf.models.products import products
from neucf.models.trained import TrainedConfig, TrainedModel
from neucf.recommender import Monitor
from neucf.training.catalogue_loss import TEMPERATURES, item_log_weights, temperature_for
from neucf.training.graph import GraphEngine
from neucf.training.losses import LossName
from neucf.training.propagation import Floats, Graph, inverse_roots, scoring_factors, unit_rows

# Multiplications of a half layer from which on threads pay.
_WORTH_THREADS = 1 << 23
# Items a step of fold-in takes: rows are short enough for many. With 256, all steps together do not come through ten
# thousand items, and 3 % of the quality was lost (docs/results.md).
_POOL = 1024


class LightGCNConfig(TrainedConfig):
    """Settings of lightgcn."""

    dim: Annotated[int, Tunable(32, 512, log=True)] = Field(256, ge=1, le=4096, description="Length D of an embedding.")
    layers: Annotated[int, Tunable(1, 4)] = Field(2, ge=1, le=64, description="Propagations K over the graph.")
    loss: LossName = Field("softmax", description="What training minimises.")
    temperature: Annotated[float, Tunable(choices=TEMPERATURES, when=("loss", "softmax"))] = Field(
        0.0,
        ge=0,
        description="Divides the logits of the softmax loss; 0 goes by the catalogue's size, 1.66 / I^0.286.",
    )
    cosine: Annotated[bool, Tunable(choices=(False, True), when=("loss", "softmax"))] = Field(
        True, description="Whether products are cosines, with the softmax loss; with others they are not."
    )
    # The best on validation was .1 to .25 on gowalla and the lecture's split, where .2 gains 1 %, and 0 on ml-100k,
    # where it loses .7 %; where validation is the end of each history, more is gained: docs/results.md.
    length_power: Annotated[float, Tunable(0.0, 0.5, when=("cosine", True))] = Field(
        0.2,
        ge=-2,
        le=2,
        description="Exponent of an item's propagated length in its scores, where training goes by cosines: the "
        "popular are long, and above 0 lists lean to them.",
    )
    negatives: int = Field(
        0,
        ge=0,
        le=65_536,
        description="Negatives N, shared by the batch with softmax, else of each positive; 0 takes the whole catalogue "
        "with softmax, else 1.",
    )
    item_power: Annotated[float, Tunable(-0.4, 0.2, when=("loss", "softmax"))] = Field(
        0.0,
        ge=-2,
        le=2,
        description="Exponent of its train positives by which an item weighs among the competitors in the softmax; "
        "below 0 lists lean to the popular.",
    )
    lr: Annotated[float, Tunable(5e-4, 0.05, log=True)] = Field(0.02, gt=0, description="Learning rate, falling to 0.")
    reg: Annotated[float, Tunable(0.0, 0.05)] = Field(
        0.0, ge=0, description="L2 strength on the embeddings before propagation."
    )
    batch_size: int = Field(0, ge=0, description="Positives a step, of whole users; 0 makes about 40 steps an epoch.")
    init_std: float = Field(0.1, gt=0, description="Deviation of the initial embeddings.")
    # The wider, the fewer it takes: D = 128 and 20 epochs cost the same and are 2 % worse on gowalla.
    epochs: Annotated[int, Tunable(8, 64, log=True)] = Field(10, ge=1, description="Horizon of the schedule.")
    eval_every: int = Field(2, ge=1, description="Epochs between two evaluations on validation.")

    @property
    def by_cosine(self) -> bool:
        """Whether products are cosines."""
        return self.cosine and self.loss == "softmax"


class LightGCN(TrainedModel):
    """LightGCN (He et al. 2020): softmax over the catalogue by default, BPR by `loss=bpr`.

    A new user starts with what their items pass on to them, and is then given an embedding of their own by the
    training loss, all else frozen.
    """

    name: ClassVar[str] = "lightgcn"
    config_class: ClassVar[type[LightGCNConfig]] = LightGCNConfig
    config: LightGCNConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._embeddings: tuple[Tensor, Tensor] | None = None
        self._factors: tuple[Tensor, Tensor] | None = None

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
        """Trains; with `valid` the embeddings of the best epoch are kept and training stops early."""
        config, chosen = self.config, resolve_device(device)
        if config.item_power != 0 and config.loss != "softmax":
            raise ConfigError(
                f"`item_power` weighs items in a softmax; got {config.item_power:g} with loss={config.loss}. "
                "Leave it at 0."
            )
        # Waking other threads costs more than a small graph
        count = num_threads(threads) if len(train) * config.dim >= _WORTH_THREADS else 1
        with torch_threads(count):
            engine = GraphEngine(
                train, dim=config.dim, layers=config.layers, loss=config.loss,
                temperature=temperature_for(config.temperature, train.num_items),
                cosine=config.by_cosine, negatives=config.negatives,
                batch_size=config.batch_size or len(train) // 40 + 1,
                reg=config.reg, init_std=config.init_std, seed=seed, threads=count, device=chosen,
                item_power=config.item_power, length_power=config.length_power,
            )  # fmt: skip
            self._train, self.engine, self._graph = train, engine.name, engine.graph
            self._embeddings, self._factors = engine.tables, engine.factors
            self._passed: Tensor | None = None
            self._directions: Tensor | None = None
            self.best_epoch = self.run_epochs(
                engine, valid, monitor, seed=seed, threads=threads,
                rate=lambda done: config.lr * max(1 - done / config.epochs, 0.0),
            )  # fmt: skip
        self._passed, self._directions = self._pass_items(), self._item_directions()
        return self

    def factors(self) -> tuple[Floats, Floats, None]:
        """Returns propagated user factors (U, D) and item factors (I, D), whose products are the scores.

        By cosines, users' are of length 1 and items' of their length to `length_power`. Training by cosines leaves
        lengths to the graph, which makes the popular long (Wu et al. 2024).
        """
        users, items = (table.cpu().numpy() for table in self._tables())
        return users, items, None

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns inner products, shapes as in Recommender."""
        return self._score(self._tables()[0][self._tensor(self._check_users(users))], items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns inner products of new users: see `foldin.fold_in`."""
        matrix = self._check_histories(histories)
        starts, liked = (self._tensor(each.astype(np.int64)) for each in (matrix.indptr[:-1], matrix.indices))
        roots = self._tensor(inverse_roots(np.diff(matrix.indptr)))
        # While training goes on, what items pass on changes with each epoch
        passed = self._pass_items() if self._passed is None else self._passed
        vectors = roots[:, None] * functional.embedding_bag(liked, passed, starts, mode="sum")
        # By cosines only its direction counts; length 1 is what the steps of fold-in suit
        start = unit_rows(vectors) if self.config.by_cosine else vectors
        vectors = fold_in(*self._frozen(), matrix, (start,), _POOL, self._log_weights())[0]
        return self._score(unit_rows(vectors) if self.config.by_cosine else vectors, items)

    def placed(self, items: npt.NDArray[np.int64], weights: csr_array) -> Self:
        """Returns a copy in which items (C,) have the mean factors, by weights (C, I), of others.

        By cosines it is the mean's direction that counts, and the mean of their lengths: means of several are shorter.
        """

        def mean(rows: Floats) -> Tensor:
            return torch.from_numpy(weights @ rows).to(table)

        users, table = self._tables()
        assert self._passed is not None
        factors, passed = self.factors()[1], self._passed
        placed, at, means = copy.copy(self), self._tensor(items), mean(factors)
        if self.config.by_cosine:
            means = unit_rows(means) * mean(np.linalg.norm(factors, axis=1, keepdims=True))
        placed._factors = users, table.index_copy(0, at, means)
        placed._passed = passed.index_copy(0, at, mean(passed.cpu().numpy()))
        placed._directions = placed._item_directions()
        return placed

    def arrays(self) -> Arrays:
        """Returns the embeddings before propagation, of users (U, D) and items (I, D)."""
        assert self._embeddings is not None
        users, items = (table.cpu().numpy() for table in self._embeddings)
        return {"user_embeddings": users, "item_embeddings": items}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the embeddings back, and propagates them."""
        shapes = {
            "user_embeddings": (train.num_users, self.config.dim),
            "item_embeddings": (train.num_items, self.config.dim),
        }
        received = {name: array.shape for name, array in arrays.items()}
        if shapes != received:
            raise ArtifactError(f"lightgcn needs arrays of shapes {shapes}; the run holds {received}.")
        users, items = (torch.from_numpy(np.array(arrays[name], np.float32)) for name in shapes)
        self._train, self._embeddings = train, (users, items)
        self._graph = Graph(train, self.config.layers, 1, users.device)
        propagated = self._graph.propagate(users, items)
        self._factors = scoring_factors(*propagated, self.config.by_cosine, self.config.length_power)
        self._passed, self._directions = self._pass_items(), self._item_directions()
        return self

    def _frozen(self) -> tuple[MFNet, MFConfig]:
        """Returns a net whose item vectors are the propagated ones, shared, and the settings of its loss."""
        own = self.config
        settings = {key: getattr(own, key) for key in ("dim", "loss", "temperature", "cosine")}
        config = MF(**settings, negatives=own.negatives or 1).config
        net = MFNet(1, 1, config, torch.Generator())
        items = self._item_directions() if self._directions is None else self._directions
        net.item_embedding = nn.Embedding.from_pretrained(items)
        return net.to(items.device), config

    def _tables(self) -> tuple[Tensor, Tensor]:
        """Returns `factors` on the device."""
        if self._factors is None:
            raise NotFittedError("lightgcn must be fitted before it scores; call `fit` first.")
        return self._factors

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._tables()[0].device)

    def _item_directions(self) -> Tensor:
        """Returns what training takes for items (I, D): by cosines their factors at length 1."""
        items = self._tables()[1]
        return unit_rows(items) if self.config.by_cosine and self.config.length_power else items

    def _log_weights(self) -> Tensor | None:
        return item_log_weights(self.train, self.config.item_power, self._tables()[0].device)

    def _pass_items(self) -> Tensor:
        """Returns what each item adds to a new neighbour (I, D): its layers 0..K-1 over K + 1 and its root degree."""
        assert self._embeddings is not None
        layers = self.config.layers
        mean = self._graph.propagate(*self._embeddings, layers - 1)[1]
        scales = self._tensor(self._graph.scales[1] * np.float32(layers / (layers + 1)))
        return mean * scales.unsqueeze(-1)

    def _score(self, vectors: Tensor, items: npt.ArrayLike | None) -> Tensor:
        chosen = None if items is None else self._tensor(self._check_items(items, len(vectors)))
        return products(vectors, self._tables()[1], chosen)
