"""Recipe: a TOML file that says which models are trained on what, how they are judged, and what was published."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field, model_validator

from neucf.data.dataset import Dataset
from neucf.errors import ConfigError
from neucf.experiment.budget import Budget
from neucf.experiment.recipe_tables import DataTable, EvaluationTable, ModelTable, PublishedTable, Table
from neucf.experiment.selection import choosing
from neucf.experiment.tuning import space_of
from neucf.models import MODELS
from neucf.models.config import unknown_name
from neucf.plan import Plan

HALVES = ("gmf", "mlp")


class Recipe(Table):
    """A checked recipe."""

    name: str
    data: DataTable
    evaluation: EvaluationTable = Field(default_factory=EvaluationTable)  # type: ignore[arg-type]
    models: tuple[ModelTable, ...] = Field(min_length=1)
    published: dict[str, PublishedTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        for entry in self.models:
            self._check_names(entry)
        for entry in self.models:
            self._check_halves(entry)
        self._check_compared()
        self._check_budgets()
        for entry in self.in_order:
            self.plan(entry).check()
            if entry.tune is not None:
                space_of(self.plan(entry))
        for label, number in self.published.items():
            if number.beside is not None and number.beside not in self.by_label:
                raise unknown_name(f"published.{label}.beside", number.beside, self.by_label, "label of this recipe")
            for metric in number.metrics:
                if metric not in self.evaluation.metrics:
                    raise unknown_name(
                        f"published.{label}.metrics", metric, self.evaluation.metrics, "metric of this recipe"
                    )
        return self

    def _check_names(self, entry: ModelTable) -> None:
        if sum(other.label == entry.label for other in self.models) > 1:
            raise ConfigError(f"`label` must be unique in a recipe; {entry.label!r} stands twice. Rename one.")
        _ = MODELS[entry.model]
        if entry.label != entry.model and not entry.label.startswith(f"{entry.model}-"):
            raise ConfigError(
                f"`label` must be the model's name, or begin with it and a dash; got {entry.label!r} for {entry.model}."
            )

    def _check_halves(self, entry: ModelTable) -> None:
        if entry.halves is not None and entry.model != "neumf":
            raise ConfigError(f"`halves` must be given to neumf only; {entry.label} is a {entry.model}. Remove it.")
        for half, model in zip(entry.halves or (), HALVES, strict=False):
            if half not in self.by_label:
                raise unknown_name(f"{entry.label}.halves", half, self.by_label, "label of this recipe")
            found = self.by_label[half].model
            if found != model:
                raise ConfigError(f"`halves` of {entry.label} must name a gmf, then an mlp; {half} is a {found}.")

    def _check_compared(self) -> None:
        reference, best_of = self.evaluation.reference, self.evaluation.best_of
        if reference is not None and reference not in self.by_label:
            raise unknown_name("evaluation.reference", reference, self.by_label, "label of this recipe")
        for name, labels in best_of.items():
            if name in self.by_label:
                raise ConfigError(f"`evaluation.best_of` must have names that are no labels; got {name!r}. Rename it.")
            if not labels or reference in labels:
                raise ConfigError(
                    f"`evaluation.best_of.{name}` must list labels other than the reference; got {list(labels)}."
                )
            for label in labels:
                if label not in self.by_label:
                    raise unknown_name(f"evaluation.best_of.{name}", label, self.by_label, "label of this recipe")

    def _check_budgets(self) -> None:
        # A model that was tried for longer is ahead by that too.
        given = {str(budget): label for label, budget in self.budgets.items()}
        if len(given) > 1:
            (first, label), (other, other_label) = list(given.items())[:2]
            raise ConfigError(
                f"`tune` must give all models of a recipe one budget; {label} has {first} and {other_label} has "
                f"{other}. Give them the same."
            )

    @cached_property
    def by_label(self) -> dict[str, ModelTable]:
        """The models by their labels."""
        return {entry.label: entry for entry in self.models}

    @property
    def budgets(self) -> dict[str, Budget]:
        """The budget of each model that is tuned, by label."""
        return {entry.label: entry.tune.budget for entry in self.models if entry.tune is not None}

    @property
    def in_order(self) -> list[ModelTable]:
        """The models, those that start from others after them."""
        return sorted(self.models, key=lambda entry: entry.halves is not None)

    def settings(
        self, entry: ModelTable, tuned: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Returns a model's settings: the recipe's way to choose epochs, what its halves say of it, then its own.

        Args:
            entry: The model.
            tuned: Settings found by tuning, by label.
        """
        settings: dict[str, Any] = choosing(entry.model, self.evaluation.select, self.evaluation.protocol)
        if entry.halves is not None:
            halves = [
                MODELS[self.by_label[half].model](**self.settings(self.by_label[half], tuned)) for half in entry.halves
            ]
            gmf, mlp = (half.config.model_dump() for half in halves)
            settings |= {"tower": mlp["tower"]} | {key: gmf[key] for key in ("dim", "loss", "cosine")}
        return {**settings, **entry.settings, **tuned.get(entry.label, {})}

    def on_data(self, dataset: Dataset) -> Recipe:
        """Returns the recipe on other data than its own, of which nothing was published."""
        found = {"source": dataset.name, "min_rating": dataset.settings.get("min_rating")}
        return self.model_copy(update={"data": self.data.model_copy(update=found), "published": {}})

    def on_split(self, split_seed: int) -> Recipe:
        """Returns the recipe with another split seed."""
        return self.model_copy(update={"data": self.data.model_copy(update={"split_seed": split_seed})})

    def plan(
        self,
        entry: ModelTable,
        seed: int = 0,
        out: Path = Path(),
        tuned: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
        **more: Any,
    ) -> Plan:
        """Returns one training; its halves lie in `out`; `more` are further fields of Plan."""
        halves = None if entry.halves is None else tuple(out / run_name(half, seed) for half in entry.halves)
        return Plan(
            model=entry.model,
            settings=self.settings(entry, tuned),
            split=self.data.split,
            split_seed=self.data.split_seed,
            valid=self.data.valid,
            refit=self.data.refit,
            seed=seed,
            halves=halves,  # type: ignore[arg-type]
            protocol=self.evaluation.protocol,
            ks=tuple(sorted(set(self.evaluation.ks))),
            **more,
        )


def run_name(label: str, seed: int) -> str:
    """Returns the name of the run folder of a label and a seed."""
    return f"{label}-seed{seed}"


def study_name(label: str, split_seed: int) -> str:
    """Returns the name of the folder in which a label is tuned on a split."""
    return f"{label}-split{split_seed}-tune"
