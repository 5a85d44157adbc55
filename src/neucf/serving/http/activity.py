"""The routes of what users did: events in and out, and what is known of a user."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from neucf.errors import ConflictError, UnknownIdError
from neucf.serving.answers import json_id
from neucf.serving.events import Event
from neucf.serving.http import schemas
from neucf.serving.http.metrics import Metrics
from neucf.serving.http.problems import responses
from neucf.serving.http.routes import PathId, backend_of, item_ids, json_response

router = APIRouter(prefix="/v1", tags=["activity"])


@router.post(
    "/events",
    response_model=schemas.StoredEvent,
    status_code=201,
    responses={
        200: {"model": schemas.StoredEvent, "description": "The same event was there already."},
        **responses(403, 408, 409, 413, 415, 422),
    },
    operation_id="add_event",
)
async def add_event(request: Request, body: schemas.EventBody) -> Response:
    """Keep what a user did; the answer comes once it is on the disk, and the user's next list knows it."""
    backend = backend_of(request)
    metrics: Metrics = request.app.state.metrics
    live = backend.live(None)
    item_ids(live, [body.item_id], "item_id")
    event = Event(str(body.user_id), str(body.item_id), str(body.key), body.value, body.timestamp)
    try:
        added = await backend.add(event)
    except ConflictError:
        metrics.events.labels("conflict").inc()
        raise
    metrics.events.labels(added).inc()
    stored = {name: getattr(event, name) for name in schemas.StoredEvent.model_fields}
    stored["user_id"] = json_id(live.user_ids.as_id(event.user_id))
    stored["item_id"] = json_id(live.item_ids.as_id(event.item_id))
    return json_response(stored, 201 if added == "created" else 200)


@router.delete(
    "/users/{user_id:path}/events",
    response_model=schemas.Erased,
    responses=responses(403, 404, 415, 422),
    operation_id="erase_events",
)
async def erase_events(request: Request, user_id: PathId) -> Response:
    """Erase all events of a user. A run trained on them holds them still: train it anew."""
    backend = backend_of(request)
    erased = await backend.erase(user_id)
    return json_response({"user_id": json_id(backend.live(None).user_ids.as_id(user_id)), "erased": erased})


@router.get(
    "/users/{user_id:path}/history",
    response_model=schemas.History,
    responses=responses(404, 422),
    operation_id="user_history",
)
async def user_history(
    request: Request, user_id: PathId, remembering: Annotated[schemas.Remembering, Query()]
) -> Response:
    """Show what a user is known to have done: events first, the latest first; then the best rated."""
    backend = backend_of(request)
    live = backend.live(remembering.model)
    rows = await backend.call(lambda: live.history(user_id, backend.store.history(user_id), remembering.k))
    if rows is None:
        raise UnknownIdError("user", user_id)
    return json_response({"user_id": json_id(live.user_ids.as_id(user_id)), "items": rows})
