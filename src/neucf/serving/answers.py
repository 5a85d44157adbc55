"""What recommending answers with, and how it reads as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from neucf.data.interactions import Id

Fallback: TypeAlias = Literal["popularity"]
# The largest integer that every JSON reader keeps exactly.
MAX_JSON_INT = 2**53


def json_id(external: Id | None) -> Id | None:
    """Returns an id as JSON takes it: an integer outside +-2^53 as a text, anything else as it is."""
    return str(external) if isinstance(external, int) and abs(external) > MAX_JSON_INT else external


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One suggestion.

    Attributes:
        item_id: External id.
        score: The model's score (or cosine similarity); compares within one list only.
        title: None where unknown.
        year: None where unknown.
        genres: Empty where unknown.
        because: Ids of the liked items that speak for it.
    """

    item_id: Id
    score: float
    title: str | None = None
    year: int | None = None
    genres: tuple[str, ...] = ()
    because: tuple[Id, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns item_id, title, score and because."""
        return {
            "item_id": json_id(self.item_id),
            "title": self.title,
            "score": self.score,
            "because": [json_id(reason) for reason in self.because],
        }


@dataclass(frozen=True, slots=True)
class Recommendations:
    """One person's suggestions.

    Attributes:
        user_id: External id; None for a person known by a history only.
        items: Best first; fewer than asked where fewer remain.
        fallback: `popularity` where nothing is known of the person; None where the model itself ranked.
        matched: Ids of the items that what was asked for was understood as.
    """

    user_id: Id | None
    items: tuple[RecommendedItem, ...]
    fallback: Fallback | None = None
    matched: tuple[Id, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns user_id, matched, fallback and items."""
        return {
            "user_id": json_id(self.user_id),
            "matched": [json_id(item) for item in self.matched],
            "fallback": self.fallback,
            "items": [item.to_json() for item in self.items],
        }


@dataclass(frozen=True, slots=True)
class Similar:
    """The items most similar to one item, best first, by the cosine of the model's item vectors."""

    item_id: Id
    items: tuple[RecommendedItem, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns item_id and items."""
        return {"item_id": json_id(self.item_id), "items": [item.to_json() for item in self.items]}


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One row of a user's own history, for display.

    Attributes:
        item_id: External id.
        rating: None where the data has none.
        title: None where unknown.
        year: None where unknown.
        genres: Empty where unknown.
    """

    item_id: Id
    rating: float | None
    title: str | None = None
    year: int | None = None
    genres: tuple[str, ...] = ()
