"""What a split is asked to be: `random:0.8/0.1/0.1` and `random:0.1`, parsed into exact shares and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from neucf.errors import ConfigError, did_you_mean

WAYS_WITH_SHARES = ("random", "random-user", "temporal", "temporal-user", "users")
WAYS = (*WAYS_WITH_SHARES, "leave-last-out", "fixed", "none")
CARVED_SHARES = ("last", "random")


@dataclass(frozen=True, slots=True)
class Shares:
    """Exact shares of train, validation and test; they sum to 1.

    Sizes follow two calls of scikit-learn's `train_test_split`: first what is held out, then the test part of it,
    each rounded up.
    """

    train: Fraction
    valid: Fraction
    test: Fraction

    def sizes(self, num_rows: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns how many of `num_rows` (any shape) are validation, and how many test."""
        held = self.held(num_rows)
        test = self.test_of(held)
        return held - test, test

    def held(self, num_rows: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Returns how many of `num_rows` are held out of train."""
        return np.ceil(float(self.valid + self.test) * np.asarray(num_rows)).astype(np.int64)

    def test_of(self, num_held: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Returns how many of the held-out rows are test."""
        held_share = self.valid + self.test
        return np.ceil(float(self.test / held_share if held_share else 0) * np.asarray(num_held)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Carving:
    """What validation is carved from train: `latest-item`, or by a share, `last` of each user's rows or `random`."""

    way: str
    share: Fraction = Fraction(0)

    def __str__(self) -> str:
        return f"{self.way}:{float(self.share):g}" if self.share else self.way


def parse_spec(spec: str) -> tuple[str, Shares]:
    """Turns `name` or `name:train/valid/test` into the way and its shares (all train where a way takes none).

    Raises:
        ConfigError: At an unknown name, or shares that are not three numbers in 0..1 with sum 1 and some train.
    """
    way, colon, text = str(spec).partition(":")
    if way not in WAYS:
        hint = did_you_mean(way, WAYS, "Write random:0.8/0.1/0.1, for example.")
        raise ConfigError(f"`split` must be one of {', '.join(WAYS)}; got {spec!r}. {hint}")
    if way not in WAYS_WITH_SHARES:
        if colon:
            raise ConfigError(f"`split` {way} takes no shares; got {spec!r}. Write {way}.")
        return way, Shares(Fraction(1), Fraction(0), Fraction(0))

    example = f"Write {way}:0.8/0.1/0.1, for example."
    numbers = text.split("/")
    if len(numbers) != 3:
        raise ConfigError(f"`split` {way} takes three shares, train/valid/test; got {spec!r}. {example}")
    train, valid, test = (_share(number, spec) for number in numbers)
    total = train + valid + test
    if total != 1:
        raise ConfigError(f"`split` shares must sum to 1; got {spec!r}, with sum {float(total):g}. {example}")
    if not train:
        raise ConfigError(f"`split` must leave a share for train; got {spec!r}. {example}")
    return way, Shares(train, valid, test)


def parse_valid(valid: str) -> Carving:
    """Turns `latest-item`, `last:0.1` or `random:0.1` into what to carve from train; raises ConfigError."""
    if valid == "latest-item":
        return Carving(valid)
    way, _, text = str(valid).partition(":")
    share = _number(text)
    if way not in CARVED_SHARES or not 0 < share < 1:
        raise ConfigError(
            f"`valid` must be latest-item, last:SHARE or random:SHARE, 0 < SHARE < 1; got {valid!r}. Write random:0.1."
        )
    return Carving(way, Fraction(repr(share)))


def _share(text: str, spec: str) -> Fraction:
    value = _number(text)
    if not 0 <= value <= 1:
        raise ConfigError(f"`split` shares must be numbers in 0..1; got {text!r} in {spec!r}. Write 0.1 for 10 %.")
    # By its shortest decimal: 0.1 is a tenth exactly, so 0.8/0.1/0.1 sums to 1.
    return Fraction(repr(value))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
