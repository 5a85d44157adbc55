"""A client of the service, and what its answers say."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from neucf.serving.http import Backend, Guard, Metrics, make_app

JSON = {"Content-Type": "application/json"}


def client_of(backend: Backend, guard: Guard | None = None, **options: Any) -> TestClient:
    app = make_app(backend, guard or Guard(), Metrics(), **options)
    return TestClient(app, "http://localhost:8000", raise_server_exceptions=False)


def ids(answer: Any) -> list[int]:
    return [item["item_id"] for item in answer.json()["items"]]


def post(client: TestClient, user: Any, item: Any, key: Any, **more: Any) -> Any:
    return client.post("/v1/events", json={"user_id": user, "item_id": item, "key": key, **more})


def is_problem(response: Any, status: int) -> str:
    """Checks that a response is a problem of this status, and returns its detail."""
    body = response.json()
    assert (response.status_code, body["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == response.headers["x-request-id"]
    assert set(body) == {"type", "title", "status", "detail", "request_id", "errors"}
    return str(body["detail"])
