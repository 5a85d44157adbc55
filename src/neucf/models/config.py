"""Config: the one frozen class in which a model declares, documents and checks its settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from neucf.errors import ConfigError


class Config(BaseModel):
    """Base of every model's settings. Help, TOML, docs tables and validation derive from its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


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
        raise ConfigError(f"`{key}` of {model}: {first['msg']}; got {first['input']!r}.") from None


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
    close = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names) or 'none'}."
    return f"`{what}` must be a {of}; got {got!r}. {hint}"


def unknown_name(what: str, got: str, known: Iterable[str], of: str) -> ConfigError:
    """Returns the error for a name that is not among the known ones, with the nearest of them."""
    return ConfigError(_unknown(what, got, known, of))
