"""Split and Candidates: what a model may learn from, what chooses it, what judges it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from neucf.data.interactions import Interactions, concatenate
from neucf.data.vocabulary import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Given lists of the sampled protocol: each held-out positive among its own negatives.

    Attributes:
        users: (L,) user of each list.
        positives: (L,) the held-out item of each list.
        negatives: (L, N) items the user has no positive on; -1 pads a list that lost its own positive or a duplicate.
    """

    users: IntArray
    positives: IntArray
    negatives: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Disjoint parts over the same vocabularies.

    Attributes:
        train: What the model learns from.
        valid: What chooses settings and epochs, or None.
        test: What judges the chosen model once, or None.
        valid_history: For users held out: what is known of the validation users; never in train.
        test_history: The same for the test users.
        candidates: Given lists of the sampled protocol, for the test part.
        notes: Sentences worth showing beside the sizes, such as how many users were too short to be held out.
    """

    train: Interactions
    valid: Interactions | None
    test: Interactions | None
    valid_history: Interactions | None = None
    test_history: Interactions | None = None
    candidates: Candidates | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = {name: getattr(self, name) for name in ("train", "valid", "test", "valid_history", "test_history")}
        sizes = (f"{name}: {len(part):,} rows" for name, part in parts.items() if part is not None)
        return f"Split({', '.join(sizes)})"

    @property
    def train_and_valid(self) -> Interactions:
        """What a model is trained anew on: train, validation, and what is known of users held out for it."""
        parts = (self.train, self.valid, self.valid_history)
        return reduce(concatenate, [part for part in parts if part is not None])
