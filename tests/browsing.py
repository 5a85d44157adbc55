"""A headless Chromium on the page, which notes what goes wrong in it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

VIEWS = ("discover", "users", "models", "map")
HOSTILE = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    '"><svg onload="window.pwned = 1">&lt;b&gt;',
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The least ratio of luminances between each text and what it stands on, by WCAG 2.2 (1.4.3), and where it is.
# The browser itself turns any colour into red, green and blue, by painting it.
CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const grounds = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const style = getComputedStyle(each);
      const stops = style.backgroundImage.match(/oklch\\([^)]*\\)/g);
      if (stops) return stops.map(rgba);
      const ground = rgba(style.backgroundColor);
      if (ground[3] === 255) return [ground];
    }
    return [[255, 255, 255, 255]];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    if (!element.checkVisibility() || element.closest(".skip, canvas")) continue;
    const nodes = [...element.childNodes].filter((node) => node.nodeType === 3);
    const words = nodes.map((node) => node.data.trim()).join("");
    if (!words && !element.placeholder) continue;
    const style = getComputedStyle(element, words ? null : "::placeholder");
    const text = luminance(rgba(element.namespaceURI.endsWith("svg") ? style.fill : style.color));
    for (const ground of grounds(element).map(luminance)) {
      const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
      found.push([ratio, `${element.tagName}.${element.className} ${words.slice(0, 40)}`]);
    }
  }
  return found;
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts Chromium: the one that NEUCF_TEST_CHROMIUM names, else the one on PATH."""
    path = os.environ.get("NEUCF_TEST_CHROMIUM") or shutil.which("chromium")
    assert path, "Install Debian's chromium, or name one in NEUCF_TEST_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A page in a context of its own; `complaints` and `elsewhere` hold what a good page has none of."""

    def __init__(self, browser: Browser, origin: str, **context: Any) -> None:
        self.origin = origin
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self._context = browser.new_context(**{"reduced_motion": "reduce", **context})
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self._context.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith(f"{self.origin}/"):
            self.elsewhere.append(url)

    def open(self, view: str = "discover") -> Page:
        """Opens a view, and waits until it shows something."""
        self.page.goto(f"{self.origin}/#{view}")
        self.wait(view)
        return self.page

    def wait(self, view: str) -> None:
        """Waits until a view shows what it is about."""
        shown = {
            "discover": "#suggestions:not([aria-busy]) li",
            "users": "#columns li",
            "models": ".curve, .curves .notice",
            "map": "#map .toggles button",
        }
        self.page.locator(shown[view]).first.wait_for()
        if view == "discover":
            self.page.locator("#found li").first.wait_for()

    def close(self) -> None:
        """Closes the page, which must have been a good one."""
        self._context.close()
        assert self.complaints == []
        assert self.elsewhere == []


def search(page: Page, words: str) -> None:
    page.get_by_label("Search by title").fill(words)


def texts(page: Page, selector: str) -> list[str]:
    """Returns texts to the letter."""
    found: list[str] = page.locator(selector).evaluate_all("all => all.map((each) => each.textContent)")
    return found


def titles(page: Page) -> list[str]:
    return texts(page, "#suggestions .title")


def soon(true: Callable[[], bool]) -> None:
    """Waits until something is true; the policy keeps Playwright from doing so in the page."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
