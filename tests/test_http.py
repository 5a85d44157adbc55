"""The service over HTTP: lists, items and events."""

from __future__ import annotations

from typing import Any

import pytest
from http_client import JSON, ids, is_problem, post
from starlette.testclient import TestClient

from neucf.serving.http import Backend


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
