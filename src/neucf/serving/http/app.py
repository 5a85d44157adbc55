"""make_app: the ASGI application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from neucf import __version__
from neucf.serving.http import activity, models, operations, routes
from neucf.serving.http.backend import Backend
from neucf.serving.http.guard import Guard
from neucf.serving.http.limits import MAX_IN_FLIGHT
from neucf.serving.http.metrics import Metrics
from neucf.serving.http.problems import FieldError, Problem, handle_errors
from neucf.serving.http.shell import Shell

PAGE = Path(__file__).parents[1] / "page"


def make_app(backend: Backend, guard: Guard, metrics: Metrics, *, max_in_flight: int = MAX_IN_FLIGHT) -> ASGIApp:
    """Returns the application that answers by a backend, under the rules of a guard.

    Args:
        backend: What answers; closing it is the caller's.
        guard: Who may ask.
        metrics: What is counted.
        max_in_flight: Requests under way beyond which more are told to come back.
    """
    # The pages that FastAPI would add load scripts from the network.
    app = FastAPI(
        title="neucf",
        version=__version__,
        description="Recommendations for known users and for anybody by a history, and the events that shape them.",
        docs_url=None,
        redoc_url=None,
        # A redirect would name the address by which a proxy asked, not the client's.
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.backend, app.state.metrics = backend, metrics
    metrics.loaded.set(backend.live(None).loaded_at)
    for part in (routes, activity, models, operations):
        app.include_router(part.router)
    # What no route takes: a mount would take a wrong method of a route as well, and hide what it should be.
    app.router.default = _page(PAGE)
    handle_errors(app)
    app.openapi = lambda: _openapi(app, guard)  # type: ignore[method-assign]
    return Shell(app, guard, metrics, max_in_flight)


def _page(folder: Path) -> ASGIApp:
    """Returns what shows the files of the page, and knows nothing else."""
    files = StaticFiles(directory=folder, html=True)

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        await files(scope, receive, send)

    return page


def _openapi(app: FastAPI, guard: Guard) -> dict[str, Any]:
    """Returns the OpenAPI document, with problems for errors, and the key where one is asked for."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        reference = "#/components/schemas/{model}"
        for model in (Problem, FieldError):
            described = model.model_json_schema(ref_template=reference)
            described.pop("$defs", None)
            schemas[model.__name__] = described
        if guard.api_key is not None:
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"key": []}]
            schema["paths"]["/healthz"]["get"]["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema
