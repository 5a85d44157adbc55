"""What `neucf recommend` understands and `neucf index` makes, end to end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neucf.cli import display
from neucf.serving import RecommendedItem, Similar

Call = Callable[..., Any]
TITLES = "item_id,title,year,genres\n" + "".join(
    f"{item},{title},{2000 + item},{'War' if item % 2 else 'Drama'}\n"
    for item, title in enumerate(["Casablanca", "Metropolis", "Sabrina", "Sabrina", "Vertigo", "Persona", "Nosferatu"])
)


@pytest.fixture
def run(tmp_path: Path, neucf: Call) -> Path:
    """A run of mf whose item 6, a drama, nobody has touched."""
    rows = [(user, item) for user in range(8) for item in range(6) if (user + item) % 3]
    (tmp_path / "rows.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    (tmp_path / "items.csv").write_text(TITLES)
    train(neucf, tmp_path, "mf")
    return tmp_path / "mf"


def train(neucf: Call, folder: Path, model: str, *settings: str) -> None:
    done = neucf(
        "train", folder / "rows.csv", "--items", folder / "items.csv", "--model", model, "--out", folder / model,
        "--split", "none", "--set", "epochs=2", "--threads", 1, *settings,
    )  # fmt: skip
    assert done.code == 0, done.err


def test_misspelt_titles_and_ids_are_matched_and_shown(run: Path, neucf: Call) -> None:
    done = neucf("recommend", run, "--liked", "Cassablanca", "metropolsi (2001)", "4", "-k", 2, "--json")
    matched = json.loads(done.out)["matched"]
    assert [each["title"] for each in matched] == ["Casablanca (2000)", "Metropolis (2001)", "Vertigo (2004)"]
    assert "Vertigo (2004), item 4" in neucf("recommend", run, "--liked", "vertogo", "-k", 2).out
    assert json.loads(neucf("similar", run, "Vertogo", "-k", 1, "--json").out)["item_id"] == 4


def test_titles_that_cannot_be_told_apart_are_listed(run: Path, neucf: Call) -> None:
    done = neucf("recommend", run, "--liked", "Sabrina")
    assert done.code == 2
    assert "Sabrina (2002), item 2; Sabrina (2003), item 3" in done.err
    assert (
        json.loads(neucf("recommend", run, "--liked", "Sabrina (2003)", "-k", 2, "--json").out)["matched"][0]["item_id"]
        == 3
    )


def test_new_items_are_listed_by_choice_and_marked(run: Path, neucf: Call) -> None:
    for options, mark in ((["--new-items"], "genres"), ([], None)):
        found = json.loads(neucf("recommend", run, "--user", 0, "-k", 7, "--json", *options).out)["items"]
        marks = {item["item_id"]: item["placed"] for item in found}
        assert marks.pop(6) == mark
        assert set(marks.values()) == {None}
    assert "(new): nobody has touched it yet" in neucf("recommend", run, "--user", 0, "-k", 7, "--new-items").out
    refused = neucf("recommend", run, "--all-users", "--out", run.parent / "x.csv", "--new-items")
    assert (refused.code, "--new-items" in refused.err) == (2, True)


def test_an_index_is_built_its_recall_said_and_used(run: Path, neucf: Call) -> None:
    pytest.importorskip("faiss")
    missing = neucf("recommend", run, "--user", 0, "--ann")
    assert (missing.code, "neucf index" in missing.err) == (2, True)
    built = json.loads(neucf("index", run, "-k", 3, "--json").out)
    assert built == {"num_cells": 1, "probes": 1, "recall": 1.0, "k": 3, "num_users": 8}
    assert "Recall@3 against exact lists: 1.000 (mean of 8 users)" in neucf("index", run, "-k", 3).out
    lists = [neucf("recommend", run, "--user", 0, "-k", 3, "--json", *each) for each in ([], ["--ann"])]
    exact, near = ([item["item_id"] for item in json.loads(done.out)["items"]] for done in lists)
    assert exact == near
    train(neucf, run.parent, "mlp", "--set", "tower=8-4")
    assert "such as mf; got mlp" in neucf("index", run.parent / "mlp", "-k", 3).err
    assert neucf("index", run.parent / "mlp", "--retriever", run, "-k", 3).code == 0
    assert neucf("recommend", run.parent / "mlp", "--liked", "Vertigo", "-k", 3, "--ann").code == 0


def test_chosen_users_go_to_a_file(run: Path, tmp_path: Path, neucf: Call) -> None:
    (tmp_path / "ids.txt").write_text("5\n3\n\n5\n")
    done = neucf(
        "recommend", run, "--users", tmp_path / "ids.txt", "--users", 4, "--out", tmp_path / "out.csv", "-k", 1
    )
    assert done.code == 0, done.err
    assert "3 rows, up to 1 for each of 3 users" in done.out
    users = [line.partition(",")[0] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert users == ["5", "3", "4"]
    assert neucf("recommend", run, "--users", 4).code == 2


def test_data_without_ratings_or_titles_show_what_was_chosen(tmp_path: Path, neucf: Call) -> None:
    (tmp_path / "rows.csv").write_text(
        "user,item\n" + "".join(f"'u {u}',{i}\n" for u in range(6) for i in range(u % 4 + 1))
    )
    done = neucf(
        "train", tmp_path / "rows.csv", "--model", "ease", "--split", "none", "--out", tmp_path / "run", "--threads", 1
    )
    suggested = next(line for line in done.out.splitlines() if "neucf recommend" in line)
    # As a shell reads it, with fewer items than are usually listed
    words = shlex.split(suggested)
    assert words[-2:] == ["--user", "'u 0'"]
    shown = neucf("recommend", tmp_path / "run", *words[3:])
    assert shown.code == 0, shown.err
    assert "What user 'u 0' chose" in shown.out
    assert [line.strip() for line in shown.out.splitlines()].index("item") > 0
    assert "title" not in shown.out.partition("Suggestions")[0]
    similar = neucf("similar", tmp_path / "run", 1, "--json")
    assert len(json.loads(similar.out)["items"]) == 3


def test_what_the_k_core_left_out_is_known_when_recommending(tmp_path: Path, neucf: Call) -> None:
    rows = [(user, item) for user in range(4) for item in range(4)] + [(0, 8), (9, 0), (9, 8)]
    (tmp_path / "rows.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    done = neucf(
        "train", tmp_path / "rows.csv", "--model", "item-knn", "--k-core", 3, "--split", "none",
        "--out", tmp_path / "run", "--threads", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    for user, known in ((0, {0, 1, 2, 3, 8}), (9, {0, 8})):
        found = json.loads(neucf("recommend", tmp_path / "run", "--user", user, "--json").out)
        assert found["fallback"] is None
        assert {item["item_id"] for item in found["items"]} == {0, 1, 2, 3, 8} - known
    assert "What user 9 chose" in neucf("recommend", tmp_path / "run", "--user", 9).out


def test_a_model_that_ignores_weights_says_so(tmp_path: Path, neucf: Call) -> None:
    (tmp_path / "rows.csv").write_text("user,item\n1,1\n1,1\n1,2\n2,1\n")
    for model, said in (("popularity", True), ("ease", False)):
        done = neucf(
            "train", tmp_path / "rows.csv", "--model", model, "--weight", "count", "--split", "none",
            "--out", tmp_path / model,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert ("their weights play no part" in done.err) is said


@pytest.mark.parametrize(
    ("scores", "shown"),
    [
        ((0.537, 0.4, 0.00004), ["0.537", "0.400", "0.000"]),
        ((1234.5, -2.0), ["1234.500", "-2.000"]),
        ((0.0, 0.0), ["0.000", "0.000"]),
        ((0.0512, 0.009), ["0.0512", "0.0090"]),
        ((-0.00098, -0.00123), ["-0.00098", "-0.00123"]),
        ((3.21e-7, 1e-9), ["3.21e-07", "1.00e-09"]),
    ],
)
def test_small_scores_are_shown_too(
    scores: tuple[float, ...], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    items = tuple(RecommendedItem(f"i{place}", score, None, None, ()) for place, score in enumerate(scores))
    display.suggestions_table("Suggestions", Similar("x", items))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[-1] for row in rows if len(row) == 3 and row[0].isdigit()] == shown
