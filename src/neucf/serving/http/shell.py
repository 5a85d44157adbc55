"""Shell: what every request passes on its way in and out: id, guard, limits, metrics, log, and the last resort."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neucf.serving.http.guard import Guard
from neucf.serving.http.limits import MAX_IN_FLIGHT, MAX_TARGET_BYTES, limited, target_too_long
from neucf.serving.http.metrics import Metrics
from neucf.serving.http.problems import RETRY, failed, problem

log = logging.getLogger("neucf.serve")
# Anybody may send any word as a method; a label takes few values.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Browsers load nothing from elsewhere, guess no media types, and keep no copies of what is about a person.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Shell:
    """ASGI middleware around the application.

    Args:
        app: What answers.
        guard: Who may ask.
        metrics: What is counted.
        max_in_flight: Requests under way beyond which more are told to come back.
    """

    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self._app, self._guard, self._metrics, self._max = app, guard, metrics, max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; passes on what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self._in_flight += 1
        self._metrics.in_flight.set(self._in_flight)
        try:
            refused = self._refused(scope, request_id)
            if refused is None:
                # The server sends no body to HEAD, which is else what GET is
                asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
                await self._app(asked, limited(receive), observed)
                scope.setdefault("route", asked.get("route"))
            else:
                await refused(scope, receive, observed)
        except Exception:
            # Where the application has answered with 500 already, it raises all the same, for the log.
            log.exception("A request failed", extra={"request_id": request_id})
            if status not in (None, 500):
                raise
            if status is None:
                await failed(request_id)(scope, receive, observed)
        finally:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
            self._done(scope, status, time.perf_counter() - start, request_id)

    def _refused(self, scope: Scope, request_id: str) -> Response | None:
        if self._in_flight > self._max and scope["path"] != "/healthz":
            return problem(503, "Too many requests are under way. Try again in a second.", request_id, headers=RETRY)
        refusal = self._guard.refusal(scope)
        if refusal is not None:
            return problem(refusal.status, refusal.detail, request_id, headers=refusal.headers)
        if target_too_long(scope):
            return problem(414, f"Path and query must have at most {MAX_TARGET_BYTES} bytes.", request_id)
        return None

    def _done(self, scope: Scope, status: int | None, seconds: float, request_id: str) -> None:
        # The route as it is declared, never the path: that may name a user.
        route = getattr(scope.get("route"), "path_format", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if status == 503:
            self._metrics.shed.inc()
        fields: MutableMapping[str, Any] = {
            "request_id": request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
        }
        log.info("request", extra=fields)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
