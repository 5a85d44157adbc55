"""Model: what every entry of MODELS shares: its config, what it was fitted on, and its arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, issparse

from neucf.checks import checked_seed
from neucf.data.arrays import is_weight
from neucf.data.interactions import Interactions
from neucf.data.vocabulary import IntArray, Vocabulary
from neucf.errors import ConfigError, DataError, NotFittedError
from neucf.models.config import Config, build_config
from neucf.recommender import Monitor, Scores

Arrays = dict[str, npt.NDArray[Any]]


class Model(ABC):
    """Base of every model: a Recommender with settings that can be written to a file and read back.

    Args:
        **settings: Fields of the model's config; the rest keep their defaults.

    Attributes:
        name: The registry name.
        uses_weights: Whether the weights of interactions play a part; else all positives count alike.
        config: The checked settings.
        engine: What ran the training, for the manifest.
        best_epoch: The epoch whose weights were kept; None for models without epochs.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Config]]
    uses_weights: ClassVar[bool] = False

    def __init__(self, **settings: Any) -> None:
        self.config = build_config(self.config_class, self.name, settings)
        self.engine = "closed form"
        self.best_epoch: int | None = None
        self._train: Interactions | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Each model's own `fit` says what it makes of the arguments; what they must be is the same for all
        if "fit" in vars(cls):
            cls.fit = _checked(cls.fit)  # type: ignore[method-assign]
        if "arrays" in vars(cls):
            cls.arrays = _fitted(cls.arrays)  # type: ignore[method-assign]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self.config, name)!r}" for name in sorted(self.config.model_fields_set))
        return f"<{self.name}({settings}), {'not fitted' if self._train is None else f'fitted on {self._train!r}'}>"

    @property
    def train(self) -> Interactions:
        """What the model was fitted on; raises NotFittedError before `fit`."""
        if self._train is None:
            raise NotFittedError(f"{self.name} must be fitted before it scores; call `fit` first.")
        return self._train

    @property
    def user_ids(self) -> Vocabulary:
        """The users' vocabulary of the training data."""
        return self.train.user_ids

    @property
    def item_ids(self) -> Vocabulary:
        """The catalogue of the training data."""
        return self.train.item_ids

    @abstractmethod
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
        """Learns from `train`; `valid` only chooses when to stop. Fitting again starts afresh.

        Where a split holds users out, a model that trains by epochs must be told what is known of validation's before:
        `model.valid_history = parts.valid_history`.

        Args:
            train: What to learn from.
            valid: Chooses the epoch, with the ids of `train`; None trains to the end.
            seed: Drives initialisation, sampling and order.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            threads: CPU threads; None for every core.
            monitor: Watches.

        Raises:
            DataError: If `train` or `valid` is no Interactions, nobody or nothing is in the vocabularies, or they
                differ.
            ConfigError: If an option is out of range.
        """

    @abstractmethod
    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Scores:
        """Returns scores: users (B,) -> (B, I); items (C,) -> (B, C); items (B, C) -> (B, C)."""

    @abstractmethod
    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Scores:
        """Returns scores, shapes as `score`, of B people the model never saw, by their histories (B, I)."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Returns what was learnt, by name, for weights.safetensors."""

    @abstractmethod
    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes back what `arrays` gave, and what the model was fitted on; raises ArtifactError if they disagree."""

    def item_embeddings(self) -> npt.NDArray[np.float32] | None:
        """Returns a vector for each item (I, D), near ones for items liked by the same people; None without any."""
        factors = getattr(self, "factors", None)
        return None if factors is None else factors()[1]

    def affinities(self, liked: IntArray, items: IntArray | None = None) -> npt.NDArray[np.float32] | None:
        """Returns how much each liked item (L,) speaks for each of items (C,), or for all, under the model: (L, C).

        The cosine of their embeddings; a model whose score adds up a term for each liked item gives these terms. None
        where one item says nothing of another.
        """
        vectors = self.item_embeddings()
        return None if vectors is None else cosines(vectors[liked], vectors if items is None else vectors[items])

    def placed(self, items: npt.NDArray[np.int64], weights: csr_array) -> Self:
        """Returns a copy in which items (C,) have the mean embedding, by weights (C, I), of others."""
        del items, weights
        raise ConfigError(
            f"`new_items` needs a model that can place items, such as mf; {self.name} can't. Leave it out."
        )

    @property
    def best_epochs(self) -> tuple[int, ...]:
        """The epochs whose weights were kept, for `stop_at` of a refit; empty for models without epochs."""
        return ()

    def stop_at(self, best_epochs: tuple[int, ...]) -> None:
        """Makes the next fit stop where another one's best weights lay, on the same schedule."""
        del best_epochs

    def _check_users(self, users: npt.ArrayLike) -> npt.NDArray[np.int64]:
        return check_indices("users", users, len(self.user_ids))

    def _check_items(self, items: npt.ArrayLike, num_rows: int) -> npt.NDArray[np.int64]:
        """Returns items (C,) for everybody, or (B, C) for each of `num_rows` people."""
        checked = check_indices("items", items, len(self.item_ids), dims=(1, 2))
        if checked.ndim == 2 and len(checked) != num_rows:
            raise DataError(
                f"`items` must have a row for each of the {num_rows} people scored where it is 2-d; got {len(checked)}"
                " rows. Give a row each, or one list (C,) for all."
            )
        return checked

    def _check_histories(self, histories: csr_array) -> csr_array:
        return check_histories(histories, len(self.item_ids))


def cosines(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the cosines (L, C) of rows (L, D) and (C, D); 0 with a row of zeros, which has no direction."""
    of_left, of_right = (np.maximum(np.sqrt(np.einsum("nd,nd->n", rows, rows)), 1e-30) for rows in (left, right))
    found: npt.NDArray[np.float32] = (left @ right.T) / of_left[:, None] / of_right
    return found


def _checked(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `fit` after a check of what it is given."""

    @wraps(fit)
    def checked(
        self: Model, train: Interactions, valid: Interactions | None = None, *, seed: int = 0, **options: Any
    ) -> Any:
        for name, part in (("train", train), ("valid", valid)):
            if not isinstance(part, Interactions) and (part is not None or name == "train"):
                fix = "Pass the parts of a split: `fit(parts.train, parts.valid)`."
                raise DataError(f"`{name}` must be Interactions; got {type(part).__name__}. {fix}")
        if not (train.num_users and train.num_items):
            raise DataError(f"`train` must know of users and items; got {train!r}. Give some interactions.")
        if valid is not None and (valid.user_ids != train.user_ids or valid.item_ids != train.item_ids):
            raise DataError("`valid` must have the ids of `train`; got others. Pass parts of the same split.")
        return fit(self, train, valid, seed=checked_seed(seed), **options)

    return checked


def _fitted(arrays: Callable[..., Arrays]) -> Callable[..., Arrays]:
    """Returns `arrays`, which raises NotFittedError before `fit`."""

    @wraps(arrays)
    def checked(self: Model) -> Arrays:
        _ = self.train  # raises it
        return arrays(self)

    return checked


def check_histories(histories: csr_array, num_items: int) -> csr_array:
    """Returns histories (B, I) as a csr_array; raises DataError at another shape, or a value that is no weight."""
    if not issparse(histories) or histories.shape[1:] != (num_items,):
        got = f"shape {histories.shape}" if issparse(histories) else type(histories).__name__
        raise DataError(
            f"`histories` must be a sparse matrix with a column for each of the {num_items} items; got {got}. "
            "Write scipy.sparse.csr_array(...)."
        )
    checked = histories if isinstance(histories, csr_array) else csr_array(histories)
    wrong = ~is_weight(checked.data)
    if wrong.any():
        raise DataError(
            f"`histories` must store values above 0 and finite, as each counts as a like; got {checked.data[wrong][0]}."
            " Drop it, such as by `eliminate_zeros()`."
        )
    return checked


def check_indices(name: str, indices: npt.ArrayLike, size: int, dims: tuple[int, ...] = (1,)) -> npt.NDArray[np.int64]:
    """Returns indices as int64; raises DataError unless all lie in 0..size - 1, in as many dimensions."""
    array = np.asarray(indices)
    if array.ndim not in dims:
        wanted = " or ".join(f"{each}-d" for each in dims)
        raise DataError(f"`{name}` must be {wanted}; got shape {array.shape}. Write [0] for one, for example.")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"`{name}` must hold integer indices; got {array.dtype}.")
    if array.size and not (0 <= array.min() and array.max() < size):
        wrong = array[(array < 0) | (array >= size)].flat[0]
        raise DataError(f"`{name}` must hold indices in 0..{size - 1}; got {wrong}.")
    return array.astype(np.int64)
