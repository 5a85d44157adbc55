"""What the service says beside recommendations: its runs, side by side; histories; the map; the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_runs import write_planted
from starlette.testclient import TestClient

from neucf.artifacts import load, open_run
from neucf.artifacts.log import first_fit
from neucf.errors import ConfigError
from neucf.models import MODELS
from neucf.serving import Service
from neucf.serving.events import EventStore
from neucf.serving.http import Backend, Guard, Metrics, make_app, open_runs
from neucf.serving.http.describing import MAX_CURVE, curve
from neucf.serving.mapping import item_map


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: bpr-mf is the best on validation, ease the next, popularity was not judged."""
    made = tmp_path_factory.mktemp("served") / "runs"
    for model, value in (("ease", 0.25), ("bpr-mf", 0.5), ("popularity", None)):
        metrics = {"ndcg@20": {"mean": value, "ci95": [value - 0.1, value + 0.1]}} if value else {}
        valid = {"valid": {"protocol": "full", "num_users": 60, "metrics": metrics}}
        write_planted(made / model, model, metrics=valid, split="none", seed=0, fits=[{"seconds": 1.5}, {"seconds": 2}])
    return made


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    events = EventStore(f"sqlite:///{tmp_path_factory.mktemp('events')}/events.sqlite")
    backend = Backend(open_runs([folder]), lambda: open_runs([folder]), events)
    with TestClient(make_app(backend, Guard(), Metrics()), "http://localhost") as made:
        yield made
    backend.close()


def test_the_runs_are_listed_the_default_first(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["default"] == "bpr-mf"
    assert [run["label"] for run in listed["models"]] == ["bpr-mf", "ease", "popularity"]
    assert listed["models"][1]["model"] == "ease"


def test_runs_of_two_data_sets_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("ease", "popularity"):
        shutil.copytree(folder / name, tmp_path / name)
    file = tmp_path / "popularity" / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "data": {**manifest["data"], "name": "another"}}))
    with pytest.raises(ConfigError, match=r"must name runs of one data set; ease is of .* and popularity of another"):
        open_runs([tmp_path])


def test_each_run_answers_by_its_label(client: TestClient, folder: Path) -> None:
    for label in ("bpr-mf", "ease", "popularity"):
        service = Service(open_run(folder / label))
        answer = client.get("/v1/users/u3/recommendations", params={"model": label, "k": 4})
        assert answer.json() == service.recommend(["u3"], 4, threads=1)[0].to_json()
        assert client.get("/v1/model", params={"model": label}).json()["model"] == label
        answer = client.post("/v1/recommendations", json={"history": [101], "model": label, "k": 3})
        expected = service.recommend_histories(service.histories([[101]]), 3, threads=1)[0]
        assert [item["item_id"] for item in answer.json()["items"]] == [item.item_id for item in expected.items]
    default = client.get("/v1/users/u3/recommendations").json()
    assert default == client.get("/v1/users/u3/recommendations", params={"model": "bpr-mf"}).json()
    refused = client.get("/v1/users/u3/recommendations", params={"model": "mf"})
    assert refused.status_code == 422
    assert "bpr-mf, ease, popularity" in refused.json()["detail"]


def test_the_leaderboard_has_metrics_and_intervals_of_validation(client: TestClient) -> None:
    board = client.get("/v1/leaderboard").json()
    assert (board["on"], board["metric"]) == ("valid", "ndcg@20")
    assert [entry["label"] for entry in board["models"]] == ["bpr-mf", "ease", "popularity"]
    first, _, last = board["models"]
    assert first["metrics"] == {"ndcg@20": {"mean": 0.5, "ci95": [0.4, 0.6]}}
    assert (first["protocol"], first["num_users_judged"], first["train_seconds"]) == ("full", 60, 3.5)
    assert (last["metrics"], last["curve"]) == ({}, [])


def test_a_curve_has_the_epochs_of_the_first_fit(tmp_path: Path) -> None:
    judged: dict[str, Any] = {"stage": "fit", "epoch": 2, "loss": 0.4, "valid_metrics": {"ndcg@20": 0.1}}
    plain: dict[str, Any] = {"stage": "fit", "epoch": 1, "loss": 0.5, "valid_metrics": None}
    again: dict[str, Any] = {"stage": "refit", "epoch": 1, "loss": 0.5, "valid_metrics": None}
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in (plain, judged, again)))
    first, second = {"epoch": 1, "loss": 0.5, "value": None}, {"epoch": 2, "loss": 0.4, "value": 0.1}
    assert curve(first_fit(log), "ndcg@20") == [first, second]
    log.write_text("".join(json.dumps(line) + "\n" for line in [plain] * MAX_CURVE + [judged]))
    assert curve(first_fit(log), "ndcg@20") == [second]
    log.write_text("{")
    assert first_fit(log) == first_fit(tmp_path / "none") == curve([], "ndcg@20") == []


def test_a_history_has_events_first_and_then_the_run(client: TestClient, folder: Path) -> None:
    of_run = client.get("/v1/users/u1/history").json()
    known = [item.item_id for item in Service(open_run(folder / "bpr-mf")).history("u1")]
    assert of_run["user_id"] == "u1"
    assert [item["item_id"] for item in of_run["items"]] == known
    assert {item["source"] for item in of_run["items"]} == {"run"}
    new = next(item for item in range(100, 140) if item not in known)
    for number, (item, value) in enumerate([(known[1], 1.0), (new, None), (known[1], 4.5)]):
        client.post("/v1/events", json={"user_id": "u1", "item_id": item, "key": f"h{number}", "value": value})
    shown = client.get("/v1/users/u1/history", params={"k": 4}).json()["items"]
    assert [(item["item_id"], item["rating"], item["source"]) for item in shown] == [
        (known[1], 4.5, "event"),
        (new, None, "event"),
        (known[0], 5.0, "run"),
        (known[2], 5.0, "run"),
    ]
    assert shown[1]["title"] == f"Film {new - 100} ({new + 1880})"
    assert client.get("/v1/users/nobody/history").status_code == 404


def test_without_words_the_most_popular_items_are_found(client: TestClient, folder: Path) -> None:
    found = [item["item_id"] for item in client.get("/v1/items", params={"k": 5}).json()["items"]]
    counts = np.bincount(load(folder / "bpr-mf").train.items)
    assert [counts[item - 100] for item in found] == sorted(counts, reverse=True)[:5]


def test_the_map_shows_items_by_their_vectors(client: TestClient) -> None:
    shown = client.get("/v1/map").json()
    assert shown["label"] == "bpr-mf"
    assert len(shown["points"]) == 40
    assert {"item_id", "title", "year", "genres", "x", "y"} == set(shown["points"][0])
    refused = client.get("/v1/map", params={"model": "popularity"})
    assert refused.status_code == 422
    assert "vector for each item" in refused.json()["detail"]


def test_the_axes_of_the_map_are_the_principal_ones(folder: Path) -> None:
    from sklearn.decomposition import PCA

    model = load(folder / "bpr-mf")
    found = item_map(model, limit=25)
    counts = np.bincount(model.train.items, minlength=40)
    assert counts[found.items].tolist() == sorted(counts, reverse=True)[:25]
    vectors = model.item_embeddings()
    assert vectors is not None
    oracle = PCA(2).fit(vectors[found.items].astype(float))
    np.testing.assert_allclose(found.explained, oracle.explained_variance_ratio_, rtol=1e-6)
    expected = oracle.transform(vectors[found.items].astype(float))
    expected /= np.abs(expected).max()
    signs = np.sign((expected * found.points).sum(axis=0))
    np.testing.assert_allclose(found.points * signs, expected, atol=1e-6)
    with pytest.raises(ConfigError, match="vector for each item"):
        item_map(MODELS["popularity"]().fit(model.train))


def test_the_page_is_there_and_nothing_else_of_the_disk(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for path in ("/../http/app.py", "/%2e%2e/http/app.py", "/..%2fhttp%2fapp.py", "/nothing.js", "/v1/nothing"):
        assert client.get(path).status_code == 404
    assert client.post("/", json={}).status_code == 404


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nothing", "/healthz"])
def test_a_strict_policy_goes_with_every_answer(client: TestClient, path: str) -> None:
    policy = dict(part.strip().split(" ", 1) for part in client.get(path).headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
