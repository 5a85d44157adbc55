"""Whom the service answers: hosts, origins, keys, and nothing too large."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from http_client import JSON, client_of, is_problem, post
from starlette.testclient import TestClient

from neucf.errors import ConfigError
from neucf.serving.http import Backend, Guard, make_guard


def test_what_is_too_large_is_refused(client: TestClient) -> None:
    is_problem(client.post("/v1/recommendations", json={"history": [100] * 1001}), 422)
    is_problem(client.get("/v1/users/u1/recommendations?" + "deny=100&" * 1000), 414)
    is_problem(client.post("/v1/events", content=b" " * (256 << 10) + b"1", headers=JSON), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    is_problem(client.post("/v1/events", content=chunks(), headers=JSON), 413)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost.", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("evil@localhost", 400),
        ("192.0.2.1", 400),
        ("localhost:x", 400),
        ("", 400),
    ],
)
def test_only_known_hosts_are_answered(client: TestClient, host: str, status: int) -> None:
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert "--allow-host" in is_problem(answer, 400)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 201),
        ("http://localhost:8000", 201),
        ("https://localhost:8000", 201),
        ("http://localhost", 403),
        ("http://localhost:8001", 403),
        ("http://evil.example", 403),
        ("http://localhost:8000.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_write_comes_from_the_same_origin_or_from_none(client: TestClient, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"Origin": origin}
    body = {"user_id": "u", "item_id": 100, "key": "k"}
    assert client.post("/v1/events", json=body, headers=headers).status_code == status
    for method, path in (("POST", "/v1/model:reload"), ("DELETE", "/v1/users/u/events")):
        assert client.request(method, path, headers=headers).status_code == (200 if status == 201 else 403)
    assert client.get("/v1/model", headers=headers).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_a_write_is_json(client: TestClient, media_type: str) -> None:
    body = b'{"user_id": "u", "item_id": 100, "key": "k"}'
    is_problem(client.post("/v1/events", content=body, headers={"Content-Type": media_type}), 415)
    is_problem(client.post("/v1/model:reload", content=body, headers={"Content-Type": media_type}), 415)
    with_charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/v1/events", content=body, headers=with_charset).status_code == 201


def test_the_key_guards_all_but_healthz(backend: Backend) -> None:
    with client_of(backend, Guard(api_key="s3cret")) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/metrics", "/openapi.json", "/v1/model", "/v1/users/u1/recommendations", "/nothing"):
            answer = client.get(path)
            is_problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Basic")
        by_page = client.get("/v1/model", headers={"Accept": "application/json"})
        is_problem(by_page, 401)
        assert by_page.headers["www-authenticate"].startswith("Bearer")
        is_problem(post(client, "u", 100, "k"), 401)
        basic = lambda text: "Basic " + base64.b64encode(text.encode()).decode()  # noqa: E731
        for good in (
            {"Authorization": "Bearer s3cret"},
            {"Authorization": "bearer  s3cret"},
            {"X-API-Key": "s3cret"},
            {"Authorization": basic("anyone:s3cret")},
        ):
            assert client.get("/v1/model", headers=good).status_code == 200
        for bad in (
            {"Authorization": "Bearer s3cre"},
            {"Authorization": "Bearer s3cret2"},
            {"Authorization": "s3cret"},
            {"Authorization": basic("s3cret:")},
            {"Authorization": "Basic ???"},
            {"X-API-Key": ""},
            {"X-API-Key": "\xe9".encode("latin-1")},
        ):
            is_problem(client.get("/v1/model", headers=bad), 401)
        assert client.get("/openapi.json", headers={"X-API-Key": "s3cret"}).json()["security"] == [{"key": []}]


def test_other_hosts_than_loopback_need_a_key() -> None:
    for host in ("127.0.0.1", "127.3.2.1", "localhost", "::1"):
        assert make_guard(host, None).api_key is None
    for host in ("0.0.0.0", "::", "192.0.2.1", "box.example"):
        with pytest.raises(ConfigError, match="NEUCF_API_KEY"):
            make_guard(host, None)
        assert make_guard(host, "key").api_key == "key"
    for key in ("", " ", "two words", "clé", "line\n"):
        with pytest.raises(ConfigError, match="printable ASCII"):
            make_guard("127.0.0.1", key)


def test_hosts_that_may_be_called_by() -> None:
    known = lambda guard, host: guard._known(host)  # noqa: E731
    everywhere = make_guard("0.0.0.0", "key", ["api.example:443"])
    assert all(known(everywhere, host) for host in ("192.0.2.7:80", "[2001:db8::1]", "API.example", "localhost"))
    assert not known(everywhere, "evil.example")
    one = make_guard("192.0.2.7", "key")
    assert known(one, "192.0.2.7:8000")
    assert not known(one, "192.0.2.8:8000")


def test_answers_are_for_nobody_else_to_keep_or_to_guess_at(client: TestClient) -> None:
    for path in ("/v1/users/u1/recommendations", "/v1/nothing"):
        headers = client.get(path).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        assert "access-control-allow-origin" not in headers
