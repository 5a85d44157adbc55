"""The page in a browser: picks, filters, users and models."""

from __future__ import annotations

import pytest
from browsing import HOSTILE, VIEWS, Visit, search, titles
from playwright.sync_api import Browser, Route, expect
from serving_runs import GENRES

pytestmark = pytest.mark.browser


def test_picking_a_film_changes_the_list_and_says_why(visit: Visit) -> None:
    page = visit.open()
    expect(page.locator("#discover .status")).to_contain_text("Popular with everyone")
    before = titles(page)
    search(page, "film 8")
    page.get_by_role("button", name="Film 8", pressed=False).click()
    expect(page.locator("#suggestions li").first).to_contain_text("Because you liked Film 8")
    after = titles(page)
    assert after != before
    assert "Film 8" not in after
    # The film's group is every fourth one; ten of them are there, one of them is picked, and two have hostile titles.
    assert len({title for title in after[:6] if title in HOSTILE or int(title[5:]) % 4 == 0}) >= 5

    page.get_by_role("button", name=f"Like {after[0]}", exact=True).click()
    expect(page.locator("#picked")).to_contain_text(after[0])
    expect(page.locator("#suggestions .title").first).not_to_have_text(after[0])
    gone = titles(page)[0]
    page.get_by_role("button", name=f"Not for me: {gone}", exact=True).click()
    expect(page.locator("#suggestions .title").first).not_to_have_text(gone)
    assert gone not in titles(page)
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("#discover .status")).to_contain_text("Popular with everyone")
    assert titles(page) == before


def test_a_page_opens_on_a_view_wherever_its_address_leads(visit: Visit) -> None:
    page = visit.page
    for place in ("#main", "#nothing"):
        page.goto("about:blank")
        page.goto(f"{visit.origin}/{place}")
        visit.wait("discover")
    visit.open("users")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{visit.origin}/#main")
    expect(page.locator("#users h1")).to_be_visible()
    expect(page.locator("nav [aria-current]")).to_have_text(["Users"])
    expect(page.locator("nav [aria-current=page]")).to_have_count(1)


def test_picks_and_model_outlive_a_reload(visit: Visit) -> None:
    page = visit.open()
    page.get_by_label("Model").select_option("ease")
    page.locator("#found button", has_text="Film 13").click()
    page.reload()
    expect(page.get_by_label("Model")).to_have_value("ease")
    expect(page.locator("#picked")).to_contain_text("Film 13")
    expect(page.locator("#discover .status")).to_contain_text("Chosen by ease for what you like.")
    page.get_by_label("Model").select_option("popularity")
    expect(page.locator("#discover .status")).to_contain_text("Chosen by popularity.")


def test_what_failed_can_be_tried_again(visit: Visit) -> None:
    page, down = visit.page, [True]

    def answer(route: Route) -> None:
        if down[0]:
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/**", answer)
    page.goto(visit.origin)
    again = page.get_by_role("button", name="Try again")
    expect(page.get_by_role("alert").first).to_contain_text("The service does not answer.")
    down[0] = False
    again.click()
    visit.wait("discover")
    for view in VIEWS[1:]:
        down[0] = True
        page.click(f"nav a[href='#{view}']")
        expect(again).to_be_in_viewport()
        down[0] = False
        again.click()
        visit.wait(view)
        expect(again).to_have_count(0)
    assert all("ERR_FAILED" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


def test_filters_and_diversity_reach_the_list(visit: Visit) -> None:
    page = visit.open()
    page.get_by_text("Filters").click()
    page.get_by_role("button", name="War", exact=True).click()
    page.get_by_label("From year").fill("1990")
    page.get_by_label("to year").fill("2000")
    expect(page.locator("#suggestions li")).to_have_count(3)
    assert set(page.locator("#suggestions .meta").all_text_contents()) == {
        f"{year} · War" for year in (1991, 1995, 1999)
    }
    expect(page.get_by_text("Filters (3)")).to_be_visible()
    with page.expect_request("**/v1/recommendations") as asked:
        page.get_by_label("How varied the list is").fill("0.7")
    assert asked.value.post_data_json["diversity"] == 0.7
    page.get_by_label("to year").fill("1990")
    expect(page.locator("#discover .status")).to_have_text("Nothing fits. Loosen the filters.")
    page.get_by_label("to year").fill("1995")
    page.get_by_label("Model").select_option("ease")
    expect(page.locator("#suggestions li")).to_have_count(2)
    expect(page.get_by_role("button", name="War", exact=True)).to_have_attribute("aria-pressed", "true")


def test_what_the_service_refuses_is_said_in_words(visit: Visit) -> None:
    page = visit.open()
    page.get_by_text("Filters").click()
    page.get_by_label("From year").fill("99999")
    said = page.locator("#discover .status")
    expect(said).to_contain_text("less than or equal to 10000")
    assert (said.text_content() or "").count("less than") == 1
    assert all("422" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit.open()
    keys = page.keyboard

    def tab_to(selector: str) -> None:
        for _ in range(60):
            keys.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline == "solid", f"no focus to see on {selector}"
                return
        raise AssertionError(f"Tab never reached {selector}")

    tab_to(".skip")
    keys.press("Enter")
    tab_to("#search")
    keys.type("film 39")
    expect(page.locator("#found li").first).to_contain_text("Film 39")
    tab_to("#found button")
    keys.press("Space")
    expect(page.locator("#picked")).to_contain_text("Film 39")
    expect(page.locator("#discover .status")).to_contain_text("Chosen by bpr-mf")
    tab_to("#suggestions .like")
    place = page.locator("#suggestions .title").first.text_content()
    keys.press("Enter")
    expect(page.locator("#suggestions .title").first).not_to_have_text(place or "")
    assert page.evaluate("document.activeElement.className") == "like"

    page.locator("nav a[href='#map']").focus()
    keys.press("Enter")
    visit.wait("map")
    assert page.evaluate("document.activeElement.id") == "map-title"
    tab_to("#plane")
    said = page.locator("#map-status")
    expect(said).to_contain_text("Enter picks it.")
    first = said.text_content()
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        keys.press(key)
    expect(said).not_to_have_text(first or "")
    expect(page.locator(".tip .title")).to_be_visible()
    keys.press("Enter")
    expect(said).to_contain_text("Picked.")


def test_users_show_a_history_beside_the_models(visit: Visit) -> None:
    page = visit.open("users")
    columns = page.locator("#columns h2")
    expect(columns).to_have_text(["History", "bpr-mf", "ease"])
    page.get_by_role("button", name="popularity").click()
    expect(columns).to_have_text(["History", "bpr-mf", "ease", "popularity"])
    page.get_by_label("User id").fill("u7")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#users .status")).to_contain_text("User u7: what they rated best")
    expect(page.locator("#columns .why", has_text="Because they liked").first).to_be_visible()
    expect(page.locator("#columns")).not_to_contain_text("you liked")
    # Users choose within their group.
    assert {text.split(" · ")[1] for text in page.locator("#columns > :first-child .meta").all_text_contents()} == {
        GENRES[3]
    }
    page.get_by_label("User id").fill(HOSTILE[0])
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#users .status")).to_contain_text(HOSTILE[0])
    assert all("404" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


def test_models_stand_by_rank_with_intervals_and_curves(visit: Visit) -> None:
    page = visit.open("models")
    assert page.locator(".leaderboard tbody th").all_text_contents()[0].startswith("bpr-mf")
    expect(page.locator(".leaderboard .interval .whisker")).to_have_count(3)
    expect(page.locator(".leaderboard tbody tr").first).to_contain_text("0.4000 to 0.6000")
    expect(page.get_by_role("img", name="bpr-mf: best nDCG@20 0.5000, over 5 epochs")).to_be_visible()
    page.get_by_label("Metric").select_option("hit@10")
    expect(page.locator(".leaderboard tbody tr")).to_have_count(3)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_scrolls_sideways(browser: Browser, origin: str, width: int) -> None:
    visit = Visit(browser, origin, viewport={"width": width, "height": 740})
    page = visit.open()
    page.get_by_text("Filters").click()
    page.locator("#found button").first.click()
    for view in VIEWS:
        page.click(f"nav a[href='#{view}']")
        visit.wait(view)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
    visit.close()
