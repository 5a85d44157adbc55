"""Config: the one frozen class in which a model declares, documents and checks its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from neucf.errors import ConfigError, broken, did_you_mean


class Config(BaseModel):
    """Base of every model's settings. Help, TOML, docs tables and validation derive from its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


@dataclass(frozen=True, slots=True)
class Tunable:
    """Where `neucf tune` looks for a setting: a range or a few choices. Stands in the annotation of the field's type.

    A class that changes the default of an inherited field keeps where it is looked for, unless it annotates anew; an
    empty `Tunable()` leaves the field alone.

    Attributes:
        low: The least value; an integer for a field of integers.
        high: The greatest value.
        log: Whether to look evenly on a logarithmic scale.
        choices: The values of what has no order.
        when: A field that stands before this one, and its values at which this one has any effect.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.choices) or self.low is not None

    def __str__(self) -> str:
        if self.choices:
            where = ", ".join(str(as_typed(choice)) for choice in self.choices)
        else:
            where = f"{self.low:g} to {self.high:g}" + (", log" if self.log else "")
        return f"{where}, if {self.when[0]}={'|'.join(map(str, self.when[1:]))}" if self.when else where

    def matters(self, config: Config, drawn: Mapping[str, Any]) -> bool:
        """Whether the field has any effect on a config once some of its fields take the values drawn."""
        if not self.when:
            return True
        field, *values = self.when
        if drawn.get(field, getattr(config, field)) not in values:
            return False
        condition = tunables(type(config)).get(field)
        return condition is None or condition.matters(config, drawn)


def as_typed(value: Any) -> Any:
    """Returns a value as one types it: a tuple of numbers joined by dashes, others as they are."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def tunables(config_class: type[Config]) -> dict[str, Tunable]:
    """Returns where each setting of a model is looked for, by key; the nearest class that annotates it says so."""
    found: dict[str, Tunable] = {}
    for each in reversed(config_class.__mro__):
        for name, field in getattr(each, "model_fields", {}).items():
            found.update((name, mark) for mark in field.metadata if isinstance(mark, Tunable))
    return {name: found[name] for name in config_class.model_fields if found.get(name)}


def search_space(config: Config) -> dict[str, Tunable]:
    """Returns what is looked for around a config: all that was not given when it was built, conditions last."""
    found, given = tunables(type(config)), config.model_fields_set

    def possible(name: str) -> bool:
        if name not in found or not found[name].when:
            return True
        field, *values = found[name].when
        drawn = field in found and field not in given
        return (drawn or getattr(config, field) in values) and possible(field)

    free = [name for name in found if name not in given and possible(name)]
    return {name: found[name] for name in sorted(free, key=lambda name: bool(found[name].when))}


def build_config(config_class: type[Config], model: str, settings: Mapping[str, Any]) -> Config:
    """Checks settings (values or their text forms) and returns the config.

    Args:
        config_class: The model's config class.
        model: The registry name, for errors.
        settings: Key to value.

    Raises:
        ConfigError: At the first unknown key, wrong type or value out of range.
    """
    for key in settings:
        if key not in config_class.model_fields:
            raise ConfigError(_unknown("key", key, config_class.model_fields, f"setting of {model}"))
    try:
        return config_class(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "settings"
        raise ConfigError(f"{broken(f'`{key}` of {model}', first['msg'])}; got {first['input']!r}.") from None


def parse_settings(pairs: Iterable[str]) -> dict[str, str]:
    """Turns `key=value` texts, as given to `--set`, into a mapping; raises ConfigError at a malformed one."""
    settings: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"`--set` takes key=value, such as dim=64; got {pair!r}.")
        settings[key.strip()] = value.strip()
    return settings


def _unknown(what: str, got: str, known: Iterable[str], of: str) -> str:
    names = sorted(known)
    hint = did_you_mean(str(got), names, f"Known: {', '.join(names) or 'none'}.")
    return f"`{what}` must be a {of}; got {got!r}. {hint}"


def unknown_name(what: str, got: str, known: Iterable[str], of: str) -> ConfigError:
    """Returns the error for a name that is not among the known ones, with the nearest of them."""
    return ConfigError(_unknown(what, got, known, of))
