"""Writing a run folder: whole or not at all, by one process at a time, taken up where it stopped."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tiny_run import write

from neucf.artifacts import load_checkpoint, open_run, save_checkpoint, writing
from neucf.artifacts.monitor import RunMonitor
from neucf.errors import ArtifactError
from neucf.recommender import EpochRecord


def fail(path: Path, error: BaseException, checkpoint: dict[str, Any] | None = None, *, force: bool = False) -> None:
    def attempt() -> None:
        with writing(path, force=force) as partial:
            (partial.folder / "log.jsonl").write_text("line\n")
            if checkpoint is not None:
                save_checkpoint(partial.folder, checkpoint)
            raise error

    with pytest.raises(type(error)):
        attempt()


def test_where_no_folder_can_be_made_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match="must be writable"), writing(tmp_path / "run"):
        pass


def test_a_table_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", refuse)
    with pytest.raises(ArtifactError, match=r"parquet could not be written: No space left"):
        write(tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_without_a_checkpoint_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    fail(tmp_path / "run", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_with_a_checkpoint_can_be_resumed(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "run"
    fail(path, error, {"epoch": 3})
    assert not path.exists()
    with pytest.raises(ArtifactError, match="--resume"), writing(path):
        pass
    with writing(path, resume=True) as partial:
        assert partial.resumed
        assert load_checkpoint(partial.folder) == {"epoch": 3}
        assert (partial.folder / "log.jsonl").read_text() == "line\n"
    assert [file.name for file in path.iterdir()] == ["log.jsonl"]
    assert not partial.folder.exists()


def test_force_starts_an_unfinished_run_over(tmp_path: Path) -> None:
    fail(tmp_path / "run", ValueError(), {"epoch": 3})
    with writing(tmp_path / "run", force=True) as partial:
        assert not partial.resumed
        assert load_checkpoint(partial.folder) is None
        assert not (partial.folder / "log.jsonl").exists()


def test_resume_without_an_unfinished_run_starts_afresh(tmp_path: Path) -> None:
    with writing(tmp_path / "deep" / "run", resume=True) as partial:
        assert not partial.resumed
    assert (tmp_path / "deep" / "run").is_dir()


def test_an_existing_run_is_refused_then_replaced_by_force_only_on_success(tmp_path: Path) -> None:
    path = write(tmp_path / "run")
    with pytest.raises(ArtifactError, match="--force"), writing(path):
        pass
    fail(path, ValueError(), force=True)
    assert len(open_run(path).split.train) == 3
    with writing(path, force=True) as partial:
        assert len(open_run(path).split.train) == 3
        (partial.folder / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["run", "run.partial"])
def test_a_folder_that_is_no_run_is_left_alone_even_by_force(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=name), writing(tmp_path / "run", force=True):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ArtifactError, match="no run folder"), writing(tmp_path / "run", force=True):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_in_the_way_of_the_work_is_left_alone(tmp_path: Path, dangling: bool) -> None:
    partial = tmp_path / "run.partial"
    if dangling:
        partial.symlink_to(tmp_path / "nowhere")
    else:
        partial.write_text("mine")
    with pytest.raises(ArtifactError, match=r"run\.partial must be writable"), writing(tmp_path / "run", force=True):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["run.partial"]


def test_a_second_writer_gets_one_sentence(tmp_path: Path) -> None:
    with writing(tmp_path / "run") as partial:
        with pytest.raises(ArtifactError, match="another process"), writing(tmp_path / "run", force=True):
            pass
        assert partial.folder.is_dir()
    assert (tmp_path / "run").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_gets_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="writable"), writing(tmp_path / "run"):
        pass


def test_a_parent_that_is_a_file_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="writable"), writing(tmp_path / "file" / "run"):
        pass


def test_racing_writers_leave_one_whole_run(tmp_path: Path) -> None:
    def attempt(number: int) -> None:
        with suppress(ZeroDivisionError), writing(tmp_path / "run", force=True) as partial:
            (partial.folder / "manifest.json").write_text(str(number))
            (partial.folder / "other").write_text(str(number))
            if number % 4 == 0:
                raise ZeroDivisionError

    def insist(number: int) -> None:
        while True:
            try:
                return attempt(number)
            except ArtifactError as error:
                assert "another process" in str(error)  # noqa: PT017
                time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(insist, range(24)))
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["manifest.json", "other"]
    number = (tmp_path / "run" / "manifest.json").read_text()
    assert (tmp_path / "run" / "other").read_text() == number
    assert int(number) % 4 > 0


def _hold_and_wait(path: Path, ready: Any) -> None:
    with writing(path) as partial:
        save_checkpoint(partial.folder, {"epoch": 5})
        ready.set()
        time.sleep(60)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold_and_wait, args=(tmp_path / "run", ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(ArtifactError, match="another process"), writing(tmp_path / "run", resume=True):
        pass
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with writing(tmp_path / "run", resume=True) as partial:
        assert load_checkpoint(partial.folder) == {"epoch": 5}


@pytest.mark.parametrize("torn", ['{"stage": "fit", "epo', "\0\0\0", "\xff"])
@pytest.mark.parametrize("epochs", [[3, 4], []])
def test_a_log_whose_last_line_was_cut_goes_on(tmp_path: Path, torn: str, epochs: list[int]) -> None:
    fail(tmp_path / "run", OSError(28, "No space left on device"), {"stage": "fit", "state": {"epoch": 2}})
    whole = [f'{{"stage": "fit", "epoch": {epoch}}}' for epoch in (1, 2)]
    log = tmp_path / "run.partial" / "log.jsonl"
    log.write_bytes("\n".join([*whole, torn]).encode("latin-1"))
    with writing(tmp_path / "run", resume=True) as partial, RunMonitor(partial, "fit", None) as monitor:
        for epoch in epochs:
            monitor.epoch(EpochRecord(epoch, 4, 0.5, 0.1, 1.0, 9))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, *epochs]
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["log.jsonl"]
