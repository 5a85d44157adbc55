"""Tables of a recipe: each a frozen class whose fields carry type, default and what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neucf.data.catalog import CATALOG
from neucf.data.shares import WAYS_WITH_SHARES, parse_spec, parse_valid
from neucf.errors import ConfigError
from neucf.experiment.budget import Budget
from neucf.experiment.selection import at_k, metric_names
from neucf.models.config import unknown_name
from neucf.plan import DEFAULT_SPLIT


class Table(BaseModel):
    """A table of a recipe: what it does not know, it refuses."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataTable(Table):
    """[data]: what is read, and how it is split."""

    source: str = Field(description="A named data set, never a path.")
    min_rating: float | None = Field(None, description="Rows rated at least this are positives; None: the set's own.")
    split: str = Field(DEFAULT_SPLIT, description="The split's spec.")
    split_seed: int = Field(1, ge=0, description="Drives the split.")
    valid: str | None = Field(None, description="How validation is carved where the split has none.")
    refit: bool | None = Field(None, description="Train anew on train and validation; None: only for `fixed`.")

    @model_validator(mode="after")
    def _check(self) -> DataTable:
        if self.source not in CATALOG:
            raise unknown_name("data.source", self.source, CATALOG, "named data set, as recipes must run anywhere")
        way, shares = parse_spec(self.split)
        if self.valid is not None:
            parse_valid(self.valid)
        if way == "none" or (way in WAYS_WITH_SHARES and not shares.test):
            raise ConfigError(f"`data.split` of a recipe must hold out a test part; got {self.split!r}.")
        if way in WAYS_WITH_SHARES and not shares.valid and self.valid is None:
            raise ConfigError(
                f"`data.split` must hold out validation, which chooses the epochs; got {self.split!r}. "
                "Give it a share, or say how to carve it: valid = 'random:0.1'."
            )
        return self


class EvaluationTable(Table):
    """[evaluation]: the protocol of every number, and what chooses epochs and orders the leaderboard."""

    protocol: Literal["full", "sampled"] = "full"
    ks: tuple[Annotated[int, Field(ge=1, lt=2**31)], ...] = Field((10, 20), min_length=1)
    select: str = Field(
        "ndcg@20", description="The metric on validation that chooses, and that tests are corrected on."
    )
    reference: str | None = Field(None, description="Label of the model that all others are compared with, by user.")
    best_of: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Name to labels: the best of them on validation, of each split anew."
    )

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics this protocol gives."""
        return metric_names(self.protocol, self.ks)

    @model_validator(mode="after")
    def _check(self) -> EvaluationTable:
        if self.select not in self.metrics or "@" not in self.select:
            known = at_k(self.metrics)
            raise unknown_name("evaluation.select", self.select, known, f"metric of {self.protocol} at one of `ks`")
        return self


class TuneTable(Table):
    """tune: how much is tried on validation before a model is trained; its other keys stay as they are."""

    trials: int | None = Field(None, ge=1, description="Sets of settings tried.")
    minutes: float | None = Field(None, gt=0, description="Minutes of trying; with `trials`, until either.")

    @property
    def budget(self) -> Budget:
        """What is spent."""
        return Budget(self.trials, self.minutes)

    @model_validator(mode="after")
    def _check(self) -> TuneTable:
        _ = self.budget  # making it checks it
        return self


class ModelTable(Table):
    """[[models]]: one line of the leaderboard; every further key is a setting of the model."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    label: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Unique; begins with the model's name.")
    model: str = Field(description="Registry name.")
    halves: tuple[str, str] | None = Field(None, description="Labels of a gmf and an mlp that a neumf starts from.")
    tune: TuneTable | None = Field(None, description="How much is tried to find the settings not given.")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings given, by key."""
        return dict(self.model_extra or {})


class PublishedTable(Table):
    """[published.LABEL]: a number somebody else reached on the same data by the same protocol."""

    metrics: dict[str, float]
    source: str
    beside: str | None = Field(None, description="The label of ours it is shown beside.")
    selected_on_test: bool = Field(False, description="Whether its authors chose epochs or settings on test.")
