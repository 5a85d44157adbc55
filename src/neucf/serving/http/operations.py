"""The routes of those who run the service: is it alive, is it ready, what does it count."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from neucf.serving.http import schemas
from neucf.serving.http.metrics import CONTENT_TYPE, Metrics
from neucf.serving.http.problems import responses
from neucf.serving.http.routes import backend_of

router = APIRouter()


@router.get("/healthz", responses=responses(), operation_id="healthz")
async def healthz() -> schemas.Status:
    """Say that the process is alive; asks for no key."""
    return schemas.Status(status="ok")


@router.get("/readyz", responses=responses(), operation_id="readyz")
async def readyz(request: Request) -> schemas.Status:
    """Say that a run is loaded and the events store answers; 503 where not."""
    backend = backend_of(request)
    await backend.call(lambda: backend.store.history("readyz"))
    return schemas.Status(status="ok")


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses()},
    response_class=Response,
    operation_id="metrics",
)
async def metrics(request: Request) -> Response:
    """Show the metrics in Prometheus' text format."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), headers={"Content-Type": CONTENT_TYPE})
