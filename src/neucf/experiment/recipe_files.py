"""Recipe files: where they lie, how they are read, and what is wrong with one, in a sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import neucf
from neucf.errors import ConfigError, DataError, broken
from neucf.experiment.recipe import Recipe
from neucf.experiment.recipe_tables import DataTable, EvaluationTable, PublishedTable, Table, TuneTable
from neucf.models.config import unknown_name


def recipe_names() -> list[str]:
    """Returns the names of the recipes that come with neucf."""
    return sorted(file.stem for file in _folder().glob("*.toml"))


def recipe_file(path_or_name: str | Path) -> Path:
    """Returns the file of a recipe: a path, or the name of one that comes along; raises ConfigError."""
    file = Path(path_or_name)
    if not file.is_file():
        file = _folder() / f"{path_or_name}.toml"
    if not file.is_file() or (Path(path_or_name).suffix == ".toml" and file.parent == _folder()):
        names, wanted = ", ".join(recipe_names()), Path(path_or_name)
        if wanted.is_dir():
            found = "is a folder"
        else:
            found = "does not exist" if wanted.suffix or wanted.name != str(path_or_name) else "is neither"
        raise ConfigError(f"`recipe` must be a TOML file, or one of {names}; {path_or_name} {found}.")
    return file


def load_recipe(path_or_name: str | Path) -> Recipe:
    """Reads and checks a recipe.

    Args:
        path_or_name: A TOML file, or the name of a recipe that comes with neucf.

    Raises:
        ConfigError: If there is none, or something in it is unknown, missing, malformed or out of range.
    """
    file = recipe_file(path_or_name)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{file} must be TOML; it cannot be read ({error}).") from None
    if "name" in document:
        raise ConfigError(f"{file}: `name` must not be given: the file's own name is the recipe's. Remove it.")
    try:
        return Recipe.model_validate({**document, "name": file.stem})
    except ValidationError as error:
        raise _explained(file, error, document) from None
    except (ConfigError, DataError) as error:
        raise ConfigError(f"{file}: {error}") from None


def _folder() -> Path:
    """Returns where the recipes lie: inside an installed neucf, else beside the sources."""
    package = Path(neucf.__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"


def _explained(file: Path, error: ValidationError, document: Mapping[str, Any]) -> ConfigError:
    """Returns the first thing wrong with a recipe, in one sentence."""
    # A misspelt key is missing as well, and the misspelling says more.
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    *outer, key = first["loc"]
    if isinstance(key, int) and outer != ["models"]:
        key, first["type"] = outer.pop(), "item"
    place = _place(outer, document)
    if first["type"] == "extra_forbidden":
        return ConfigError(f"{file}: {unknown_name(str(key), str(key), _keys(outer), f'key of {place}')}")
    if first["type"] == "missing":
        return ConfigError(f"{file}: `{key}` must be given in {place}; it is missing. Add it.")
    return ConfigError(f"{file}: {broken(f'`{key}` in {place}', first['msg'])}; got {first['input']!r}.")


def _place(outer: Iterable[str | int], document: Mapping[str, Any]) -> str:
    where = list(outer)
    if where[:1] == ["models"] and len(where) > 1:
        entry = document["models"][where[1]]
        label = entry.get("label", where[1]) if isinstance(entry, dict) else where[1]
        return "".join((f"[[models]] {label}", *(f", {key}" for key in where[2:])))
    return f"[{'.'.join(map(str, where))}]" if where else "the recipe"


def _keys(outer: list[str | int]) -> list[str]:
    tables: dict[str, type[Table]] = {
        "data": DataTable,
        "evaluation": EvaluationTable,
        "tune": TuneTable,
        "published": PublishedTable,
    }
    table = next((tables[str(key)] for key in (*outer[-1:], *outer[:1]) if key in tables), Recipe)
    return [key for key in table.model_fields if key != "name"]
