"""What requests and answers look like, for validation and for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from neucf.data.vocabulary import Id
from neucf.serving.http.limits import MAX_HISTORY, MAX_K

_INT64 = 2**63


def _whole(value: Any) -> Any:
    """Returns 7.0 as 7: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value


# Control characters: PostgreSQL keeps no NUL, and a path no line break.
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Integer: TypeAlias = Annotated[StrictInt, Field(ge=-_INT64, lt=_INT64)]
ExternalId: TypeAlias = Annotated[Integer | Text, BeforeValidator(_whole)]
Timestamp: TypeAlias = Annotated[Integer, BeforeValidator(_whole)]
Year: TypeAlias = Annotated[int, Field(ge=-10_000, le=10_000)]


class Schema(BaseModel):
    """A request or an answer: it has the fields that are said, and no others."""

    model_config = ConfigDict(extra="forbid")


class EventBody(Schema):
    """One thing a user did."""

    user_id: ExternalId = Field(description="Known or new.")
    item_id: ExternalId = Field(description="In the catalogue of the run served.")
    key: ExternalId = Field(description="Makes the event this one: sent twice, it is kept once.")
    value: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = Field(
        None, description="A rating; absent for what has none, such as a click."
    )
    timestamp: Timestamp | None = Field(None, description="When it happened, in seconds since 1970; absent for now.")


class StoredEvent(Schema):
    """An event as it is kept; its key as text."""

    user_id: Id
    item_id: Id
    key: str
    value: float | None
    timestamp: int | None


class Erased(Schema):
    """What an erasure removed."""

    user_id: Id
    erased: int = Field(description="How many events there were.")


class Serving(Schema):
    """Which run answers."""

    model: Text | None = Field(None, description="A label of `GET /v1/models`; absent for the default run.")


class Listing(Serving):
    """How long a list is, and what may stand in it."""

    k: int = Field(10, ge=1, le=MAX_K, description="How many items; fewer where fewer remain.")
    genre: list[Text] = Field([], max_length=100, description="Only items of one of these genres.")
    year_from: Year | None = Field(None, description="Only items of this year or later.")
    year_to: Year | None = Field(None, description="Only items of this year or earlier.")
    allow: list[ExternalId] | None = Field(None, max_length=MAX_HISTORY, description="Only these items.")
    deny: list[ExternalId] = Field([], max_length=MAX_HISTORY, description="Never these items.")


class Recommending(Listing):
    """What a list of suggestions must be."""

    mask: Literal["default", "positives", "none"] = Field(
        "default",
        description="What is never suggested: what the user is known to have (`positives`), and what is known to be "
        "rated low (`default`), or nothing (`none`).",
    )
    diversity: float = Field(0.0, ge=0, le=1, description="How much each item should differ from those above it.")


class Finding(Serving):
    """What to look for among the titles."""

    q: str = Field(
        "", max_length=200, description="Words of a title, in any case and accents; without, what is popular."
    )
    k: int = Field(10, ge=1, le=MAX_K, description="How many items, at most.")


class Remembering(Serving):
    """How much of a history to show."""

    k: int = Field(50, ge=1, le=MAX_K, description="How many items, at most.")


class HistoryBody(Recommending):
    """Somebody by what they like, and what the list must be."""

    # A query is text, but JSON has types of its own.
    model_config = ConfigDict(strict=True)

    history: list[ExternalId] = Field(
        max_length=MAX_HISTORY, description="Items of the catalogue that they like; none gets what is popular."
    )


class Named(Schema):
    """An item by name."""

    item_id: Id
    title: str | None


class Suggestion(Named):
    """One suggested item."""

    year: int | None
    genres: list[str]
    score: float = Field(description="Compares within one list only.")
    placed: Literal["genres"] | None = Field(
        description="`genres` where nobody has touched the item and its genres alone place it."
    )
    because: list[Named] = Field(description="The liked items that speak most for it.")


class Suggestions(Schema):
    """A list of suggestions, best first."""

    user_id: Id | None = Field(description="Null for somebody known by a history only.")
    matched: list[Named] = Field(description="The items that a history was understood as.")
    fallback: Literal["popularity"] | None = Field(
        description="`popularity` where nothing is known of the user to go by."
    )
    items: list[Suggestion]


class SimilarItems(Named):
    """The items most similar to one, most similar first."""

    items: list[Suggestion]


class Item(Named):
    """One item of the catalogue."""

    year: int | None
    genres: list[str]


class Items(Schema):
    """Items whose titles match, best first."""

    items: list[Item]


class Done(Item):
    """One item of a user's history."""

    rating: float | None
    source: Literal["event", "run"] = Field(description="Whether an event tells of it, or the run's data.")


class History(Schema):
    """What a user is known to have done: events first, the latest first; then the best rated."""

    user_id: Id
    items: list[Done]


class RunSummary(Schema):
    """A run that is served, in short."""

    label: str = Field(description="The name of its folder, for the parameter `model`.")
    model: str
    data: str | None = Field(description="The data set it was trained on.")
    split: str | None
    seed: int | None
    num_users: int
    num_items: int
    loaded_at: float = Field(description="Seconds since 1970.")


class RunList(Schema):
    """The runs that are served, the default one first."""

    default: str
    models: list[RunSummary]


class Metric(Schema):
    """A mean over users, and its 95 % interval where there is one."""

    mean: float
    ci95: tuple[float, float] | None


class ModelInfo(RunSummary):
    """The run that is served."""

    config: dict[str, Any]
    min_rating: float | None = Field(description="The least rating of a positive; null where every row is one.")
    genres: list[str] = Field(description="What `genre` may be.")
    years: tuple[int, int] | None = Field(description="The first and the last year of the catalogue.")
    user_examples: list[Id] = Field(description="Some users it knows.")
    valid_metrics: dict[str, Metric] = Field(description="On validation.")
    trained_with: dict[str, str] = Field(description="Versions.")


class CurvePoint(Schema):
    """One epoch of training."""

    epoch: int
    loss: float | None
    value: float | None = Field(description="The leaderboard's metric on validation; null between evaluations.")


class LeaderboardEntry(RunSummary):
    """A run on the leaderboard."""

    protocol: str | None
    num_users_judged: int | None
    train_seconds: float | None
    metrics: dict[str, Metric]
    curve: list[CurvePoint]


class Leaderboard(Schema):
    """The runs that are served, by their metrics on validation, the best first."""

    on: Literal["valid"]
    metric: str = Field(description="What they are ordered by.")
    models: list[LeaderboardEntry]


class MapPoint(Item):
    """One item on the map."""

    x: float
    y: float


class Map(Schema):
    """The most popular items in the plane of their vectors' two principal axes, each coordinate in -1..1."""

    label: str
    explained: tuple[float, float] = Field(description="The share of variance that each axis shows.")
    points: list[MapPoint]


class Status(Schema):
    """Whether the service is well."""

    status: Literal["ok"]
