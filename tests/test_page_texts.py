"""What stands on the page: whatever titles and ids hold, to be read by everyone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from browsing import CONTRAST, HOSTILE, VIEWS, Visit, search, soon, texts
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Route, expect

pytestmark = pytest.mark.browser


def test_what_is_said_is_true_of_data_without_ratings(visit: Visit) -> None:
    page = visit.page

    def without(route: Route) -> None:
        answer = route.fetch().json()
        route.fulfill(json={**answer, "items": [{**item, "rating": None} for item in answer["items"]]})

    page.route("**/history*", without)
    visit.open("users")
    expect(page.locator("#users .status")).to_contain_text("User u0: what they are known by")


def test_a_title_from_right_to_left_leaves_what_stands_beside_it(visit: Visit) -> None:
    item = {"item_id": "100", "title": "\u202eesrever", "year": None, "genres": []}
    page = visit.page
    page.route("**/v1/items*", lambda route: route.fulfill(json={"items": [item]}))
    visit.open()
    page.locator("#found button").click()
    title, cross = (page.locator(f"#picked {part}").bounding_box() for part in ("bdi", "span"))
    assert title
    assert cross
    assert title["x"] + title["width"] <= cross["x"]


def test_hostile_titles_are_shown_as_text(visit: Visit) -> None:
    page = visit.open()
    for title in HOSTILE:
        search(page, title)
        page.locator("#found .title").get_by_text(title, exact=True).click()
        expect(page.locator("#picked")).to_contain_text(title)
    expect(page.locator("#suggestions .why").first).to_contain_text("<")
    page.click("nav a[href='#map']")
    page.get_by_label("Find on the map").fill("onerror")
    expect(page.locator(".tip .title")).to_have_text(HOSTILE[1])
    page.click("nav a[href='#users']")
    visit.wait("users")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main img, main script, #discover svg, #map svg").count() == 0


CHARACTERS = st.characters(exclude_categories=["Cs"])

NAMES = st.lists(
    st.sampled_from([*HOSTILE, "&amp;", "</li>", "<b>", "\0", "\u202e"]) | st.text(CHARACTERS, max_size=5)
).map("".join)

ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": NAMES,
            "title": st.none() | NAMES,
            "year": st.none() | st.integers(-10, 2100),
            "genres": st.lists(NAMES, max_size=3),
            "because": st.lists(st.fixed_dictionaries({"item_id": NAMES, "title": st.none() | NAMES}), max_size=3),
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item["item_id"],
)

HARD = [
    {"item_id": HOSTILE[0], "title": HOSTILE[1], "year": 1999, "genres": [HOSTILE[2]], "because": []},
    {"item_id": 7, "title": "Road Warrior, The (Mad Max 2) (1981)", "year": 1981, "genres": [], "because": []},
]


def shown(item: dict[str, Any]) -> str:
    """Returns what the page should call an item."""
    if item["title"] is None:
        return str(item["item_id"])
    bare = item["title"]
    if item.get("year") is not None:
        bare = bare.removesuffix(f" ({item['year']})")
    return re.sub(r"\A(.+?), (The|An?)( \(.*\))?\Z", r"\2 \1\3", bare)


def test_whatever_titles_and_ids_are_they_stay_text(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(
        "window.tags = () => [...document.querySelectorAll('#found *, #suggestions *')].map((each) => each.tagName)"
    )
    answer: dict[str, Any] = {}

    def fulfil(route: Route) -> None:
        route.fulfill(json=answer)

    page.route(re.compile("/v1/(items|recommendations)"), fulfil)
    turns = iter(range(10_000))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(items=ITEMS, fallback=st.sampled_from([None, "popularity"]))
    @example(items=HARD, fallback=None)
    def stays_text(items: list[dict[str, Any]], fallback: str | None) -> None:
        more = {"score": 1.0, "placed": None}
        answer.update(user_id=None, matched=[], fallback=fallback, items=[{**item, **more} for item in items])
        with page.expect_response("**/v1/items*"):
            search(page, f"turn {next(turns)}")
        with page.expect_response("**/v1/recommendations"):
            page.evaluate("document.getElementById('year-from').dispatchEvent(new Event('input'))")
        expected = [shown(item) for item in items]
        for part in ("#found", "#suggestions"):
            soon(lambda part=part: texts(page, f"{part} .title") == expected)
        assert texts(page, "#suggestions cite") == [shown(reason) for item in items for reason in item["because"]]
        tags = page.locator("#found *, #suggestions *").evaluate_all("all => all.map((each) => each.tagName)")
        assert set(tags) <= {"LI", "BUTTON", "SPAN", "DIV", "H3", "P", "CITE"}
        assert page.evaluate("window.pwned") is None

    stays_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser: Browser, origin: str, scheme: Any) -> None:
    visit = Visit(browser, origin, color_scheme=scheme)
    page = visit.open()
    page.get_by_text("Filters").click()
    page.locator("#found button", has_text="Film 13").click()
    page.get_by_role("button", name="Comedy", exact=True).click()
    expect(page.locator("#suggestions .why").first).to_be_visible()
    for view in VIEWS:
        page.click(f"nav a[href='#{view}']")
        visit.wait(view)
        if view == "map":
            page.locator("#plane").focus()
            expect(page.locator(".tip")).to_be_visible()
        page.mouse.move(0, 0)
        page.wait_for_timeout(250)  # a colour that changes takes 150 ms
        measured = page.evaluate(CONTRAST)
        assert len(measured) > 15
        assert min(measured)[0] >= 4.5, min(measured)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 128) == (scheme == "dark")
    visit.close()
