"""Implicit alternating least squares: squared error over all pairs, solved for users and items in turn."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError, DataError, NotFittedError
from neucf.kernels.als import solve
from neucf.kernels.compile import num_threads, torch_threads
from neucf.models.base import Arrays
from neucf.models.config import Tunable
from neucf.models.products import products
from neucf.models.trained import TrainedConfig, TrainedModel
from neucf.recommender import Monitor
from neucf.training.als import AlsEngine, Floats, frequency_scaled, gram_basis, row_sums

# Enough conjugate gradient steps to solve for a new user; most end after a dozen.
_FOLD_IN_STEPS = 200
# Weight of all pairs over that of the positives, where none is given.
_UNOBSERVED = 15.0


class IALSConfig(TrainedConfig):
    """Settings of ials. Names and scaling are those of Rendle et al. 2021."""

    dim: Annotated[int, Tunable(32, 512, log=True)] = Field(256, ge=1, le=4096, description="Length D of a factor.")
    reg: Annotated[float, Tunable(3e-4, 0.1, log=True)] = Field(
        0.01, gt=0, description="L2 strength, before it is scaled by frequency."
    )
    # 15 times as much weight on all pairs as on the positives was best or close to it on validation where .06 to 4.7 %
    # of all pairs were observed (docs/results.md), and is near what Rendle et al. tuned for ML-20M and MSD.
    alpha0: Annotated[float, Tunable(choices=(0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0))] = Field(
        0.0,
        ge=0,
        description="Weight of a pair that was not observed; a positive has 1 more; 0 makes it 15 times the density.",
    )
    nu: Annotated[float, Tunable(0.0, 1.0)] = Field(
        1.0, ge=0, le=2, description="Exponent of the frequency that scales `reg`; 0 is the same for every row."
    )
    init_std: float = Field(0.1, gt=0, description="Deviation of the initial factors, times the root of D.")
    cg_steps: int = Field(
        3, ge=1, le=1000, description="Conjugate gradient steps a row; 3 come close to the exact solution."
    )
    epochs: int = Field(16, ge=1, description="Solutions for all users and all items, at most.")


@dataclass(frozen=True, slots=True)
class Turned:
    """Item factors in the basis in which their Gram matrix is diagonal: what the normal equations of a row want.

    Attributes:
        items: (I, D).
        gram: (D,) that diagonal.
        basis: (D, D) that the factors were multiplied by; None where they stood in that basis.
    """

    items: Floats
    gram: Floats
    basis: Floats | None

    @classmethod
    def by_nothing(cls, items: Floats) -> Self:
        """Returns factors that stand in that basis."""
        return cls(items, np.einsum("id,id->d", items, items), None)

    @classmethod
    def of(cls, items: Floats) -> Self:
        """Turns factors, as they are in training and once items are placed."""
        with torch_threads(1):
            table = torch.from_numpy(items)
            gram, basis = gram_basis(table, 1)
            return cls((table @ basis).numpy(), gram.float().numpy(), basis.numpy())


class IALS(TrainedModel):
    """iALS (Hu, Koren and Volinsky 2008), in the form and with the scaling of Rendle et al. 2021.

    The processor does the work, whatever `device`. Weights of interactions are confidence.
    """

    name: ClassVar[str] = "ials"
    config_class: ClassVar[type[IALSConfig]] = IALSConfig
    uses_weights: ClassVar[bool] = True
    config: IALSConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._users: Floats | None = None
        self._items: Floats | None = None
        self._turned: Turned | None = None

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
        """Trains; with `valid` the factors of the best epoch are kept and training stops early."""
        del device
        weights = train.weights
        if weights is not None and not (weights.min(initial=0) >= 0 and np.isfinite(weights).all()):
            wrong = weights[~(np.isfinite(weights) & (weights >= 0))][0]
            raise DataError(f"`weights` must be finite and at least 0, being confidence; got {wrong}.")
        config = self.config
        engine = AlsEngine(
            train, dim=config.dim, reg=config.reg, alpha0=self._alpha0(train), nu=config.nu,
            init_std=config.init_std, cg_steps=config.cg_steps, seed=seed, threads=num_threads(threads),
        )  # fmt: skip
        self._train, self.engine = train, engine.name
        self._users, self._items, self._turned = engine.users.factors, engine.items.factors, None
        with torch_threads(threads):
            self.best_epoch = self.run_epochs(
                engine, valid, monitor, seed=seed, threads=threads, rate=lambda _done: 1.0
            )
        # So that folding in needs no basis of its own
        engine.diagonalise("items")
        self._turned = Turned.by_nothing(engine.items.factors)
        return self

    def factors(self) -> tuple[Floats, Floats, None]:
        """Returns user factors (U, D) and item factors (I, D), whose products are the scores."""
        if self._users is None or self._items is None:
            raise NotFittedError("ials must be fitted before it scores; call `fit` first.")
        return self._users, self._items, None

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns inner products, shapes as in Recommender."""
        user_factors = self.factors()[0]
        return self._score(user_factors[self._check_users(users)], items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns inner products of new users, whose normal equations are solved, the items fixed."""
        return self._score(self.fold_in(histories), items)

    def fold_in(self, histories: csr_array) -> Floats:
        """Returns the factors (B, D) that minimise the objective for histories (B, I), the items fixed."""
        items = self.factors()[1]
        if self._turned is None:
            self._turned = Turned.of(items)
        turned = self._turned
        matrix = csr_array(self._check_histories(histories), dtype=np.float32)
        indptr, weights = matrix.indptr.astype(np.int64), matrix.data
        config, (num_items, dim) = self.config, items.shape
        alpha0 = self._alpha0(self.train)
        reg = frequency_scaled(config.reg, row_sums(indptr, weights), num_items, alpha0, config.nu)
        shared = np.float32(alpha0) * turned.gram
        vectors = np.zeros((matrix.shape[0], dim), np.float32)
        columns = matrix.indices.astype(np.int32)
        solve(0, len(vectors), indptr, columns, weights, turned.items, shared, reg, vectors, _FOLD_IN_STEPS)
        return vectors if turned.basis is None else vectors @ turned.basis.T

    def placed(self, items: npt.NDArray[np.int64], weights: csr_array) -> Self:
        """Returns a copy in which items (C,) have the mean factors, by weights (C, I), of others."""
        placed, factors = copy.copy(self), self.factors()[1].copy()
        factors[items] = weights @ factors
        placed._items, placed._turned = factors, None
        return placed

    def forget(self) -> None:
        """Drops the basis for folding in."""
        self._turned = None

    def history_factors(self, histories: csr_array) -> Floats:
        """Returns factors (B, D) of people known by their histories (B, I)."""
        return self.fold_in(histories)

    def arrays(self) -> Arrays:
        """Returns user factors (U, D) and item factors (I, D)."""
        users, items, _ = self.factors()
        return {"user_factors": users, "item_factors": items}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes the factors back."""
        expected = {
            "user_factors": (train.num_users, self.config.dim),
            "item_factors": (train.num_items, self.config.dim),
        }
        received = {name: array.shape for name, array in arrays.items()}
        if expected != received:
            raise ArtifactError(f"ials needs arrays of shapes {expected}; the run holds {received}.")
        self._train = train
        self._users, self._items = (np.array(arrays[name], np.float32) for name in expected)
        self._turned = Turned.by_nothing(self._items)
        return self

    def _alpha0(self, train: Interactions) -> float:
        mean = 1.0 if train.weights is None or not len(train) else float(train.weights.mean())
        return self.config.alpha0 or max(_UNOBSERVED * mean * train.density, 1e-9)

    def _score(self, vectors: Floats, items: npt.ArrayLike | None) -> Tensor:
        chosen = None if items is None else torch.from_numpy(self._check_items(items, len(vectors)))
        return products(torch.from_numpy(vectors), torch.from_numpy(self.factors()[1]), chosen)
