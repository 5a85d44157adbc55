"""serve: the process that listens, from its settings to its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import uvicorn
from starlette.exceptions import HTTPException

from neucf.errors import ConfigError
from neucf.serving.database import default_url
from neucf.serving.events import EventStore
from neucf.serving.http.app import make_app
from neucf.serving.http.backend import Backend
from neucf.serving.http.guard import make_guard
from neucf.serving.http.logs import log_json
from neucf.serving.http.metrics import Metrics
from neucf.serving.http.models import reload
from neucf.serving.http.runs import Runs, open_runs

log = logging.getLogger("neucf.serve")
BACKLOG = 1024
# How long requests under way may take once the process is told to end.
GRACE_SECONDS = 10
# A thread that wants to run waits this long for another that holds the interpreter; Python's own 5 ms would be felt.
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, and where.

    Attributes:
        paths: Run folders, or folders of runs (see `find_runs`); the first run is the default.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        events: The URL of the events store; None for the data set's file in the per-user data folder.
        api_key: What clients must present; None asks for nothing.
        hosts: Names, beside `host` and the loopback ones, that clients may call the service by.
    """

    paths: tuple[Path, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    events: str | None = None
    api_key: str | None = None
    hosts: tuple[str, ...] = ()


def serve(settings: Settings, started: Callable[[str, Runs], object] = lambda *_: None) -> None:
    """Serves until the process is told to end by SIGTERM or SIGINT; SIGHUP reloads the runs.

    Args:
        settings: What to serve, and where.
        started: Called with the URL and the runs once the port is taken.

    Raises:
        ConfigError: If the settings fit neither each other nor this machine.
        ArtifactError: If the run cannot be opened.
    """
    guard = make_guard(settings.host, settings.api_key, settings.hosts)
    torch.set_num_threads(1)
    sys.setswitchinterval(SWITCH_SECONDS)
    runs = _load(settings.paths)
    data = runs[runs.default].data
    metrics = Metrics()
    events = settings.events or default_url(data or "data")
    load = partial(_load_again, settings.paths, data)
    backend = Backend(runs, load, EventStore(events), lambda lane, size: metrics.batch.labels(lane).observe(size))
    try:
        with _listen(settings.host, settings.port) as listener:
            host, port = listener.getsockname()[:2]
            started(f"http://{f'[{host}]' if ':' in host else host}:{port}", runs)
            log_json()
            config = uvicorn.Config(
                make_app(backend, guard, metrics),
                backlog=BACKLOG,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
            # uvicorn ends in order at SIGTERM, and then raises the signal again: this makes that the end, and no error.
            signal.signal(signal.SIGTERM, lambda *_: None)
            with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
                runner.run(_serve(uvicorn.Server(config), listener, backend, metrics))
    finally:
        backend.close()


async def _serve(server: uvicorn.Server, listener: socket.socket, backend: Backend, metrics: Metrics) -> None:
    loop, reloads = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    async def reload_and_log() -> None:
        try:
            runs = await reload(backend, metrics)
        except HTTPException as error:
            log.error("Not reloaded: %s", error.detail)
        else:
            log.info("Reloaded", extra={"default": runs.default, "runs": list(runs)})

    def start_reload() -> None:
        # Kept until done: the loop itself does not.
        task = loop.create_task(reload_and_log())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, start_reload)
    await server.serve(sockets=[listener])


def _load(paths: tuple[Path, ...]) -> Runs:
    runs = open_runs(paths)
    # What stays is kept out of the collector's way, which would walk all of it now and then, and hold every request up
    # for tens of milliseconds. What the run before leaves behind is freed here, at the next reload at the latest.
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    return runs


def _load_again(paths: tuple[Path, ...], data: str | None) -> Runs:
    """Returns the runs, if they are of the data whose events are kept."""
    runs = _load(paths)
    found = runs[runs.default].data
    if found != data:
        raise ConfigError(
            f"`RUN` must stay a run of {data}, whose events are served; it is of {found} now. Start anew."
        )
    return runs


def _listen(host: str, port: int) -> socket.socket:
    # By its protocol's name: only then does asyncio turn Nagle's algorithm off, which holds answers back for 40 ms.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"`--host` and `--port` must be free to listen on; {host}:{port} is not ({reason})."
        ) from None
    return listener
