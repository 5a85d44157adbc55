"""What the page may load and run, and the key it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import VIEWS, Visit
from playwright.sync_api import Browser, Error, Route, expect
from serving_process import Server

pytestmark = pytest.mark.browser

KEY = "s3cret"


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
def guarded(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(page_runs, tmp_path_factory.mktemp("guarded"), NEUCF_API_KEY=KEY) as server:
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
