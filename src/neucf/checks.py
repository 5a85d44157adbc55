"""Checks: rules that arguments of many functions keep."""

from __future__ import annotations

import operator
from typing import Any

from neucf.errors import ConfigError

# What generators take.
MAX_SEED = 2**63 - 1


def as_integer(value: Any) -> int | None:
    """Returns an integer of any type, numpy's too, as Python's own; None for all else, flags included."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def checked_integer(
    name: str, value: Any, low: int, high: int | None = None, *, what: str = "an integer", fix: str = ""
) -> int:
    """Returns an integer as Python's own; raises ConfigError unless it is one in low..high.

    Args:
        name: The argument.
        value: What was given.
        low: The least.
        high: The greatest; None for no bound.
        what: What such a number is, such as `the catalogue`.
        fix: A sentence that says what to do, where the rule does not.
    """
    found = as_integer(value)
    if found is None or found < low or (high is not None and found > high):
        bounds = f"at least {low}" if high is None else f"in {low}..{high} ({what})"
        raise ConfigError(f"`{name}` must be {bounds}; got {value!r}." + (f" {fix}" if fix else ""))
    return found


def checked_seed(seed: Any, name: str = "seed", high: int = MAX_SEED) -> int:
    """Returns a seed as Python's own integer; raises ConfigError unless it is one in 0..high."""
    return checked_integer(name, seed, 0, high, fix="Write 0, for example.")
