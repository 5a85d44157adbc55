from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRAST, Visit, chromium
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Error, Page, Route, expect
from serving_process import Server
from serving_runs import GENRES, write_planted

pytestmark = pytest.mark.browser
VIEWS = ("discover", "users", "models", "map")
KEY = "s3cret"
HOSTILE = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    '"><svg onload="window.pwned = 1">&lt;b&gt;',
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of films of which some have hostile titles: bpr-mf, with a curve, then ease and popularity."""
    made = tmp_path_factory.mktemp("page") / "runs"
    for model, value in (("bpr-mf", 0.5), ("ease", 0.25), ("popularity", 0.125)):
        metric = {"mean": value, "ci95": [value - 0.1, value + 0.1]}
        valid = {"valid": {"protocol": "full", "num_users": 60, "metrics": {"ndcg@20": metric, "hit@10": metric}}}
        write_planted(made / model, model, titles=HOSTILE, metrics=valid, fits=[{"seconds": 1.5}])
    lines = [
        {"stage": "fit", "epoch": epoch, "loss": 1 / epoch, "valid_metrics": {"ndcg@20": 0.1 * epoch}}
        for epoch in range(1, 6)
    ]
    (made / "bpr-mf" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


@pytest.fixture(scope="module")
def origin(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(runs, tmp_path_factory.mktemp("server")) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Visit]:
    made = Visit(browser, origin)
    yield made
    made.close()


def search(page: Page, words: str) -> None:
    page.get_by_label("Search by title").fill(words)


def texts(page: Page, selector: str) -> list[str]:
    """Returns texts to the letter."""
    found: list[str] = page.locator(selector).evaluate_all("all => all.map((each) => each.textContent)")
    return found


def titles(page: Page) -> list[str]:
    return texts(page, "#suggestions .title")


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


def soon(true: Callable[[], bool]) -> None:
    """Waits until something is true; the policy keeps Playwright from doing so in the page."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


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


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere(visit: Visit) -> None:
    answer = visit.page.goto(visit.origin)
    assert answer
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for view in VIEWS:
        visit.open(view)
    assert visit.page.locator("script:not([src]), style").count() == 0
    with pytest.raises(Error, match="TrustedHTML"):
        visit.page.evaluate("document.body.innerHTML = '<p>'")
    visit.page.evaluate(
        "const script = document.createElement('script'); script.append('window.pwned = 1');"
        "document.head.append(script)"
    )
    assert visit.page.evaluate("window.pwned") is None
    assert visit.complaints
    visit.complaints.clear()


@pytest.fixture(scope="module")
def guarded(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(runs, tmp_path_factory.mktemp("guarded"), NEUCF_API_KEY=KEY) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_a_key_given_to_the_browser_is_enough(browser: Browser, guarded: str) -> None:
    visit = Visit(browser, guarded, http_credentials={"username": "anyone", "password": KEY})
    page = visit.open()
    expect(page.get_by_role("dialog")).to_have_count(0)
    visit.close()


def test_the_page_asks_for_the_key_and_keeps_it_in_the_tab(browser: Browser, guarded: str) -> None:
    visit = Visit(browser, guarded)
    page = visit.page

    # As where the browser was given a key that fits no more once the page is there.
    def with_key(route: Route) -> None:
        route.continue_(headers={**route.request.headers, "authorization": f"Bearer {KEY}"})

    page.route(lambda url: "/v1/" not in url, with_key)
    page.goto(guarded)
    dialog = page.get_by_role("dialog")
    for key in ("wrong", KEY):
        expect(dialog).to_be_visible()
        dialog.get_by_label("Key").fill(key)
        dialog.get_by_label("Key").press("Enter")
        if key == "wrong":
            expect(dialog).to_contain_text("did not fit")
    visit.wait("discover")
    assert page.evaluate("[JSON.stringify({...sessionStorage}), localStorage.length, document.cookie]") == [
        json.dumps({"neucf-key": KEY}, separators=(",", ":")),
        0,
        "",
    ]
    assert KEY not in page.url
    assert all("401" in complaint for complaint in visit.complaints)
    visit.complaints.clear()
    visit.close()
