"""NeuralModel: any net, any loss and the trainer make a Recommender."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor

from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.errors import ArtifactError, ConfigError, NotFittedError
from neucf.evaluation import evaluate
from neucf.kernels.compile import COMPILED, num_threads, torch_threads
from neucf.models.base import Arrays, Model
from neucf.models.config import Config
from neucf.models.foldin import fold_in
from neucf.recommender import Monitor
from neucf.training.compiled import CompiledEngine
from neucf.training.engines import Engine, TorchEngine
from neucf.training.losses import LossName
from neucf.training.nets import InitName, Net
from neucf.training.optimizers import OptimizerName
from neucf.training.sampling import NegativeSampler, SamplerName
from neucf.training.schedules import ScheduleName, rate
from neucf.training.trainer import Plan, train


class NeuralConfig(Config):
    """What every net shares. A model's own config adds its shape and its defaults."""

    loss: LossName = Field("bce", description="What training minimises.")
    temperature: float = Field(1.0, gt=0, description="Divides the logits of the softmax loss.")
    sampler: SamplerName = Field("uniform", description="Where negatives come from; `shared` is one set a batch.")
    negatives: int = Field(4, ge=1, le=65_536, description="Negatives N of each positive, or of the batch if shared.")
    power: float = Field(0.75, ge=0, description="Exponent of `sampler=popularity`.")
    hardness: int = Field(1, ge=1, le=1024, description="Each negative is the best scored of this many draws.")
    optimizer: OptimizerName = Field("adam", description="`adam` moves every row each step, `lazy-adam` those touched.")
    lr: float = Field(1e-3, gt=0, description="Learning rate.")
    schedule: ScheduleName = Field("linear", description="How the rate falls over the epochs.")
    decay: float = Field(0.95, gt=0, le=1, description="Factor of the exponential schedule.")
    decay_every: int = Field(1, ge=1, description="Epochs between two decays.")
    warmup: float = Field(0.0, ge=0, description="Epochs over which the rate first rises from 0.")
    epochs: int = Field(20, ge=1, description="Horizon of the schedule.")
    batch_size: int = Field(2048, ge=1, description="Positives a step.")
    reg: float = Field(0.0, ge=0, description="L2 strength on the embeddings a step touches.")
    reg_weights: float = Field(0.0, ge=0, description="L2 strength on all other weights.")
    clip: float = Field(0.0, ge=0, description="Largest gradient norm; 0 leaves gradients alone.")
    init: InitName = Field("normal", description="How embeddings start.")
    init_std: float = Field(0.1, ge=0, description="Deviation of `init=normal`.")
    eval_every: int = Field(1, ge=1, description="Epochs between two evaluations on validation.")
    patience: int = Field(5, ge=0, description="Evaluations without a new best before stopping; 0 never stops.")
    metric: str = Field(
        "ndcg@20", pattern=r"^(recall|precision|ndcg|hit|mrr|map)@[1-9]\d*$", description="What chooses the epoch."
    )
    metric_protocol: Literal["full", "sampled"] = Field("full", description="How the metric is taken.")
    engine: Literal["auto", "torch", "compiled"] = Field("auto", description="What runs an epoch.")
    precision: Literal["float32", "bf16"] = Field("float32", description="Of the forward pass on CUDA.")


class NeuralModel(Model):
    """A net trained by gradient descent.

    Attributes:
        net: The network, once fitted.
        stop_after: Set before `fit` to stop at that epoch of the schedule, as a refit does.
    """

    config_class: ClassVar[type[NeuralConfig]]
    config: NeuralConfig

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.stop_after: int | None = None
        self._net: Net | None = None
        self._start: NeuralModel | None = None

    @property
    def best_epochs(self) -> tuple[int, ...]:
        """The epoch whose weights were kept."""
        return () if self.best_epoch is None else (self.best_epoch,)

    def stop_at(self, best_epochs: tuple[int, ...]) -> None:
        """Makes the next fit stop at that epoch of the schedule."""
        (self.stop_after,) = best_epochs

    def start_from(self, other: Model) -> None:
        """Makes the next fit start from another model's weights, its rows matched by external id.

        Args:
            other: A fitted model of the same name and shape; users and items it lacks start afresh.
        """
        if other.name != self.name or not isinstance(other, NeuralModel):
            raise ConfigError(f"`init_from` must be a run of {self.name}; got one of {other.name}.")
        self._start = other

    @abstractmethod
    def build(self, num_users: int, num_items: int, generator: torch.Generator) -> Net:
        """Returns a freshly initialised net."""

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
        compiled = self._uses_compiled(device)
        chosen = torch.device("cpu") if compiled else resolve_device(device)
        with torch_threads(threads):
            self._train = train
            net = self.build(train.num_users, train.num_items, torch.Generator().manual_seed(seed))
            if self._start is not None:
                copy_rows(self._start, net, train)
            self._net = net.to(chosen)
            engine = self._engine(self._net, train, seed, chosen, num_threads(threads) if compiled else None)
            self.engine = engine.name
            self.best_epoch = train_net(self, engine, valid, seed, threads, monitor)
            self._net.eval()
        return self

    def score(self, users: npt.ArrayLike, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns logits, shapes as in Recommender."""
        with torch.no_grad():
            return self._score(self.net.user_vectors(self._tensor(self._check_users(users))), items)

    def score_history(self, histories: csr_array, items: npt.ArrayLike | None = None) -> Tensor:
        """Returns logits of new users, whose vectors alone are optimised on their histories, the net frozen."""
        vectors = fold_in(self.net, self.config, self._check_histories(histories))
        with torch.no_grad():
            return self._score(vectors, items)

    def arrays(self) -> Arrays:
        """Returns every parameter by its name in the net."""
        return {name: value.detach().cpu().numpy() for name, value in self.net.state_dict().items()}

    def restore(self, train: Interactions, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Takes parameters back; raises ArtifactError where names or shapes are not those of the config."""
        net = self.build(train.num_users, train.num_items, torch.Generator().manual_seed(0))
        expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
        received = {name: tuple(value.shape) for name, value in arrays.items()}
        if expected != received:
            raise ArtifactError(f"{self.name} needs arrays of shapes {expected}; the run holds {received}.")
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        self._train, self._net = train, net.eval()
        return self

    def _score(self, vectors: tuple[Tensor, ...], items: npt.ArrayLike | None) -> Tensor:
        if items is None:
            return self.net.grid(vectors, torch.arange(len(self.item_ids), device=vectors[0].device))
        chosen = self._tensor(self._check_items(items))
        if chosen.ndim == 1:
            return self.net.grid(vectors, chosen)
        return self.net.logits(tuple(vector.unsqueeze(1) for vector in vectors), chosen)

    def _tensor(self, indices: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(indices).to(next(self.net.parameters()).device)

    def _compilable(self) -> bool:
        """Whether the compiled engine knows this net, loss and optimiser; nets that it knows say more."""
        return False

    def _uses_compiled(self, device: str) -> bool:
        able = COMPILED and self._compilable() and device in ("auto", "cpu")
        if self.config.engine == "compiled" and not able:
            raise ConfigError(
                "`engine` compiled needs numba, the CPU, an inner-product net, loss bpr or bce, sampler uniform, "
                f"optimizer sgd and batch_size 1; got {self.name} on {device}. Use engine=auto."
            )
        return able and self.config.engine != "torch"

    def _engine(
        self, net: Net, train: Interactions, seed: int, device: torch.device, compiled_threads: int | None
    ) -> Engine:
        config = self.config
        sampler = NegativeSampler(train, config.sampler, config.negatives, power=config.power, seed=seed, device=device)
        if compiled_threads is not None:
            return CompiledEngine(
                net, config.loss, sampler, train,
                reg=config.reg, hardness=config.hardness, seed=seed, threads=compiled_threads,
            )  # fmt: skip
        return TorchEngine(
            net, config.loss, sampler, train,
            optimizer=config.optimizer, batch_size=config.batch_size, temperature=config.temperature,
            hardness=config.hardness, reg_weights=config.reg_weights, clip=config.clip, precision=config.precision,
            seed=seed,
        )  # fmt: skip


def train_net(
    model: NeuralModel, engine: Engine, valid: Interactions | None, seed: int, threads: int | None,
    monitor: Monitor | None,
) -> int:  # fmt: skip
    """Runs the trainer by the model's config and returns the epoch whose weights were kept."""
    config = model.config
    k = int(config.metric.partition("@")[2])

    def measure() -> dict[str, float]:
        result = evaluate(
            model, Split(model.train, valid, None), "valid", config.metric_protocol, (k,), seed=seed, threads=threads
        )
        return {name: result.mean(name) for name in result.values}

    plan = Plan(
        epochs=config.epochs,
        stop_after=model.stop_after,
        eval_every=config.eval_every,
        patience=config.patience,
        metric=config.metric,
        warm=model.warm_started,
        rate=lambda done: rate(
            config.schedule, config.lr, done, config.epochs,
            decay=config.decay, decay_every=config.decay_every, warmup=config.warmup,
        ),
    )  # fmt: skip
    evaluable = valid is not None and len(valid) > 0
    return train(engine, plan, valid, measure if evaluable else None, monitor)


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


def resolve_device(device: str) -> torch.device:
    """Turns `auto`, `cpu`, `cuda` or `cuda:N` into a device that exists; raises ConfigError otherwise."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in ("cpu", "cuda"):
        raise ConfigError(f"`device` must be auto, cpu, cuda or cuda:N; got {device!r}.")
    available = torch.cuda.device_count()
    if chosen.type == "cuda" and (chosen.index or 0) >= available:
        raise ConfigError(f"`device` must exist here; got {device!r} with {available} CUDA devices. Use cpu or auto.")
    return chosen
