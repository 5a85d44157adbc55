"""Which engine trains a net: by net, loss, sampler, optimiser and device; the optimiser is never swapped."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from neucf.data.interactions import Interactions
from neucf.errors import ConfigError
from neucf.kernels.compile import COMPILED, num_threads
from neucf.models.neural_config import NeuralConfig
from neucf.training.batched import BatchedEngine
from neucf.training.catalogue import CatalogueEngine
from neucf.training.catalogue_loss import temperature_for
from neucf.training.engines import Engine, TorchEngine
from neucf.training.nets import Net
from neucf.training.sampling import NegativeSampler, hardness_for
from neucf.training.sgd import SgdEngine

# Logits an epoch may cost under `sampler=auto` with softmax, by a net in general; those a positive may cost where they
# are products, which are worked out tile by tile; and the least pool of items.
LOGITS, PRODUCTS, POOL = 1 << 27, 8192, 1024


def make_engine(
    net: Net, config: NeuralConfig, train: Interactions, *, seed: int, device: str, threads: int | None
) -> Engine:
    """Returns the engine, with the net moved to the device it runs on.

    Args:
        net: A fresh net on the CPU.
        config: Its settings.
        train: The training interactions.
        seed: Keys order and negatives.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` keeps what only the CPU does well on the CPU.
        threads: CPU threads; None for every core.

    Raises:
        ConfigError: If the device is absent, or `engine=compiled` is asked of a net or setting it does not know.
    """
    config = resolve_sampler(config, train, net)
    temperature = temperature_for(config.temperature, train.num_items)
    kind = _compiled_kind(net, config) if COMPILED and config.engine != "torch" else None
    chosen = torch.device("cpu") if kind == "sgd" and device == "auto" else resolve_device(device)
    kind = kind if chosen.type == "cpu" else None
    if config.engine == "compiled" and kind is None:
        raise ConfigError(
            f"`engine` compiled needs numba, the CPU, and settings it knows; got {type(net).__name__} with "
            f"loss={config.loss}, optimizer={config.optimizer}, sampler={config.sampler} on {chosen}. Use engine=auto."
        )
    net.to(chosen)
    by_users = config.loss == "softmax" and config.optimizer != "lazy-adam"
    if config.sampler == "all" and not by_users:
        raise ConfigError(
            "`sampler` all needs loss=softmax and an optimiser that moves every row; got "
            f"loss={config.loss}, optimizer={config.optimizer}. Use sampler=shared."
        )
    if config.sampler == "all" or (config.sampler == "shared" and by_users):
        return CatalogueEngine(
            net, train,
            optimizer=config.optimizer, batch_size=config.batch_size, temperature=temperature,
            reg_weights=config.reg_weights, clip=config.clip, seed=seed, device=chosen, precision=config.precision,
            item_power=config.item_power, pool=config.negatives if config.sampler == "shared" else 0,
            by_part=_affordable(train) >= train.num_items,
        )  # fmt: skip
    if config.item_power != 0:
        raise ConfigError(
            "`item_power` weighs items in a softmax over the catalogue or a shared pool, by an optimiser that moves "
            f"every row; got loss={config.loss}, sampler={config.sampler}, optimizer={config.optimizer}. Leave it at 0."
        )
    batch_size, hardness = batch_size_for(config, len(train)), hardness_for(config.hardness, train.num_items)
    sampler = NegativeSampler(train, config.sampler, config.negatives, power=config.power, seed=seed, device=chosen)
    if kind == "sgd":
        return SgdEngine(
            net, config.loss, sampler, train,
            hardness=hardness, seed=seed, threads=num_threads(threads),
        )  # fmt: skip
    if kind == "batch":
        return BatchedEngine(
            net, config.loss, sampler, train,
            batch_size=batch_size, temperature=temperature, lazy=config.optimizer == "lazy-adam",
            reg_weights=config.reg_weights, seed=seed, threads=num_threads(threads),
        )  # fmt: skip
    return TorchEngine(
        net, config.loss, sampler, train,
        optimizer=config.optimizer, batch_size=batch_size, temperature=temperature,
        hardness=hardness, reg_weights=config.reg_weights, clip=config.clip, precision=config.precision,
        seed=seed,
    )  # fmt: skip


def resolve_sampler(config: NeuralConfig, train: Interactions, net: Net) -> NeuralConfig:
    """Returns the config with `sampler=auto` made one of the others, by the loss and by what the exact one costs."""
    if config.sampler != "auto":
        return config
    if config.loss != "softmax":
        return config.model_copy(update={"sampler": "uniform"})
    one, whole_users = torch.zeros(1, dtype=torch.int64), config.optimizer != "lazy-adam"
    affordable = _affordable(train)
    if net.product_part(one) is not None and affordable >= train.num_items:
        # A product meets the whole catalogue; a pool need but tell what else there is
        affordable = POOL
    elif net.product(one) is None:
        affordable = max(LOGITS // max(train.num_users, 1), POOL)
    if affordable >= train.num_items and whole_users:
        return config.model_copy(update={"sampler": "all"})
    return config.model_copy(update={"sampler": "shared", "negatives": affordable if whole_users else POOL})


def _affordable(train: Interactions) -> int:
    """Returns how many items a user's products may be taken with."""
    return max(PRODUCTS * len(train) // max(train.num_users, 1), POOL)


def batch_size_for(config: NeuralConfig, num_positives: int) -> int:
    """Returns the batch size asked for, or the power of two that makes about 500 steps an epoch, 128 to 8192."""
    if config.batch_size:
        return config.batch_size
    return int(2 ** np.clip(np.round(np.log2(max(num_positives, 1) / 500)), 7, 13))


def _compiled_kind(net: Net, config: NeuralConfig) -> Literal["sgd", "batch"] | None:
    parts = net.parts()
    if parts is None or config.clip > 0:
        return None
    product_only = parts.product is not None and parts.tower is None and parts.h is None and parts.bias is None
    if config.optimizer == "sgd":
        able = product_only and config.loss != "softmax" and config.batch_size == 1 and config.sampler == "uniform"
        return "sgd" if able else None
    own_negatives = config.sampler in ("uniform", "popularity") and config.hardness == 1
    able = config.optimizer in ("adam", "lazy-adam") and own_negatives
    return "batch" if able else None


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
