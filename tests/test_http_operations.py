"""The service in operation: reloads, health, metrics, logs, failures and overload."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from http_client import client_of, ids, is_problem, post
from serving_runs import write_planted
from starlette.testclient import TestClient

from neucf.errors import ConfigError, StoreError
from neucf.serving.events import EventStore
from neucf.serving.http import Backend, open_runs
from neucf.serving.http.logs import JsonFormatter
from neucf.serving.http.server import _load_again
from neucf.serving.live import Live


def test_a_reload_of_other_data_is_refused(planted_run: Path) -> None:
    assert _load_again((planted_run,), "planted").default == planted_run.name
    with pytest.raises(ConfigError, match="must stay a run of other, whose events are served; it is of planted now"):
        _load_again((planted_run,), "other")


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
