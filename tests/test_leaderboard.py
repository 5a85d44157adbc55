"""A leaderboard: its rows, and as text, Markdown, CSV, JSON and pictures."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_up import BROKEN, FULL, MF, POPULARITY, PUBLISHED, write

from neucf.experiment import Leaderboard, Result, write_leaderboard
from neucf.experiment.leaderboard_files import to_markdown
from neucf.experiment.plots import _drawn

Call = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("made_up_sets")


def test_the_table_goes_to_the_terminal_and_into_files(tmp_path: Path, neucf: Call) -> None:
    write(tmp_path, FULL, POPULARITY, MF, PUBLISHED)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out", "--threads", 1)
    assert done.code == 0, done.err
    shown = [line.rstrip() for line in done.out.splitlines()]
    assert shown[1].startswith("tiny: full ranking, test part; ml-latest-small; split random:0.6/0.2/0.2")
    place = next(number for number, line in enumerate(shown) if line.startswith(" mf "))
    assert shown[place + 1].split() == ["Ann", "2001", "0.5"]
    assert "leaderboard.md gives the sources of the numbers of others." in shown
    assert max(map(len, shown)) <= 80 or shown[-1].startswith("Written:")
    for name in ("curves.png", "time.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    table = text.partition("## Beyond accuracy, and the cold, test part\n\n")[2].splitlines()
    heads, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (table[0], table[2]))
    found = json.loads(neucf("evaluate", tmp_path / "out" / "mf-seed0", "-k", 5, "--json", "--threads", 1).out)
    assert heads[1:6] == ["coverage@5", "Gini@5", "mean popularity@5", "genre diversity@5", "cold users"]
    assert cells[1] == f"{found['beyond_accuracy']['coverage@5']:.4f}"
    assert cells[5:7] == [str(found["num_cold_users"]), str(found["num_cold_items"])]
    assert (heads[8], cells[8]) == ("nDCG@5, warm items", f"{found['warm_items']['metrics']['ndcg@5']['mean']:.4f}")
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.json"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_sixteen_models_look_different_in_a_plot() -> None:
    labels = [f"model {number}" for number in range(16)]
    rows = [SimpleNamespace(label=label, num_seeds=1) for label in labels]
    board: Any = SimpleNamespace(results=[SimpleNamespace(label=label) for label in labels], rows=rows)
    found = _drawn(board)
    assert len({(colour, dash) for _, colour, (dash, _) in found}) == 16
    assert len({(colour, dash) for _, colour, (_, dash) in found}) == 16


def made_up(label: str, seed: int, valid: float, test: float, error: str | None = None) -> Result:
    """A result with the figures given."""
    model = "mf" if label.startswith("mf") else label
    if error is not None:
        return Result(label, model, seed, error=error)

    def document(on: str, value: float) -> dict[str, Any]:
        names = ("recall", "precision", "ndcg", "hit", "mrr", "map")
        metrics = {f"{name}@5": {"mean": value, "ci95": [0.0, 1.0]} for name in names}
        return {"protocol": "full", "on": on, "ties": "hash", "metrics": metrics}

    return Result(label, model, seed, "run", 10.0 + seed, document("test", test), document("valid", valid))


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    alone = '[published."Bob | 2002"]\nmetrics = { "hit@5" = 0.25 }\nsource = "Another"\nselected_on_test = true\n'
    recipe = write(tmp_path, FULL, POPULARITY, MF, BROKEN, PUBLISHED, alone)
    results = [
        made_up("popularity", 0, 0.2, 0.9),
        made_up("mf", 0, 0.3, 0.1),
        made_up("mf-broken", 0, 0, 0, error="No luck."),
        made_up("popularity", 1, 0.2, 0.9),
        made_up("mf", 1, 0.5, 0.3),
        made_up("mf-broken", 1, 0, 0, error="No luck again."),
    ]
    return Leaderboard.of(recipe, results)


def test_rows_are_ordered_by_validation_and_averaged_over_seeds(board: Leaderboard) -> None:
    assert [row.label for row in board.rows] == ["mf", "popularity", "mf-broken"]
    mf, popularity, broken = board.rows
    assert mf.valid["ndcg@5"].mean == pytest.approx(0.4)
    assert mf.test["ndcg@5"].mean == pytest.approx(0.2)
    # Of .1 and .3: each .1 from the mean, and one degree of freedom.
    assert mf.test["ndcg@5"].deviation == pytest.approx(0.2 / 2**0.5)
    assert mf.train_seconds == pytest.approx(10.5)
    assert popularity.test["ndcg@5"].deviation == 0
    assert (broken.num_seeds, broken.test, len(broken.errors)) == (0, {}, 2)
    assert board.failed


def test_the_title_says_protocol_part_data_split_and_seeds(board: Leaderboard) -> None:
    assert board.title == (
        "tiny: full ranking, test part; ml-latest-small; split random:0.6/0.2/0.2, seed 1; 2 seeds of training"
    )


def test_markdown_shows_published_numbers_beside(board: Leaderboard) -> None:
    text = to_markdown(board).splitlines()
    assert text[0] == f"# {board.title}"
    assert text[2] == "| model | nDCG@5, validation | nDCG@5 | Recall@5 | training |"
    assert text[4] == "| mf | 0.4000 ±.1414 | 0.2000 ±.1414 | 0.2000 ±.1414 | 10.5 s |"
    assert text[5] == "| &emsp;*Ann 2001* |  | *0.5* |  |  |"
    assert text[7] == "| mf-broken | failed |  |  |  |"
    assert text[8] == "| *Bob \\| 2002†* |  |  |  |  |"
    assert "mf-broken failed: seed 1: No luck again.  " in text
    assert "| Hit@5 | 0.2000 ±.1414 | 0.9000 ±.0000 |" in text
    assert "- Ann 2001: A paper" in text
    assert not any("leaderboard.md" in line for line in text)


def test_csv_and_json_hold_every_metric(board: Leaderboard, tmp_path: Path) -> None:
    write_leaderboard(board, tmp_path)
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["mf", "popularity", "mf-broken", "Ann 2001", "Bob | 2002"]
    assert float(rows["mf"]["test hit@5"]) == pytest.approx(0.2)
    assert float(rows["mf"]["valid map@5 deviation"]) == pytest.approx(0.2 / 2**0.5)
    assert (rows["mf"]["seeds"], rows["Ann 2001"]["source"]) == ("2", "A paper")
    assert (rows["Ann 2001"]["test ndcg@5"], rows["Ann 2001"]["test hit@5"]) == ("0.5", "")
    assert rows["mf-broken"]["error"] == "seed 0: No luck. seed 1: No luck again."
    document = json.loads((tmp_path / "leaderboard.json").read_text())
    assert document["rows"][0]["test"]["mrr@5"]["mean"] == pytest.approx(0.2)
    assert len(document["models"]) == 6


def test_without_matplotlib_a_sentence_says_so(tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FULL, POPULARITY)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = neucf("run", tmp_path / "tiny.toml", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "pip install 'neucf[plots]'" in done.err
    assert not (tmp_path / "out" / "time.png").exists()
