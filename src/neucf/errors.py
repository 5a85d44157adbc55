"""The errors neucf raises on purpose; each message names argument, rule, value received and fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence


class NeucfError(Exception):
    """Base of every error neucf raises on purpose.

    Attributes:
        exit_code: What the command line exits with: 1 where the work failed, 2 where the request was wrong.
    """

    exit_code = 1


class DataError(NeucfError):
    """An input file, frame or array breaks a rule."""

    exit_code = 2


class UnknownIdError(NeucfError):
    """An external id stands in no vocabulary."""

    exit_code = 2

    def __init__(self, kind: str, unknown: int | str, nearest: Sequence[int | str] = ()) -> None:
        hint = f" Nearest existing: {', '.join(map(str, nearest))}." if nearest else ""
        super().__init__(f"`{kind}_id` must be one of the {kind}s read; got {unknown!r}.{hint}")
        self.kind, self.unknown, self.nearest = kind, unknown, tuple(nearest)


class ConfigError(NeucfError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 2


class NotFittedError(NeucfError):
    """A model was asked for scores before `fit`."""


class TrainingError(NeucfError):
    """Training could not go on, such as at a non-finite loss."""


class DownloadError(NeucfError):
    """A data set could not be fetched from any of its sources."""


class ArtifactError(NeucfError):
    """A run folder is absent, incomplete, altered or of a version this neucf cannot read."""

    exit_code = 2


class StoreError(NeucfError):
    """The events' database cannot be opened, read or written."""


class ConflictError(NeucfError):
    """An event comes under the key of another one."""

    exit_code = 2


def broken(what: str, message: str) -> str:
    """Returns pydantic's message on an argument in neucf's words: `epochs` must be an integer."""
    text = message.removeprefix("Value error, ").partition(", unable to")[0]
    text = re.sub(r"\ba valid (?=([aeiou])?)", lambda found: "an " if found[1] else "a ", text)
    ruled = re.sub(r"^(\w+ should|must) ", f"{what} must ", text)
    return ruled if ruled != text else f"{what}: {text}"


def closest(got: str, known: Iterable[str]) -> str | None:
    """Returns the known name most like the one given, in any case; None where none is like it."""
    names = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(got.casefold(), names, n=1, cutoff=0.5)
    return names[close[0]] if close else None


def did_you_mean(got: str, known: Iterable[str], otherwise: str) -> str:
    """Returns the question for the known name most like the one given; `otherwise` where none is like it."""
    name = closest(got, known)
    return otherwise if name is None else f"Did you mean {name!r}?"
