"""Budget: how much a study may try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neucf.errors import ConfigError
from neucf.experiment.studies import Trial


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be tried: so many trials, so many minutes of them, or whichever is spent first.

    Attributes:
        trials: Of a study in all, over every sitting.
        minutes: The same in minutes of training and validation.
    """

    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.trials is None and self.minutes is None:
            raise ConfigError("`trials` or `minutes` must say how much may be tried; got neither. Give --trials 30.")
        if self.trials is not None and self.trials < 1:
            raise ConfigError(f"`trials` must be at least 1; got {self.trials}.")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"`minutes` must be above 0; got {self.minutes}.")

    def __str__(self) -> str:
        trials = "" if self.trials is None else f"{self.trials} trial{'s' if self.trials > 1 else ''}"
        minutes = "" if self.minutes is None else f"{self.minutes:g} minutes"
        return " or ".join(filter(None, (trials, minutes)))

    def spent(self, trials: Sequence[Trial]) -> bool:
        """Whether nothing more may be tried."""
        return (self.trials is not None and len(trials) >= self.trials) or self.seconds_left(trials) <= 0

    def within(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Returns the trials that this pays for, of a study that a larger one may have added to."""
        count = next((n for n in range(len(trials)) if self.spent(trials[:n])), len(trials))
        return trials[:count]

    def resumes(self, trials: Sequence[Trial]) -> bool:
        """Whether the last trial was cut by less time than this has, and is to be tried again."""
        if not trials or not trials[-1].cut:
            return False
        *before, last = trials
        return not self.spent(before) and self.seconds_left(before) > last.seconds

    def seconds_left(self, trials: Sequence[Trial]) -> float:
        """Returns the seconds that the next trial may take."""
        if self.minutes is None:
            return float("inf")
        return 60 * self.minutes - sum(trial.seconds for trial in trials)
