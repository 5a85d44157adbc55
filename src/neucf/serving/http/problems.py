"""Errors as application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from neucf.errors import ConflictError, NeucfError, StoreError, UnknownIdError
from neucf.serving.http.batching import OverloadedError

log = logging.getLogger("neucf.serve")
MEDIA_TYPE = "application/problem+json"
RETRY = {"Retry-After": "1"}


class FieldError(BaseModel):
    """One field of a request that breaks a rule."""

    field: str = Field(description="Where it stands, such as `body.user_id`.")
    message: str


class Problem(BaseModel):
    """Why a request was not done."""

    type: str = Field(description="Always `about:blank`: the status says it all.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong with this request, and what to do.")
    request_id: str = Field(description="As in the header X-Request-ID and in the log.")
    errors: list[FieldError] = Field(description="Fields that break a rule; often empty.")


def problem(
    status: int,
    detail: str,
    request_id: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Returns the response to a request that was not done."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
        "errors": list(errors),
    }
    return Response(json.dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def failed(request_id: str) -> Response:
    """Returns the response to a request that met a fault of the service; what it was stands in the log."""
    return problem(500, "The service failed. Its log says why, under this request id.", request_id)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns what OpenAPI says of these statuses, and of those that any request may get."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, 400, 401, 414, 500, 503})
    }


def handle_errors(app: FastAPI) -> None:
    """Makes every error that a route raises a problem."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, str(error.detail), _id(request), headers=error.headers)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        del error
        return failed(_id(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        # What was received is not repeated: it may be long, or no JSON at all.
        found = [{"field": ".".join(map(str, each["loc"])), "message": str(each["msg"])} for each in error.errors()]
        detail = f"{found[0]['field']}: {found[0]['message']}." if found else "The request breaks a rule."
        return problem(422, detail, _id(request), errors=found)

    @app.exception_handler(NeucfError)
    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, OverloadedError):
            return problem(503, str(error), _id(request), headers=RETRY)
        if isinstance(error, StoreError):
            # Where the store lies is nobody's business but the operator's.
            log.error("%s", error, extra={"request_id": _id(request)})
            return problem(503, "The events store cannot be reached. Try again later.", _id(request), headers=RETRY)
        if isinstance(error, UnknownIdError):
            return problem(404, str(error), _id(request))
        if isinstance(error, ConflictError):
            return problem(409, str(error), _id(request))
        assert isinstance(error, NeucfError)
        return problem(422 if error.exit_code == 2 else 500, str(error), _id(request))


def _id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])
