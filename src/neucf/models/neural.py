"""NeuralModel: any net, any loss and the trainer make a Recommender."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError, ConfigError, NotFittedError
from neucf.kernels.compile import torch_threads
from neucf.models.base import Arrays, Model
from neucf.models.engine_choice import make_engine
from neucf.models.foldin import fold_in
from neucf.models.neural_config import NeuralConfig
from neucf.models.trained import TrainedModel
from neucf.recommender import Monitor
from neucf.training.catalogue_loss import item_log_weights
from neucf.training.nets import Net, shapes_of
from neucf.training.schedules import rate


class NeuralModel(TrainedModel):
    """A net trained by gradient descent.

    Attributes:
        net: The network, once fitted.
    """

    config_class: ClassVar[type[NeuralConfig]]
    config: NeuralConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._net: Net | None = None
        self._embeddings: npt.NDArray[np.float32] | None = None
        self._start: NeuralModel | None = None

    def start_from(self, other: Model) -> None:
        """Makes the next fit start from another model's weights, its rows matched by external id.

        Args:
            other: A fitted model of the same name and shape; users and items it lacks start afresh.
        """
        if other.name != self.name or not isinstance(other, NeuralModel):
            raise ConfigError(f"`init_from` must be a run of {self.name}; got one of {other.name}.")
        self._start = other

    @abstractmethod
    def build(self, train: Interactions, generator: torch.Generator) -> Net:
        """Returns a freshly initialised net for these users and items."""

    @property
    def warm_started(self) -> bool:
        """Whether the weights before the first epoch are worth keeping."""
        return self._start is not None

    @property
    def net(self) -> Net:
        """The network; raises NotFittedError before `fit`."""
        if self._net is None:
            raise NotFittedError(f"{self.name} must be fitted before it scores; call `fit` first.")
        return self._net

    @property
    def device(self) -> str:
        """Where the net lies: `cpu` or `cuda`."""
        return next(self.net.parameters()).device.type

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
        """Trains; with `valid` the weights of the best epoch are kept and training stops early."""
        with torch_threads(threads):
            net = self.build(train, torch.Generator().manual_seed(seed))
            if self._start is not None:
                copy_rows(self._start, net, train)
            engine = make_engine(net, self.config, train, seed=seed, device=device, threads=threads)
            # Weights that are worth keeping are judged before any epoch
            self._train, self._net, self.engine = train, net.eval(), engine.name
            self.best_epoch = self.run_epochs(
                engine, valid, monitor, seed=seed, threads=threads, rate=self._rate, warm=self.warm_started
            )
            net.eval()
            self._embeddings = None
        return self

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns logits, shapes as in Recommender."""
        with torch.no_grad():
            return self._score(self.net.user_vectors(self._tensor(self._check_users(users))), items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns logits of new users, whose vectors alone are optimised on their histories, the net frozen."""
        with torch.no_grad():
            return self._score(self.fold_in(histories), items)

    def fold_in(self, histories: csr_array) -> tuple[Tensor, ...]:
        """Returns the vectors (B, D) of people known by their histories (B, I): see `foldin.fold_in`."""
        return fold_in(self.net, self.config, self._check_histories(histories), log_weights=self._log_weights())

    def _log_weights(self) -> Tensor | None:
        return item_log_weights(self.train, self.config.item_power, next(self.net.parameters()).device)

    def item_embeddings(self) -> npt.NDArray[np.float32] | None:
        """Returns the rows of the item tables (I, D) side by side, each table's of mean length 1, biases left out."""
        if self._embeddings is None:
            self._embeddings = self._side_by_side()
        return self._embeddings

    def _side_by_side(self) -> npt.NDArray[np.float32] | None:
        tables = [table.embedding for table in self.net.tables() if table.side == "item"]
        rows = [table.weight.detach().cpu().numpy() for table in tables if table.embedding_dim > 1]
        scaled = [each / max(np.linalg.norm(each, axis=1).mean(), 1e-30) for each in rows]
        return np.hstack(scaled) if scaled else None

    def placed(self, items: npt.NDArray[np.int64], weights: csr_array) -> Self:
        """Returns a copy in which items (C,) have the mean embedding, by weights (C, I), of others, biases too."""
        placed = copy.copy(self)
        placed._net, placed._embeddings = copy.deepcopy(self.net), None
        for table in placed._net.tables():
            if table.side == "item":
                rows = table.embedding.weight.data
                rows[self._tensor(items)] = torch.from_numpy(weights @ rows.cpu().numpy()).to(rows.device)
        # What a net keeps of its parameters for scoring is of the old ones
        placed._net.eval()
        return placed

    def arrays(self) -> Arrays:
        """Returns every parameter by its name in the net."""
        return {name: value.detach().cpu().numpy() for name, value in self.net.state_dict().items()}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes parameters back; raises ArtifactError where names or shapes are not those of the config."""

        def build() -> Net:
            return self.build(train, torch.Generator("cpu").manual_seed(0))

        expected = shapes_of(build)
        received = {name: tuple(value.shape) for name, value in arrays.items()}
        if expected != received:
            raise ArtifactError(f"{self.name} needs arrays of shapes {expected}; the run holds {received}.")
        net = build()
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        self._train, self._net, self._embeddings = train, net.eval(), None
        return self

    def _rate(self, done: float) -> float:
        config = self.config
        return rate(
            config.schedule, config.lr, done, config.epochs,
            decay=config.decay, decay_every=config.decay_every, warmup=config.warmup,
        )  # fmt: skip

    def _score(self, vectors: tuple[Tensor, ...], items: npt.ArrayLike | None) -> Tensor:
        if items is None:
            return self.net.grid(vectors, torch.arange(len(self.item_ids), device=vectors[0].device))
        chosen = self._tensor(self._check_items(items, len(vectors[0])))
        if chosen.ndim == 1:
            return self.net.grid(vectors, chosen)
        return self.net.logits(tuple(vector.unsqueeze(1) for vector in vectors), chosen)

    def _tensor(self, indices: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(indices).to(next(self.net.parameters()).device)


@torch.no_grad()
def copy_rows(source: NeuralModel, net: Net, train: Interactions) -> None:
    """Gives a net another model's weights; table rows are matched by external id, unmatched ones stay as they are."""
    old = source.net.state_dict()
    sides = {id(table.embedding.weight): table.side for table in net.tables()}
    for name, value in net.named_parameters():
        side = sides.get(id(value))
        # Tables may differ in rows, weights in nothing
        first = 0 if side is None else 1
        if name not in old or old[name].shape[first:] != value.shape[first:]:
            raise ConfigError(f"`init_from` must hold {name} with D of {tuple(value.shape[first:])}; it does not.")
        if side is None:
            value.copy_(old[name])
            continue
        known, wanted = (source.user_ids, train.user_ids) if side == "user" else (source.item_ids, train.item_ids)
        rows = torch.from_numpy(known.find(wanted.series).astype(np.int64))
        matched = rows >= 0
        value[matched] = old[name][rows[matched]].to(value.device)
