"""The routes of the runs that are served: which, how good, and the map of their items; and the reload."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from neucf.errors import NeucfError
from neucf.serving.http import describing, schemas
from neucf.serving.http.backend import Backend
from neucf.serving.http.metrics import Metrics
from neucf.serving.http.problems import responses
from neucf.serving.http.routes import backend_of, json_response
from neucf.serving.http.runs import Runs

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models", response_model=schemas.RunList, responses=responses(), operation_id="models")
async def models(request: Request) -> Response:
    """List the runs that are served."""
    return json_response(_listed(backend_of(request).runs))


@router.get("/model", response_model=schemas.ModelInfo, responses=responses(422), operation_id="model")
async def model(request: Request, serving: Annotated[schemas.Serving, Query()]) -> Response:
    """Describe a run that is served."""
    backend = backend_of(request)
    live = backend.live(serving.model)
    return json_response(await backend.call(lambda: describing.description(live)))


@router.get("/leaderboard", response_model=schemas.Leaderboard, responses=responses(), operation_id="leaderboard")
async def leaderboard(request: Request) -> Response:
    """Compare the runs that are served, by their metrics on validation."""
    backend = backend_of(request)
    return json_response(await backend.call(lambda: describing.leaderboard(backend.runs)))


@router.get("/map", response_model=schemas.Map, responses=responses(422), operation_id="item_map")
async def item_map(request: Request, serving: Annotated[schemas.Serving, Query()]) -> Response:
    """Show the most popular items as points; 422 for a model without item vectors."""
    backend = backend_of(request)
    live = backend.live(serving.model)
    return json_response(await backend.call(lambda: describing.points(live)))


@router.post(
    "/model:reload", response_model=schemas.RunList, responses=responses(403, 409, 415), operation_id="reload_model"
)
async def reload_model(request: Request) -> Response:
    """Serve what now stands in the run folders, without dropping a request; if that can't be, nothing changes."""
    return json_response(_listed(await reload(backend_of(request), request.app.state.metrics)))


async def reload(backend: Backend, metrics: Metrics) -> Runs:
    """Serves the runs anew; raises HTTPException (409) where they can't be opened."""
    try:
        runs = await backend.reload()
    except NeucfError as error:
        metrics.reloads.labels("failed").inc()
        raise HTTPException(409, f"{error} What was served before goes on being served.") from None
    metrics.reloads.labels("done").inc()
    metrics.loaded.set(runs[runs.default].loaded_at)
    return runs


def _listed(runs: Runs) -> dict[str, object]:
    return {"default": runs.default, "models": [describing.summary(live) for live in runs.values()]}
