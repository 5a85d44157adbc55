"""The routes of recommending: to users, to new people, and from items; and the search for items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from neucf.data.vocabulary import Id
from neucf.errors import UnknownIdError
from neucf.serving.filters import Filters
from neucf.serving.http import schemas
from neucf.serving.http.backend import Backend
from neucf.serving.http.problems import responses
from neucf.serving.live import Live, Options, Person

router = APIRouter(prefix="/v1", tags=["recommending"])
# A path parameter may hold slashes, as ids may.
PathId = Annotated[str, Path(max_length=200, description="An external id, percent-encoded.")]


def backend_of(request: Request) -> Backend:
    """Returns what answers; the application keeps it."""
    backend: Backend = request.app.state.backend
    return backend


def options_of(live: Live, listing: schemas.Listing) -> Options:
    """Returns a request's wishes in the terms of a run; raises HTTPException (422) at an item it does not know."""
    allow = None if listing.allow is None else tuple(item_ids(live, listing.allow, "allow"))
    filters = Filters(
        tuple(listing.genre), listing.year_from, listing.year_to, allow, tuple(item_ids(live, listing.deny, "deny"))
    )
    if isinstance(listing, schemas.Recommending):
        return Options(listing.k, listing.mask, filters, listing.diversity)
    return Options(listing.k, filters=filters)


def item_ids(live: Live, texts: Sequence[Id], field: str) -> list[Id]:
    """Returns ids of the catalogue by their text forms; raises HTTPException (422) at one that is none."""
    found = [live.item_ids.lookup(str(text)) for text in texts]
    if None in found:
        raise HTTPException(422, f"`{field}` must name what is in the catalogue; got {texts[found.index(None)]!r}.")
    return [live.item_ids.as_id(str(text)) for text in texts]


@router.get(
    "/users/{user_id:path}/recommendations",
    response_model=schemas.Suggestions,
    responses=responses(404, 422),
    operation_id="recommend_to_user",
)
async def recommend_to_user(
    request: Request, user_id: PathId, listing: Annotated[schemas.Recommending, Query()]
) -> Response:
    """Recommend to a user whom the run or an event knows, by everything known up to this moment."""
    backend = backend_of(request)
    live = backend.live(listing.model)
    answer = await backend.recommend(user_id, live, options_of(live, listing))
    return json_response(answer.to_json())


@router.post(
    "/recommendations",
    response_model=schemas.Suggestions,
    responses=responses(403, 408, 413, 415, 422),
    operation_id="recommend_to_history",
)
async def recommend_to_history(request: Request, body: schemas.HistoryBody) -> Response:
    """Recommend to somebody new by a history."""
    backend = backend_of(request)
    live = backend.live(body.model)
    liked = live.item_ids.indices(item_ids(live, body.history, "history"))
    person = Person(None, np.unique(liked).astype(np.int32), np.empty(0, np.int32))
    answer = await backend.recommend_history(person, live, options_of(live, body))
    matched = await backend.call(lambda: [live.service.named(item).to_json() for item in liked])
    return json_response({**answer.to_json(), "matched": matched})


@router.get(
    "/items/{item_id:path}/similar",
    response_model=schemas.SimilarItems,
    responses=responses(404, 422),
    operation_id="similar_items",
)
async def similar_items(request: Request, item_id: PathId, listing: Annotated[schemas.Listing, Query()]) -> Response:
    """List the items most similar to one."""
    backend = backend_of(request)
    live = backend.live(listing.model)
    if live.item_ids.lookup(item_id) is None:
        raise UnknownIdError("item", item_id)
    options = options_of(live, listing)
    answer = await backend.call(lambda: live.similar(item_id, options))
    return json_response(answer.to_json())


@router.get("/items", response_model=schemas.Items, responses=responses(422), operation_id="find_items")
async def find_items(request: Request, finding: Annotated[schemas.Finding, Query()]) -> Response:
    """Find items by title; without words, the most popular ones."""
    backend = backend_of(request)
    live = backend.live(finding.model)
    return json_response({"items": await backend.call(lambda: live.find(finding.q, finding.k))})


def json_response(value: Any, status: int = 200) -> Response:
    """Returns an answer as it is: what this package makes need not be validated again at every request."""
    return Response(json.dumps(value, ensure_ascii=False, allow_nan=False), status, media_type="application/json")
