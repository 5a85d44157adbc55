"""What is refused: exit 2, one sentence that says what is wrong, and no trace left."""

from __future__ import annotations

import gzip
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neucf import errors, read

Call = Callable[..., Any]

GOOD = "user,item,rating\n" + "".join(
    f"{user},{item},{1 + (user + item) % 5}\n" for user in range(9) for item in range(6)
)
TRAIN = ("--model", "popularity")

# What stands in the file, and what the sentence must say.
BAD_FILES = {
    "missing column": ("user,rating\n1,2\n", ["item"]),
    "null id": ("user,item\n1,2\n,3\n", ["row 3", "user"]),
    "short row": ("user,item,rating\n1,2,3\n4,5\n", ["row 3", "3 fields"]),
    "long row": ("user,item\n1,2\n4,5,6\n", ["row 3", "2 fields"]),
    "not UTF-8": (b"user,item\ncaf\xe9,2\n", ["row 2", "UTF-8"]),
    "null rating": ("user,item,rating\n1,2,3\n1,3,\n", ["row 3", "rating"]),
    "text rating": ("user,item,rating\n1,2,good\n", ["row 2", "good"]),
    "NaN rating": ("user,item,rating\n1,2,nan\n", ["row 2", "rating"]),
    "infinite rating": ("user,item,rating\n1,2,inf\n", ["row 2", "rating"]),
    "empty": ("", ["empty"]),
    "header only": ("user,item\n", ["row"]),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.csv"
    path.write_text(GOOD)
    return path


def refused(done: Any, *needles: str) -> None:
    """Asserts one sentence on standard error that holds the needles."""
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    for needle in needles:
        assert needle in done.err


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file(name: str, tmp_path: Path, neucf: Call) -> None:
    content, needles = BAD_FILES[name]
    path = tmp_path / "bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = neucf("train", path, *TRAIN, "--out", tmp_path / "run")
    refused(done, "bad.csv", *needles)
    assert not list(tmp_path.glob("run*"))


def test_a_truncated_gzip(tmp_path: Path, neucf: Call) -> None:
    path = tmp_path / "ratings.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode())[:-12])
    refused(neucf("train", path, *TRAIN, "--out", tmp_path / "run"), "ratings.csv.gz", "gzip")
    assert not list(tmp_path.glob("run*"))


def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, neucf: Call) -> None:
    path = tmp_path / "ratings.parquet"
    path.write_text(GOOD)
    refused(neucf("train", path, *TRAIN, "--out", tmp_path / "run"), "ratings.parquet")


@pytest.mark.parametrize(
    ("source", "needle"), [("absent.csv", "absent.csv"), ("no-such-set", "no-such-set"), (".", "format")]
)
def test_a_source_that_is_none(
    source: str, needle: str, tmp_path: Path, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    refused(neucf("train", source, *TRAIN, "--out", tmp_path / "run"), needle)
    assert not list(tmp_path.glob("run*"))


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (["--model", "bprmf"], ["`--model`", "bprmf", "bpr-mf"]),
        (["--model", "mf", "--set", "dims=3"], ["`--set` must be a setting of mf", "'dims'", "'dim'"]),
        (["--model", "mf", "--set", "dim=0"], ["`dim`", "0"]),
        (["--model", "mf", "--set", "lr=fast"], ["`lr` of mf must be a number; got 'fast'."]),
        (["--model", "mlp", "--set", "tower=wide"], ["`tower` of mlp must be whole numbers", "got 'wide'"]),
        (["--model", "mf", "--set", "dim"], ["--set", "key=value"]),
        ([*TRAIN, "--split", "random:0.9/0.1/0.1"], ["sum to 1", "0.9/0.1/0.1"]),
        ([*TRAIN, "--split", "randon:0.8/0.1/0.1"], ["randon", "random"]),
        ([*TRAIN, "--split", "fixed"], ["fixed"]),
        ([*TRAIN, "--split", "temporal:0.8/0.1/0.1"], ["timestamps"]),
        ([*TRAIN, "--valid", "random:0.1"], ["`--valid`"]),
        ([*TRAIN, "--seed", str(2**64)], ["`--seed`", str(2**64)]),
        ([*TRAIN, "--device", "tpu"], ["`--device`", "tpu"]),
        ([*TRAIN, "--device", "cuda:99"], ["`--device`", "cuda:99"]),
        ([*TRAIN, "--user-col", "who"], ["who"]),
        ([*TRAIN, "--k-core", "50"], ["54 rows", "`--k-core`"]),
        ([*TRAIN, "--init-from", "nowhere"], ["--init-from", "popularity"]),
    ],
    ids=lambda value: " ".join(value[-1:]) if isinstance(value, list) else None,
)
def test_a_bad_request(arguments: list[str], needles: list[str], good: Path, tmp_path: Path, neucf: Call) -> None:
    done = neucf("train", good, *arguments, "--out", tmp_path / "run")
    refused(type(done)(done.code, done.out, done.err.splitlines(keepends=True)[-1]), *needles)
    assert not list(tmp_path.glob("run*"))


def test_a_request_is_refused_before_the_data_is_read(tmp_path: Path, neucf: Call) -> None:
    done = neucf("train", tmp_path / "absent.csv", "--model", "mf", "--set", "dim=0", "--out", tmp_path / "run")
    refused(done, "`dim`")


def test_a_folder_that_is_no_run_is_never_replaced(good: Path, tmp_path: Path, neucf: Call) -> None:
    mine = tmp_path / "run" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    done = neucf("train", good, *TRAIN, "--out", tmp_path / "run", "--force")
    refused(done, "no run folder")
    assert mine.read_text() == "precious"
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize("command", [["evaluate"], ["recommend", "--user", "1"], ["similar", "1"]])
def test_a_run_that_is_none(command: list[str], tmp_path: Path, neucf: Call) -> None:
    refused(neucf(command[0], tmp_path / "nowhere", *command[1:]), "nowhere")


def test_unknown_ids_get_the_nearest(good: Path, tmp_path: Path, neucf: Call) -> None:
    run = tmp_path / "run"
    assert neucf("train", good, *TRAIN, "--out", run).code == 0
    refused(neucf("recommend", run, "--user", "12"), "user_id", "12", "8, 7, 6")
    refused(neucf("recommend", run, "--liked", "nothing"), "item_id", "'nothing'")
    refused(neucf("recommend", run, "--user", "1", "-k", "99"), "`-k`", "99")
    refused(neucf("similar", run, "1"), "popularity")
    refused(neucf("recommend", run, "--all-users", "--out", tmp_path / "all.xlsx"), "`--out`", ".parquet")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["recommend", "RUN", "--user", "1", "-k", "0"], "`-k` must be greater than or equal to 1; got '0'."),
        (["compare", "RUN", "RUN", "-k", "5", "-k", "-2"], "`-k` must be greater than or equal to 1; got '-2'."),
        (["serve", "RUN", "--port", "99999"], "`--port` must be less than or equal to 65535; got '99999'."),
        (["run", "lecture", "--seeds", "0"], "`--seeds` must be greater than or equal to 1; got '0'."),
        (["tune", "DATA", "--model", "mf", "--trials", "few"], "`--trials` must be an integer"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else None,
)
def test_a_number_out_of_range(arguments: list[str], sentence: str, neucf: Call) -> None:
    refused(neucf(*arguments), sentence, f"got {arguments[-1]!r}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "RUN"],
        ["recommend", "RUN", "--user", "1", "--all-users"],
        ["recommend", "RUN", "--all-users"],
        ["recommend", "RUN", "--user", "1", "2"],
        ["recommend", "RUN", "--user", "1", "--mask", "some"],
        ["evaluate", "RUN", "--on", "train"],
        ["evaluate", "RUN", "-k", "0"],
        ["train", "DATA", "--model", "popularity"],
        ["train", "DATA", "--out", "RUN"],
        ["dance"],
    ],
    ids=" ".join,
)
def test_bad_usage(arguments: list[str], neucf: Call) -> None:
    done = neucf(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert re.fullmatch(r"Error: [^\n]+\.\n", done.err)


@pytest.mark.parametrize(
    ("error", "code"), [(errors.TrainingError("diverged"), 1), (errors.DownloadError("no network"), 1)]
)
def test_work_that_failed_exits_1(
    error: errors.NeucfError, code: int, neucf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    # What loads while the name is patched would keep it
    importlib.import_module("neucf.cli.reports")
    monkeypatch.setattr("neucf.artifacts.open_run", fail)
    assert neucf("evaluate", "RUN") == (code, "", f"Error: {error}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'? See `neucf --help`."),
        (["run", "missing.toml"], "; missing.toml does not exist."),
        (["run", "lectur"], "ncf-ml-1m; lectur is neither."),
    ],
)
def test_what_does_not_exist_is_said_to(arguments: list[str], sentence: str, neucf: Call) -> None:
    refused(neucf(*arguments), sentence)


def test_errors_name_options_and_not_pythons_arguments(tmp_path: Path, neucf: Call) -> None:
    file = tmp_path / "events.csv"
    file.write_text("who,what\n1,2\n")
    refused(neucf("data", "describe", file), "name it with `--user-col`")
    with pytest.raises(errors.DataError, match="name it with `user_col`"):
        read(file)


def test_a_folder_of_runs_names_the_runs_inside(good: Path, tmp_path: Path, neucf: Call) -> None:
    for name in ("a", "b"):
        assert neucf("train", good, *TRAIN, "--out", tmp_path / "runs" / name).code == 0
    inside = f"Name one of them: {tmp_path / 'runs' / 'a'}, {tmp_path / 'runs' / 'b'}."
    refused(neucf("evaluate", tmp_path / "runs"), inside)
    short, long = (neucf("evaluate", tmp_path / "runs" / "a", "--on", on, "--json") for on in ("valid", "validation"))
    assert (long.code, long.out) == (0, short.out)


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m neucf train --help | true; echo $?"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == "0\n"
