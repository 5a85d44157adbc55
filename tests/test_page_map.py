"""The map of items in a browser."""

from __future__ import annotations

import pytest
from browsing import Visit, soon
from playwright.sync_api import Route, expect

pytestmark = pytest.mark.browser


def test_the_map_names_what_the_pointer_is_on(visit: Visit) -> None:
    page = visit.open("map")
    page.get_by_label("Find on the map").fill("film 21")
    tip = page.locator(".tip")
    expect(tip).to_contain_text("Film 21")
    expect(tip).to_contain_text("Comedy")
    # What was found stands in the middle.
    page.get_by_label("Find on the map").fill("f\u00edlm 22")
    expect(tip).to_contain_text("Film 22")
    box = page.locator("#plane").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#map-status")).to_contain_text("Film 22, 2002. Drama. Picked.")
    page.get_by_label("Model").select_option("popularity")
    expect(page.locator("#map-status")).to_contain_text("needs a model with a vector for each item")
    visit.complaints.clear()


def test_the_map_says_that_it_loads_and_then_finds_what_was_asked(visit: Visit) -> None:
    page, held = visit.page, list[Route]()
    page.route("**/v1/map*", lambda route: held.append(route))
    page.goto(f"{visit.origin}/#map")
    page.get_by_label("Find on the map").fill("film 21")
    page.wait_for_timeout(300)  # a search waits 200 ms for more letters
    said = page.locator("#map-status")
    expect(said).to_have_text("Loading\u2026")
    held[0].continue_()
    expect(said).to_contain_text("Film 21, 2001. Comedy. Enter picks it.")
    page.get_by_label("Find on the map").fill("no such film")
    expect(said).to_have_text("Nothing on the map has all these words.")
    page.get_by_label("Find on the map").fill("")
    expect(said).to_contain_text("40 items as bpr-mf sees them")


def test_the_wheel_zooms_about_the_pointer_and_then_scrolls(visit: Visit) -> None:
    page = visit.open("map")
    page.get_by_label("Find on the map").fill("film 21")
    expect(page.locator(".tip")).to_contain_text("Film 21")
    page.get_by_role("button", name="Show all").click()
    where = "tip => ['--x', '--y'].map((name) => parseFloat(tip.style.getPropertyValue(name)))"
    found = page.locator(".tip").evaluate(where)
    box = page.locator("#plane").bounding_box()
    assert box
    page.mouse.move(box["x"] + found[0], box["y"] + found[1])
    for _ in range(5):
        page.mouse.wheel(0, -100)
    page.get_by_role("button", name="Zoom out").wait_for()
    soon(lambda: page.locator(".tip").evaluate(where) == pytest.approx(found, abs=1))
    assert page.evaluate("scrollY") == 0
    for _ in range(6):
        page.mouse.wheel(0, 100)
    soon(lambda: page.evaluate("scrollY") > 0)
