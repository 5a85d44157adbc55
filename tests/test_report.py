"""report.html: one page that loads nothing, escapes everything, and shows what the leaderboard and the runs say."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_up import FIXED, FULL, GMF, MF, POPULARITY, PUBLISHED, write, write_sets

from neucf.artifacts import open_run
from neucf.reporting.charts import interval_chart, line_chart, ticks
from neucf.reporting.samples import samples

Call = Callable[..., Any]

COMPARED = FULL + 'reference = "popularity"\n'
EVIL = "<script>alert('x')</script> & \"Sons\" (2000)"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_sets(root)
    movies = root / "ml-latest-small" / "movies.csv"
    quoted = EVIL.replace('"', '""')
    movies.write_text(re.sub(r",Film \d+ \(2000\),", lambda _: f',"{quoted}",', movies.read_text()))
    return root


@pytest.fixture(autouse=True)
def _made_up_sets(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUCF_DATA", str(data))


class Page(HTMLParser):
    """Collects tags, attributes and text; void elements aside, what is opened must be closed."""

    VOID = ("meta", "br")

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def execute(neucf: Call, folder: Path, *parts: str) -> Page:
    write(folder, *parts)
    done = neucf("run", folder / "tiny.toml", "--out", folder / "out", "--threads", 1)
    assert done.code == 0, done.err
    assert "report.html" in done.out.replace("\n", "")
    return Page(folder / "out" / "report.html")


def test_the_page_loads_nothing_and_escapes_titles(tmp_path: Path, neucf: Call) -> None:
    page = execute(neucf, tmp_path, COMPARED, POPULARITY, MF, GMF)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not {"src", "href", "srcset", "action", "style"} & {name for name, _ in page.attributes}
    assert not any(name.startswith("on") for name, _ in page.attributes)
    source = (tmp_path / "out" / "report.html").read_text()
    assert "url(" not in source
    assert "@import" not in source
    assert "http" not in source.replace("http-equiv", "")
    assert EVIL in page.text
    # A title from right to left turns nothing round but itself.
    assert re.search(r"<li><bdi>&lt;script&gt;", source)
    assert "<script" not in source


def test_the_page_shows_what_the_leaderboard_says(tmp_path: Path, neucf: Call) -> None:
    page = execute(neucf, tmp_path, COMPARED, POPULARITY, MF, GMF, PUBLISHED)
    text = " ".join(page.text.split())
    table = (tmp_path / "out" / "leaderboard.md").read_text()
    for cell in re.findall(r"\d\.\d{4}", table[: table.index("## Every")]):
        assert cell in text
    for heading in (
        "Data", "Leaderboard", "Against popularity: nDCG@5, test part, paired by user", "Curves and buckets",
        "Beyond accuracy: the lists themselves, and the cold", "nDCG@5, warm users", "nDCG@5, warm items", "cold items",
        "To get this again", "nDCG@5, test: 95 % interval",
    ):  # fmt: skip
        assert heading in text
    assert "Training: nDCG@5 on validation by epoch, first seed" in text
    assert "By user activity: nDCG@5, test part" in text
    assert f"neucf run {tmp_path / 'tiny.toml'}" in text
    assert 'label = "mf"' in text
    # It may be mailed alone.
    assert "Sources Ann 2001: A paper" in text
    assert "leaderboard.md" not in text
    assert "held out" in text
    assert text.count("known rows User") == 0
    assert len(re.findall(r"User \d+, \d+ known rows", text)) == 3


def test_compare_writes_it_too(tmp_path: Path, neucf: Call) -> None:
    execute(neucf, tmp_path, COMPARED, POPULARITY, MF)
    runs = [tmp_path / "out" / f"{label}-seed0" for label in ("popularity", "mf")]
    file = tmp_path / "compared.html"
    for on, part in (("test", "test"), ("valid", "validation")):
        done = neucf("compare", *runs, "--on", on, "--report", file, "--threads", 1)
        assert done.code == 0, done.err
        text = " ".join(Page(file).text.split())
        assert f"Against popularity: nDCG@5, {part} part, paired by user" in text
        assert f"neucf compare {runs[0]} {runs[1]}" in text
        assert "Rated best: " in text
    refused = neucf("compare", *runs, "--report", tmp_path / "nowhere" / "file.html", "--threads", 1)
    assert refused.code == 2
    assert "`--report` must be a file that can be written" in refused.err


def test_a_report_on_validation_shows_nothing_of_test(tmp_path: Path, neucf: Call) -> None:
    execute(neucf, tmp_path, COMPARED, POPULARITY, MF)
    run = open_run(tmp_path / "out" / "mf-seed0")
    without = replace(run, split=replace(run.split, test=None))
    found = samples(run, "valid")
    assert found == samples(without, "valid")
    assert found != samples(run, "test")
    assert any(each["held_out"] for user in found for each in user["items"])


def test_people_held_out_are_shown_with_what_is_known_of_them(tmp_path: Path, neucf: Call) -> None:
    recipe = COMPARED.replace("random:0.6/0.2/0.2", "users:0.6/0.2/0.2")
    text = " ".join(execute(neucf, tmp_path, recipe, POPULARITY).text.split())
    run = open_run(tmp_path / "out" / "popularity-seed0")
    histories = (run.split.valid_history, run.split.test_history)
    num_known = sum(len(part) for part in histories if part is not None)
    assert f"{num_known:,} known of users held out" in text
    assert ", 0 known rows" not in text
    assert ", 0 without a known row" in text


def test_the_sampled_protocol_has_a_report_too(tmp_path: Path, neucf: Call) -> None:
    text = " ".join(execute(neucf, tmp_path, FIXED + 'reference = "popularity"\n', POPULARITY, MF).text.split())
    assert "Against popularity: Hit@3, test part, paired by user" in text
    assert "By item popularity: Hit@3, test part" in text


def test_a_failed_model_is_in_the_table(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, COMPARED, POPULARITY, MF.replace("lr = 0.05", 'loss = "bce"\noptimizer = "sgd"\nlr = 1e30'))
    assert neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1).code == 1
    text = Page(tmp_path / "out" / "report.html").text
    assert "failed" in text
    assert "mf failed: seed 0:" in text


def test_without_jinja2_a_sentence_says_so(tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FULL, POPULARITY)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    assert done.code == 0, done.err
    assert "No report was written: it needs Jinja2." in done.err
    assert not (tmp_path / "out" / "report.html").exists()


def test_charts_keep_proportions() -> None:
    chart = line_chart("t", "epoch", {"a": {0: 0.0, 10: 1.0, 5: 0.25}, "b": {5: 0.5}}, {"a": 0, "b": 9})
    a, b = chart.lines
    (x0, y0, _), (x5, y5, _), (x10, y10, _) = a.dots
    assert (x5 - x0) == pytest.approx(x10 - x5)
    assert (y0 - y5) / (y0 - y10) == pytest.approx(0.25, abs=0.01)
    assert b.dots[0][0] == x5
    assert (a.dashed, b.dashed, b.colour, b.path) == (False, True, 1, "")
    assert line_chart("t", "epoch", {}, {}) is None
    bars = interval_chart("t", [("a", -0.1, 0.1, 0.3), ("b", 0.1, 0.2, 0.4)])
    (_, _, low, middle, high), _ = bars.rows
    assert (middle - low) == pytest.approx(high - middle, abs=0.2)
    assert (bars.zero - low) == pytest.approx(middle - bars.zero, abs=0.2)


def test_an_interval_stands_clear_of_its_name_and_a_tick_of_the_edge() -> None:
    for label in ("mf", "a" * 20, "a" * 80 + "b"):
        chart = interval_chart("t", [(label, -0.1, 0.1, 0.3)])
        ((name, _, low, _, _),) = chart.rows
        start, _, end = name.partition("\N{HORIZONTAL ELLIPSIS}")
        assert label.startswith(start)
        assert label.endswith(end)
        # A letter of 13 px is 7 wide, more or less.
        assert 4 + 7 * len(name) < low
        assert all(x >= 7 * len(text) / 2 and x + 7 * len(text) / 2 <= chart.width for x, text in chart.ticks)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
@example(-6.103515625e-05, 250001.0)
@example(0.0, 5e-324)
@example(-1e6, 1e-9)
def test_ticks_are_few_round_and_cover(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 2 <= len(found) <= 12
    steps = np.diff(found)
    assert np.allclose(steps, steps[0], rtol=1e-3)
    assert found[0] <= low + 1e-6 * max(1, abs(low))
    assert found[-1] >= low + span - 1e-6 * max(1, abs(low) + span)
