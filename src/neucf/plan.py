"""Plan: one training asked for: model, settings, split and seeds, checked before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neucf.artifacts import open_run
from neucf.checks import checked_seed
from neucf.data.shares import parse_spec, parse_valid
from neucf.errors import ConfigError
from neucf.models import MODELS, Model
from neucf.models.config import Config

DEFAULT_SPLIT = "random:0.8/0.1/0.1"
KS = (10, 20)


@dataclass(frozen=True, slots=True)
class Plan:
    """One training asked for, everything but the data.

    Attributes:
        model: Registry name.
        settings: Fields of the model's config; values or their text forms.
        split: The split's spec.
        split_seed: Drives the split.
        valid: How validation is carved where the split has none.
        seed: Drives initialisation, sampling and order.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; None for every core.
        refit: Whether to train anew on train and validation for the epochs chosen; None: only for `fixed`.
        init_from: A run whose weights to start from.
        halves: Runs of a gmf and an mlp that a neumf starts from; its settings `gmf` and `mlp` say the same.
        protocol: How validation is evaluated once training ends.
        ks: List lengths of that evaluation.
    """

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    split: str = DEFAULT_SPLIT
    split_seed: int = 1
    valid: str | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    refit: bool | None = None
    init_from: Path | None = None
    halves: tuple[Path, Path] | None = None
    protocol: str = "full"
    ks: tuple[int, ...] = KS

    @property
    def refits(self) -> bool:
        """Whether the model is trained anew on train and validation."""
        return self.split == "fixed" if self.refit is None else self.refit

    @property
    def config(self) -> Config:
        """The model's settings, defaults and all; raises ConfigError at an unknown name, key or value."""
        return MODELS[self.model](**self.settings).config

    def new_model(self) -> Model:
        """Returns the unfitted model, with the weights it starts from; raises ConfigError."""
        model = MODELS[self.model](**self.settings)
        if self.init_from is not None:
            if not hasattr(model, "start_from"):
                raise ConfigError(
                    f"`--init-from` needs a model that starts from weights; got {self.model}. Leave it out."
                )
            model.start_from(open_run(self.init_from).model)
        return model

    @property
    def half_runs(self) -> tuple[Path, Path] | None:
        """The runs to start from by `halves` or by the settings `gmf` and `mlp`; raises ConfigError if unusable."""
        config = self.config
        named = (str(getattr(config, "gmf", "")), str(getattr(config, "mlp", "")))
        if self.halves is None and not any(named):
            return None
        if not hasattr(config, "gmf"):
            raise ConfigError(f"`halves` must be given to neumf only; got {self.model}. Leave them out.")
        if self.halves is None and not all(named):
            raise ConfigError(f"`gmf` and `mlp` must both name a run, or neither; got {named[0]!r} and {named[1]!r}.")
        return self.halves or (Path(named[0]), Path(named[1]))

    @property
    def metric(self) -> str | None:
        """What chooses the epoch, such as `ndcg@20`; None for models without epochs."""
        return getattr(self.config, "metric", None)

    def check(self) -> None:
        """Checks what can be checked before any data is read; raises ConfigError."""
        checked_seed(self.seed)
        self.new_model()
        _ = self.half_runs  # reading it checks it
        parse_spec(self.split)
        if self.valid is not None:
            parse_valid(self.valid)
        if self.device not in ("auto", "cpu"):
            from neucf.models.engine_choice import resolve_device

            resolve_device(self.device)
