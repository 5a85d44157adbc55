from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from serving_process import Server
from serving_runs import write_planted

from neucf.artifacts.writer import write_json
from neucf.errors import ArtifactError, ConfigError
from neucf.serving.events import EventStore
from neucf.serving.http.runs import MAX_RUNS, find_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_planted(tmp_path_factory.mktemp("runs") / "run", "popularity")


def post_until_killed(server: Server, worker: int, acknowledged: set[str], stop: threading.Event) -> None:
    """Posts events one after the other over one connection; remembers the keys that were answered with 201 or 200."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    number = 0
    try:
        while not stop.is_set():
            key = f"{server.process.pid}-{worker}-{number}"
            body = json.dumps({"user_id": f"u{number % 60}", "item_id": 100 + number % 40, "key": key})
            connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201, answer.status
            acknowledged.add(key)
            number += 1
    except (OSError, http.client.HTTPException):
        assert stop.is_set(), server.log.read_text()
    finally:
        connection.close()


def kill_while_posting(run: Path, folder: Path, kills: int, events: int) -> None:
    """Posts from eight clients, kills the server, starts it again; then counts what is there."""
    acknowledged: set[str] = set()
    for kill in range(1, kills + 1):
        with Server(run, folder) as server, ThreadPoolExecutor(8) as pool:
            stop = threading.Event()
            working = [pool.submit(post_until_killed, server, worker, acknowledged, stop) for worker in range(8)]
            while len(acknowledged) < events * kill // kills and not any(each.done() for each in working):
                time.sleep(0.001)
            # Before the kill, so that whoever finds the connection broken knows why.
            stop.set()
            server.end(signal.SIGKILL)
            for each in working:
                each.result()
    with Server(run, folder) as server:
        # The same event again is none: whatever was acknowledged is there.
        some = sorted(acknowledged)[:: max(1, len(acknowledged) // 20)]
        for key in some:
            number = int(key.rpartition("-")[2])
            body = {"user_id": f"u{number % 60}", "item_id": 100 + number % 40, "key": key}
            assert server.ask("POST", "/v1/events", body)[0] == 200
    with EventStore(f"sqlite:///{folder}/events.sqlite") as store:
        kept = [event.key for event in store.all()]
    assert len(acknowledged) >= events
    assert len(kept) == len(set(kept))
    assert acknowledged <= set(kept)
    # What was under way at a kill may be there unacknowledged: at most one of each client.
    assert len(kept) <= len(acknowledged) + 8 * kills


def test_a_kill_loses_nothing_that_was_acknowledged(run: Path, tmp_path: Path) -> None:
    kill_while_posting(run, tmp_path, kills=2, events=200)


@pytest.mark.slow
def test_ten_kills_lose_none_of_ten_thousand_events(run: Path, tmp_path: Path) -> None:
    kill_while_posting(run, tmp_path, kills=10, events=10_000)


def test_sighup_reloads_without_dropping_a_request_and_sigterm_ends_in_order(tmp_path: Path) -> None:
    run = write_planted(tmp_path / "run", "popularity")
    with Server(run, tmp_path) as server:
        statuses, stop = set[int](), threading.Event()

        def keep_asking() -> int:
            count = 0
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            while not stop.is_set():
                connection.request("GET", f"/v1/users/u{count % 60}/recommendations")
                answer = connection.getresponse()
                answer.read()
                statuses.add(answer.status)
                count += 1
            connection.close()
            return count

        with ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(keep_asking) for _ in range(3)]
            assert server.ask("GET", "/v1/model")[1]["model"] == "popularity"
            write_planted(run, "bpr-mf", force=True)
            server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 30
            while server.ask("GET", "/v1/model")[1]["model"] != "bpr-mf" and time.monotonic() < deadline:
                time.sleep(0.02)
            assert server.ask("GET", "/v1/model")[1]["model"] == "bpr-mf"
            # A folder that cannot be opened changes nothing.
            (run / "weights.safetensors").unlink()
            server.process.send_signal(signal.SIGHUP)
            while "Not reloaded" not in server.log.read_text() and time.monotonic() < deadline:
                time.sleep(0.02)
            stop.set()
            assert all(each.result() > 0 for each in asking)
        assert statuses == {200}
        assert server.ask("GET", "/readyz") == (200, {"status": "ok"})
        assert server.end() == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    messages = [line["message"] for line in lines]
    assert any(message.startswith("Not reloaded") for message in messages)
    assert "Reloaded" in messages
    assert {line["route"] for line in lines if line["message"] == "request"} >= {"/v1/users/{user_id}/recommendations"}


def test_a_request_under_way_is_answered_before_the_end(run: Path, tmp_path: Path) -> None:
    with Server(run, tmp_path) as server:
        connection = socket.create_connection(("127.0.0.1", server.port))
        body = b'{"history": []}'
        head = b"POST /v1/recommendations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.close()
        assert server.end() == 0


def test_the_key_from_the_environment_guards_the_service(run: Path, tmp_path: Path) -> None:
    with Server(run, tmp_path, "--host", "0.0.0.0", "--allow-host", "api.example", NEUCF_API_KEY="s3cret") as server:
        assert server.ask("GET", "/healthz")[0] == 200
        assert server.ask("GET", "/v1/model")[0] == 401
        assert server.ask("GET", "/v1/model", Authorization="Bearer s3cret")[0] == 200
        assert server.ask("GET", "/v1/model", Authorization="Bearer s3cret", Host="api.example")[0] == 200
        assert server.ask("GET", "/healthz", Host="evil.example")[0] == 400


def test_other_hosts_need_a_key(
    run: Path, neucf: Callable[..., Command], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NEUCF_API_KEY", raising=False)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    failed = neucf("serve", run, "--host", "0.0.0.0")
    assert (failed.code, failed.out) == (2, "")
    assert "NEUCF_API_KEY" in failed.err

    monkeypatch.chdir(tmp_path)
    failed = neucf("serve")
    assert failed.code == 2
    assert "neucf quickstart" in failed.err
    failed = neucf("serve", tmp_path)
    assert failed.code == 2
    assert "it holds none" in failed.err

    events = f"sqlite:///{tmp_path}/events.sqlite"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = neucf("serve", run, "--port", taken.getsockname()[1], "--events", events)
    assert failed.code == 2
    assert "must be free to listen on" in failed.err


def judged(folder: Path, run: Path, value: Any, metric: str = "ndcg@20") -> Path:
    """Writes the manifest of a run that validation gave this value."""
    folder.mkdir()
    manifest = json.loads((run / "manifest.json").read_text())
    metrics = None if value is None else {"metrics": {metric: {"mean": value}}}
    write_json(folder / "manifest.json", {**manifest, "metrics": {"valid": metrics}})
    return folder


def test_the_best_run_on_validation_of_a_folder_comes_first(tmp_path: Path, run: Path) -> None:
    values: dict[str, Any] = {"gmf": 0.2, "neumf": 0.25, "odd": "1", "unjudged": None, "mf": 0.1, "better.partial": 0.9}
    for name, value in values.items():
        judged(tmp_path / name, run, value)
    assert list(find_runs([tmp_path])) == ["neumf", "gmf", "mf", "odd", "unjudged"]
    assert find_runs([run, tmp_path / "mf"]) == {"run": run, "mf": tmp_path / "mf"}
    (empty := tmp_path / "gmf" / "empty").mkdir()
    with pytest.raises(ArtifactError, match="holds none"):
        find_runs([empty])
    with pytest.raises(ConfigError, match="different names"):
        find_runs([run, run])


def test_of_many_runs_the_best_are_served_by_whatever_judged_them(tmp_path: Path, run: Path) -> None:
    for number in range(MAX_RUNS + 2):
        judged(tmp_path / f"mf-seed{number}", run, number / 100, "ndcg@10")
    assert list(find_runs([tmp_path])) == [f"mf-seed{number}" for number in reversed(range(2, MAX_RUNS + 2))]
