"""What recommending answers with, and how it reads as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from neucf.data.titles import full_title
from neucf.data.vocabulary import Id

Fallback: TypeAlias = Literal["popularity"]
Placed: TypeAlias = Literal["genres"]
# The largest integer that every JSON reader keeps exactly.
MAX_JSON_INT = 2**53


def json_id(external: Id | None) -> Id | None:
    """Returns an id as JSON takes it: an integer outside +-2^53 as a text, anything else as it is."""
    return str(external) if isinstance(external, int) and abs(external) > MAX_JSON_INT else external


@dataclass(frozen=True, slots=True)
class NamedItem:
    """An item that something was understood as, or that is a reason.

    Attributes:
        item_id: External id.
        title: With its year; None where unknown.
    """

    item_id: Id
    title: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns item_id and title."""
        return {"item_id": json_id(self.item_id), "title": self.title}


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One suggestion.

    Attributes:
        item_id: External id.
        score: The model's score, or how similar it is; compares within one list only.
        title: Without its year; None where unknown.
        year: None where unknown.
        genres: Empty where unknown.
        placed: `genres` where nobody has touched the item and it stands where its genres put it; else None.
        because: The liked items that speak most for it, the strongest first.
    """

    item_id: Id
    score: float
    title: str | None = None
    year: int | None = None
    genres: tuple[str, ...] = ()
    placed: Placed | None = None
    because: tuple[NamedItem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns item_id, title (with its year), year, genres, score, placed and because."""
        return {
            "item_id": json_id(self.item_id),
            "title": None if self.title is None else full_title(self.title, self.year),
            "year": self.year,
            "genres": list(self.genres),
            "score": self.score,
            "placed": self.placed,
            "because": [reason.to_json() for reason in self.because],
        }


@dataclass(frozen=True, slots=True)
class Recommendations:
    """One person's suggestions.

    Attributes:
        user_id: External id; None for a person known by a history only.
        items: Best first; fewer than asked where fewer remain.
        fallback: `popularity` where nothing is known of the person; None where the model itself ranked.
        matched: The items that what was asked for was understood as.
    """

    user_id: Id | None
    items: tuple[RecommendedItem, ...]
    fallback: Fallback | None = None
    matched: tuple[NamedItem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns user_id, matched, fallback and items."""
        return {
            "user_id": json_id(self.user_id),
            "matched": [item.to_json() for item in self.matched],
            "fallback": self.fallback,
            "items": [item.to_json() for item in self.items],
        }


@dataclass(frozen=True, slots=True)
class Similar:
    """The items most similar to one item under the model, best first."""

    item_id: Id
    items: tuple[RecommendedItem, ...]
    title: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns item_id, title (with its year) and items."""
        return {
            "item_id": json_id(self.item_id),
            "title": self.title,
            "items": [item.to_json() for item in self.items],
        }


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

    def to_json(self) -> dict[str, Any]:
        """Returns item_id, title (with its year), year, genres and rating."""
        return {
            "item_id": json_id(self.item_id),
            "title": None if self.title is None else full_title(self.title, self.year),
            "year": self.year,
            "genres": list(self.genres),
            "rating": self.rating,
        }
