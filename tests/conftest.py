"""Fixtures every test may use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch

from neucf.cli import main

if TYPE_CHECKING:
    from browsing import Visit
    from playwright.sync_api import Browser
    from starlette.testclient import TestClient

    from neucf.serving.http import Backend


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    """Test tensors are tiny: more threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    folder = os.environ.get("NEUCF_DATA")
    if not folder:
        pytest.skip("NEUCF_DATA is not set: it names the folder that holds the real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def made_up_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up files under the names of two known sets."""
    from made_up import write_sets

    root = tmp_path_factory.mktemp("data")
    write_sets(root)
    return root


@pytest.fixture
def made_up_sets(made_up_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names those files as the data sets there are."""
    monkeypatch.setenv("NEUCF_DATA", str(made_up_data))


@pytest.fixture
def stub_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the model `stub`, and lets commits to SQLite return early: a test survives no power cut anyway."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from stub_model import Stub

    from neucf import models

    monkeypatch.setitem(models._HOMES, "stub", "stub_model:Stub")
    monkeypatch.setattr(Stub, "reported", [])

    def connected(connection: Any, _: Any) -> None:
        connection.execute("pragma synchronous=off")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the planted pattern, rated 4 and more."""
    from serving_runs import write_planted

    return write_planted(tmp_path_factory.mktemp("served") / "run", min_rating=4.0)


@pytest.fixture
def backend(planted_run: Path, tmp_path: Path) -> Iterator[Backend]:
    """What answers from that run, with a store of events."""
    from neucf.serving.events import EventStore
    from neucf.serving.http import Backend, open_runs

    load = lambda: open_runs([planted_run])  # noqa: E731
    made = Backend(load(), load, EventStore(f"sqlite:///{tmp_path}/events.sqlite"))
    yield made
    made.close()


@pytest.fixture
def client(backend: Backend) -> Iterator[TestClient]:
    """Asks it over HTTP."""
    from http_client import client_of

    with client_of(backend) as made:
        yield made


@pytest.fixture(scope="session")
def page_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of films of which some have hostile titles: bpr-mf, with a curve, then ease and popularity."""
    from browsing import HOSTILE
    from serving_runs import write_planted

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
def origin(page_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serves them; where the page is found."""
    from serving_process import Server

    with Server(page_runs, tmp_path_factory.mktemp("server")) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of a file."""
    from browsing import chromium

    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Visit]:
    """The page in it, which must have been a good one."""
    from browsing import Visit

    made = Visit(browser, origin)
    yield made
    made.close()


class Command(NamedTuple):
    """What one call of the command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def neucf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Command]:
    """Calls the command line in this process, as the console script does."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Command:
        monkeypatch.setattr("sys.argv", ["neucf", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code or 0
        assert isinstance(code, int), code
        return Command(code, *capsys.readouterr())

    return call
