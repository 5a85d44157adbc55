from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving_runs import write_planted
from starlette.testclient import TestClient

from neucf.errors import ConfigError, StoreError
from neucf.serving.events import EventStore
from neucf.serving.http import Backend, Guard, Metrics, make_app, make_guard, open_runs
from neucf.serving.http.logs import JsonFormatter
from neucf.serving.http.server import _load_again
from neucf.serving.live import Live

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("served") / "run", min_rating=4.0)


@pytest.fixture
def backend(planted_run: Path, tmp_path: Path) -> Iterator[Backend]:
    load = lambda: open_runs([planted_run])  # noqa: E731
    made = Backend(load(), load, EventStore(f"sqlite:///{tmp_path}/events.sqlite"))
    yield made
    made.close()


def client_of(backend: Backend, guard: Guard | None = None, **options: Any) -> TestClient:
    app = make_app(backend, guard or Guard(), Metrics(), **options)
    return TestClient(app, "http://localhost:8000", raise_server_exceptions=False)


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    with client_of(backend) as made:
        yield made


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


def test_a_known_user_gets_what_the_library_suggests(client: TestClient, backend: Backend) -> None:
    answer = client.get("/v1/users/u3/recommendations", params={"k": 4})
    assert answer.status_code == 200
    assert answer.json() == backend.live(None).service.recommend(["u3"], 4, threads=1)[0].to_json()
    assert len(client.get("/v1/users/u3/recommendations").json()["items"]) == 10


def test_filters_masks_and_diversity_reach_the_ranking(client: TestClient) -> None:
    get = lambda **params: client.get("/v1/users/u1/recommendations", params={"k": 40, **params})  # noqa: E731
    items = get(genre=["comedy", "War"]).json()["items"]
    assert items
    assert {genre for item in items for genre in item["genres"]} == {"Comedy", "War"}
    assert {item["year"] for item in get(year_from=1990, year_to=1991).json()["items"]} <= {1990, 1991}
    assert set(ids(get(allow=[100, "102", 103]))) <= {100, 102, 103}
    assert 103 not in ids(get(deny=103, mask="none"))
    assert len(ids(get(mask="none"))) == 40
    assert ids(get(diversity=0.9, mask="none", k=5)) != ids(get(mask="none", k=5))


def test_a_history_is_recommended_to_and_shown_as_understood(client: TestClient, backend: Backend) -> None:
    answer = client.post("/v1/recommendations", json={"history": [101, "105", 101], "k": 3})
    service = backend.live(None).service
    expected = service.recommend_histories(service.histories([[101, 105]]), 3, threads=1)[0].to_json()
    assert answer.json() == {
        **expected,
        "matched": [
            {"item_id": number, "title": f"Film {number - 100} ({number + 1880})"} for number in (101, 105, 101)
        ],
    }
    assert client.post("/v1/recommendations", json={"history": []}).json()["fallback"] == "popularity"


def test_similar_items_and_titles(client: TestClient, backend: Backend) -> None:
    answer = client.get("/v1/items/104/similar", params={"k": 3})
    assert answer.json() == backend.live(None).service.similar(104, 3).to_json()
    assert len(client.get("/v1/items/104/similar", params={"k": 1000}).json()["items"]) == 39
    found = client.get("/v1/items", params={"q": "film 7"}).json()["items"]
    assert found[0] == {"item_id": 107, "title": "Film 7 (1987)", "year": 1987, "genres": ["War"]}
    found = client.get("/v1/items", params={"q": "flim 7"}).json()["items"]
    assert found[0]["item_id"] == 107


def test_events_shape_the_next_list_of_their_user(client: TestClient) -> None:
    before = ids(client.get("/v1/users/u0/recommendations", params={"k": 40}))
    assert post(client, "u0", before[0], "first").status_code == 201
    after = client.get("/v1/users/u0/recommendations", params={"k": 40})
    assert before[0] not in ids(after)
    assert after.json()["user_id"] == "u0"

    # Somebody new, who likes what one of the four groups likes, is given that group's items.
    is_problem(client.get("/v1/users/new/recommendations"), 404)
    for number in (102, 106, 110):
        post(client, "new", number, f"new-{number}")
    answer = client.get("/v1/users/new/recommendations", params={"k": 4})
    assert answer.json()["fallback"] is None
    assert {item % 4 for item in ids(answer)} == {102 % 4}
    assert {reason["item_id"] for reason in answer.json()["items"][0]["because"]} <= {102, 106, 110}


def test_an_event_below_the_threshold_hides_its_item_and_is_no_liking(client: TestClient) -> None:
    assert post(client, "critic", 100, "k", value=3.5).status_code == 201
    answer = client.get("/v1/users/critic/recommendations", params={"k": 40})
    assert answer.json()["fallback"] == "popularity"
    assert 100 not in ids(answer)
    assert 100 in ids(client.get("/v1/users/critic/recommendations", params={"k": 40, "mask": "positives"}))


def test_an_event_is_kept_once(client: TestClient) -> None:
    stored = {"user_id": "7", "item_id": 101, "key": "9", "value": 4.0, "timestamp": 12}
    first = post(client, 7, "101", "9", value=4, timestamp=12)
    assert (first.status_code, first.json()) == (201, stored)
    again = post(client, "7", 101.0, 9, value=4.0, timestamp=12)
    assert (again.status_code, again.json()) == (200, stored)
    assert "`key`" in is_problem(post(client, 7, 101, 9, value=5), 409)
    is_problem(post(client, 7, 999, "other"), 422)


def test_head_is_get_without_a_body(client: TestClient) -> None:
    for path in ("/healthz", "/v1/models", "/v1/items?q=a"):
        assert (client.head(path).status_code, client.head(path).content) == (200, b"")
    assert client.head("/v1/events").status_code == 405


def test_a_reload_of_other_data_is_refused(planted_run: Path) -> None:
    assert _load_again((planted_run,), "planted").default == planted_run.name
    with pytest.raises(ConfigError, match="must stay a run of other, whose events are served; it is of planted now"):
        _load_again((planted_run,), "other")


def test_a_users_events_can_be_erased(client: TestClient) -> None:
    post(client, "gone", 100, "a")
    post(client, "gone", 101, "b")
    assert client.delete("/v1/users/gone/events").json() == {"user_id": "gone", "erased": 2}
    assert client.delete("/v1/users/gone/events", headers=JSON).json()["erased"] == 0
    is_problem(client.get("/v1/users/gone/recommendations"), 404)


def test_lists_made_from_events_go_with_them(
    client: TestClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    service = backend.live(None).service
    recommend = service.recommend_histories

    def counted(histories: Any, **options: Any) -> Any:
        found.append(histories.shape[0])
        return recommend(histories, **options)

    monkeypatch.setattr(service, "recommend_histories", counted)

    def ask() -> list[Any]:
        post(client, "gone", 100, "a")
        return ids(client.get("/v1/users/gone/recommendations"))

    first = ask()
    assert (ask(), found) == (first, [1])
    client.delete("/v1/users/gone/events")
    assert (ask(), found) == (first, [1, 1])


@pytest.mark.parametrize("user", ["a/b", "../..", "ü 50%", "x/recommendations", "42", "a?b#c", "\U0001f600"])
def test_any_text_may_be_a_user(client: TestClient, user: str) -> None:
    from urllib.parse import quote

    assert post(client, user, 100, "key").status_code == 201
    answer = client.get(f"/v1/users/{quote(user, safe='')}/recommendations")
    assert (answer.status_code, answer.json()["user_id"]) == (200, user)
    assert client.delete(f"/v1/users/{quote(user, safe='')}/events").json()["erased"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"user_id": "u", "item_id": 100}', 422),
        ('{"user_id": "", "item_id": 100, "key": "k"}', 422),
        ('{"user_id": "a\\u0000b", "item_id": 100, "key": "k"}', 422),
        ('{"user_id": "\\ud800", "item_id": 100, "key": "k"}', 422),
        ('{"user_id": true, "item_id": 100, "key": "k"}', 422),
        ('{"user_id": 1.5, "item_id": 100, "key": "k"}', 422),
        ('{"user_id": 9223372036854775808, "item_id": 100, "key": "k"}', 422),
        ('{"user_id": "u", "item_id": 100, "key": "k", "value": NaN}', 422),
        ('{"user_id": "u", "item_id": 100, "key": "k", "value": 1e999}', 422),
        ('{"user_id": "u", "item_id": 100, "key": "k", "value": "5"}', 422),
        ('{"user_id": "u", "item_id": 100, "key": "k", "timestamp": 1.5}', 422),
        ('{"user_id": "u", "item_id": 100, "key": "k", "more": 1}', 422),
        (f'{{"user_id": "{"u" * 201}", "item_id": 100, "key": "k"}}', 422),
        (f'{{"user_id": {"9" * 5000}, "item_id": 100, "key": "k"}}', 400),
        ("[" * 100_000, 400),
        ("[1]", 422),
        ("{", 422),
        ("", 422),
    ],
)
def test_a_body_that_breaks_a_rule_is_a_problem(client: TestClient, body: str, status: int) -> None:
    is_problem(client.post("/v1/events", content=body, headers=JSON), status)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/users/u1/recommendations?k=0", 422),
        ("/v1/users/u1/recommendations?k=1001", 422),
        ("/v1/users/u1/recommendations?k=ten", 422),
        ("/v1/users/u1/recommendations?mask=all", 422),
        ("/v1/users/u1/recommendations?diversity=1.1", 422),
        ("/v1/users/u1/recommendations?diversity=nan", 422),
        ("/v1/users/u1/recommendations?kk=3", 422),
        ("/v1/users/u1/recommendations?genre=Western", 422),
        ("/v1/users/u1/recommendations?deny=99", 422),
        ("/v1/users/u1/recommendations?year_from=2000&year_to=1990", 422),
        ("/v1/users/nobody/recommendations", 404),
        ("/v1/users//recommendations", 404),
        ("/v1/items/99/similar", 404),
        ("/v1/items/0100/similar", 404),
        ("/v1/users/u1/recommendations?model=other", 422),
        ("/v1/users/nobody/history", 404),
        ("/v1/items?k=0", 422),
        ("/v1/map?model=other", 422),
        ("/v1/nothing", 404),
        ("/v1/models/", 404),
        ("/docs", 404),
        ("/v1/events", 405),
    ],
)
def test_a_request_that_cannot_be_done_is_a_problem(client: TestClient, path: str, status: int) -> None:
    assert is_problem(client.get(path), status)


def test_an_unknown_user_is_told_of_no_other_user(client: TestClient) -> None:
    assert "u1" not in is_problem(client.get("/v1/users/u/recommendations"), 404)


def test_the_model_is_described(client: TestClient) -> None:
    described = client.get("/v1/model").json()
    assert (described["model"], described["label"], described["data"]) == ("bpr-mf", "run", "planted")
    assert (described["num_users"], described["num_items"], described["min_rating"]) == (60, 40, 4.0)
    assert described["genres"] == ["Comedy", "Drama", "Horror", "War"]
    assert described["config"]["dim"] == 8


def test_a_reload_serves_what_now_stands_in_the_folder(tmp_path: Path) -> None:
    run = write_planted(tmp_path / "run", "popularity")
    load = lambda: open_runs([run])  # noqa: E731
    backend = Backend(load(), load, EventStore(f"sqlite:///{tmp_path}/events.sqlite"))
    with client_of(backend) as client:
        assert client.get("/v1/model").json()["model"] == "popularity"
        write_planted(run, "bpr-mf", force=True)
        assert client.get("/v1/model").json()["model"] == "popularity"
        reloaded = client.post("/v1/model:reload")
        assert (reloaded.status_code, reloaded.json()["models"][0]["model"]) == (200, "bpr-mf")
        assert client.get("/v1/models").json() == reloaded.json()
        assert client.get("/v1/users/u0/recommendations").json()["fallback"] is None

        (run / "weights.safetensors").write_bytes(b"broken")
        assert "goes on being served" in is_problem(client.post("/v1/model:reload"), 409)
        assert client.get("/v1/users/u0/recommendations").status_code == 200
        counted = client.get("/metrics").text
        assert 'neucf_model_reloads_total{result="done"} 1.0' in counted
        assert 'neucf_model_reloads_total{result="failed"} 1.0' in counted
    backend.close()


def test_it_is_well_and_ready_and_counts(client: TestClient) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    client.get("/v1/users/u1/recommendations")
    post(client, "u1", 100, "a")
    client.request("BREW", "/v1/model")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (
        'neucf_http_requests_total{method="GET",route="/v1/users/{user_id}/recommendations",status="200"} 1.0'
        in answer.text
    )
    assert 'neucf_events_total{result="created"} 1.0' in answer.text
    assert "u1" not in answer.text
    assert "BREW" not in answer.text


def test_a_store_that_is_gone_is_a_503_and_not_ready(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise StoreError("The events at db.internal cannot be reached: no route.")

    monkeypatch.setattr(EventStore, "histories", gone)
    monkeypatch.setattr(EventStore, "add", gone)
    for answer in (client.get("/readyz"), client.get("/v1/users/u1/recommendations"), post(client, "u", 100, "k")):
        detail = is_problem(answer, 503)
        assert "events store" in detail
        assert "db.internal" not in detail
        assert answer.headers["retry-after"] == "1"
    assert client.get("/healthz").status_code == 200


def test_request_ids_are_kept_if_sane_and_made_otherwise(client: TestClient) -> None:
    asked = lambda value: client.get("/healthz", headers={"X-Request-ID": value}).headers["x-request-id"]  # noqa: E731
    assert asked("abc-1.2_Z") == "abc-1.2_Z"
    for odd in ("a b", "x" * 65, '"}', "é"):
        assert asked(odd.encode("latin-1")) != odd  # type: ignore[arg-type]
        assert len(asked(odd.encode("latin-1"))) == 32  # type: ignore[arg-type]
    first, second = (client.get("/healthz").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_request_is_logged_with_its_id_and_without_its_user(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "neucf.serve"):
        client.get("/v1/users/u1/recommendations", headers={"X-Request-ID": "mine"})
    (record,) = [each for each in caplog.records if each.name == "neucf.serve"]
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == "mine"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/users/{user_id}/recommendations", 200)
    assert line["level"] == "info"
    assert line["milliseconds"] > 0
    assert "u1" not in json.dumps(line)


def test_a_failure_inside_is_a_500_that_tells_nothing(
    client: TestClient, backend: Backend, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(backend.live(None), "find", fail)
    detail = is_problem(client.get("/v1/items?q=a", headers={"X-Request-ID": "failing"}), 500)
    assert "secret" not in detail
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    logged = json.loads(JsonFormatter().format(record))
    assert logged["request_id"] == "failing"
    assert "the secret reason" in logged["traceback"]


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


def slowed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Holds every ranking until the function returned is called."""
    go, rank = threading.Event(), Live.recommend

    def held(*arguments: Any) -> Any:
        assert go.wait(20)
        return rank(*arguments)

    monkeypatch.setattr(Live, "recommend", held)
    return go.set


def test_too_much_is_shed_with_503_and_taken_again_later(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    release = slowed(monkeypatch)
    with client_of(backend, max_in_flight=10) as client, ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(client.get, "/v1/users/u1/recommendations") for _ in range(30)]
        while sum(each.done() for each in asked) < 20:
            time.sleep(0.01)
        shed = [each.result() for each in asked if each.done()]
        for answer in shed:
            is_problem(answer, 503)
            assert answer.headers["retry-after"] == "1"
        # What tells whether the process lives is answered all the same.
        assert client.get("/healthz").status_code == 200
        release()
        assert [each.result().status_code for each in asked].count(200) == 10
        assert client.get("/v1/users/u1/recommendations").status_code == 200
        assert "neucf_http_requests_shed_total 20.0" in client.get("/metrics").text


def test_requests_that_wait_are_ranked_together(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    release, sizes = slowed(monkeypatch), list[int]()
    rank = Live.recommend
    monkeypatch.setattr(
        Live, "recommend", lambda live, users, options: (sizes.append(len(users)), rank(live, users, options))[1]
    )
    with client_of(backend) as client, ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(client.get, f"/v1/users/u{user}/recommendations", params={"k": user + 1}) for user in range(12)
        ]
        while len(backend._users._waiting) < 11:
            time.sleep(0.01)
        release()
        answers = [each.result() for each in asked]
    assert sizes == [1, 11]
    for user, answer in enumerate(answers):
        alone = backend.live(None).service.recommend([f"u{user}"], user + 1, threads=1)[0]
        assert answer.json()["user_id"] == f"u{user}"
        assert ids(answer) == [item.item_id for item in alone.items]
