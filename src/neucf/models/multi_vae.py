"""multi-vae: a variational autoencoder of whole histories, with a multinomial likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError, NotFittedError
from neucf.kernels.compile import torch_threads
from neucf.models.base import Arrays
from neucf.models.config import Tunable
from neucf.models.engine_choice import resolve_device
from neucf.models.trained import TrainedConfig, TrainedModel
from neucf.recommender import Monitor
from neucf.training.nets import shapes_of
from neucf.training.vae import VAEEngine, VAENet, histories


class MultiVAEConfig(TrainedConfig):
    """Settings of multi-vae."""

    hidden: Annotated[int, Tunable(100, 800, log=True)] = Field(
        600, ge=1, le=16_384, description="Width of the one hidden layer, in encoder and decoder."
    )
    dim: Annotated[int, Tunable(32, 256, log=True)] = Field(200, ge=1, le=4096, description="Length D of a code.")
    dropout: Annotated[float, Tunable(0.0, 0.8)] = Field(
        0.3, ge=0, lt=1, description="Share of a history that the encoder does not see in training."
    )
    beta: Annotated[float, Tunable(0.05, 1.0, log=True)] = Field(0.2, ge=0, description="Weight of the divergence.")
    anneal_epochs: float = Field(20.0, ge=0, description="Epochs over which that weight first rises from 0.")
    lr: Annotated[float, Tunable(3e-4, 0.01, log=True)] = Field(2e-3, gt=0, description="Learning rate, falling to 0.")
    reg_weights: float = Field(0.0, ge=0, description="L2 strength on all weights.")
    batch_users: int = Field(0, ge=0, description="Users a step; 0 makes about 60 steps an epoch, of 32 to 512 users.")
    epochs: Annotated[int, Tunable(20, 100, log=True)] = Field(40, ge=1, description="Horizon of the schedule.")


class MultiVAE(TrainedModel):
    """Mult-VAE (Liang et al. 2018): the mean code of a person's history makes the logits of all items.

    What is known of a person is the history alone, so a new one is scored as a known one is.
    """

    name: ClassVar[str] = "multi-vae"
    config_class: ClassVar[type[MultiVAEConfig]] = MultiVAEConfig
    config: MultiVAEConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._net: VAENet | None = None

    @property
    def net(self) -> VAENet:
        """The network; raises NotFittedError before `fit`."""
        if self._net is None:
            raise NotFittedError("multi-vae must be fitted before it scores; call `fit` first.")
        return self._net

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
        config, chosen = self.config, resolve_device(device)
        batch_users = config.batch_users or int(2 ** np.clip(np.round(np.log2(train.num_users / 60 + 1)), 5, 9))
        with torch_threads(threads):
            net = self._build(train, seed).to(chosen)
            engine = VAEEngine(
                net, train, batch_users=batch_users, dropout=config.dropout, beta=config.beta,
                anneal_epochs=config.anneal_epochs, reg_weights=config.reg_weights, seed=seed, device=chosen,
            )  # fmt: skip
            self.engine = engine.name
            self._take(train, net)
            self.best_epoch = self.run_epochs(
                engine, valid, monitor, seed=seed, threads=threads,
                rate=lambda done: config.lr * max(1 - done / config.epochs, 0.0),
            )  # fmt: skip
        return self

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns logits, shapes as in Recommender."""
        known = self._check_users(users)
        return self._score(self._train_csr[known], items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns logits of new users, whose histories are encoded."""
        return self._score(csr_array(self._check_histories(histories)), items)

    def arrays(self) -> Arrays:
        """Returns every weight by its name in the net."""
        return {name: value.detach().cpu().numpy() for name, value in self.net.state_dict().items()}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the weights back."""
        expected = shapes_of(lambda: self._build(train, 0))
        received = {name: tuple(value.shape) for name, value in arrays.items()}
        if expected != received:
            raise ArtifactError(f"multi-vae needs arrays of shapes {expected}; the run holds {received}.")
        net = self._build(train, 0)
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        return self._take(train, net)

    def item_embeddings(self) -> npt.NDArray[np.float32]:
        """Returns the output weights (I, H)."""
        weights: npt.NDArray[np.float32] = self.net.out.detach().cpu().numpy()
        return weights

    def _build(self, train: Interactions, seed: int) -> VAENet:
        return VAENet(train.num_items, self.config.hidden, self.config.dim, torch.Generator("cpu").manual_seed(seed))

    def _take(self, train: Interactions, net: VAENet) -> Self:
        self._train, self._net, self._train_csr = train, net, train.csr()
        return self

    @torch.no_grad()
    def _score(self, matrix: csr_array, items: npt.ArrayLike | None) -> Tensor:
        table, bias = self.net.out, self.net.out_bias
        known = (each.to(table.device) for each in histories(matrix))
        hidden = self.net.decode(self.net.encode(*known)[0])
        if items is None:
            return torch.addmm(bias, hidden, table.T)
        chosen = torch.from_numpy(self._check_items(items, len(hidden))).to(table.device)
        if chosen.ndim == 1:
            return torch.addmm(bias[chosen], hidden, table[chosen].T)
        return (table[chosen] @ hidden.unsqueeze(-1)).squeeze(-1) + bias[chosen]
