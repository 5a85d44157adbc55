"""Learning rates over the course of training."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

ScheduleName: TypeAlias = Literal["constant", "linear", "exponential", "cosine"]


def rate(
    name: ScheduleName, lr: float, done: float, epochs: int, *, decay: float, decay_every: int, warmup: float
) -> float:
    """Returns the learning rate after `done` epochs, a fraction included, of `epochs`.

    Args:
        name: `linear` and `cosine` fall to 0 at the horizon; `exponential` is multiplied by `decay` once every
            `decay_every` whole epochs.
        lr: The base rate.
        done: Epochs done, in 0..epochs.
        epochs: The horizon.
        decay: Factor of `exponential`.
        decay_every: Epochs between two decays.
        warmup: Epochs over which the rate first rises linearly from 0.
    """
    progress = min(done / epochs, 1.0)
    factor = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "exponential": decay ** (math.floor(done + 1e-9) // decay_every),
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }[name]
    rising = min(done / warmup, 1.0) if warmup > 0 else 1.0
    return lr * factor * rising
