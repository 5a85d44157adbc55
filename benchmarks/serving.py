"""How fast `neucf serve` answers: an open-loop client beside the server, at a steady rate, under overload, and after.

    benchmarks/serving.py RUN                          # 300 requests/s for 60 s; 1,200, 3,000 and 300 for 15 s each
    benchmarks/serving.py RUN --seconds 5 --out FILE   # a short look, written as JSON

The client sends at times fixed beforehand, whether answers come or not, and a latency counts from when a request was
due: a slow server cannot slow the clock down. Every request asks for ten items for a user drawn at random.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

MAX_CONNECTIONS = 512
MEMORY_SECONDS = 5
PAGE_BYTES, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection with at most one request under way."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Gives the status once the whole answer is there."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        if len(body) >= length and self._answer is not None:
            self._buffer = b""
            self._answer.set_result(int(head[9:12]))
            self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails the request under way."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the server"))

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def status_of(self, request: bytes) -> int:
        """Sends a request and returns the status of its answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


@dataclass
class Stage:
    """What became of the requests of one stage."""

    name: str
    rate: float
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    shed_latencies: list[float] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Returns the figures, latencies in milliseconds."""
        good, shed = (np.array(times or [np.nan]) * 1000 for times in (self.latencies, self.shed_latencies))
        return {
            "stage": self.name,
            "rate": self.rate,
            "seconds": self.seconds,
            "sent": self.statuses.total() + self.errors.total(),
            "answered": self.statuses[200],
            "shed": self.statuses[503],
            "errors": {str(k): v for k, v in [*self.statuses.items(), *self.errors.items()] if k not in (200, 503)},
            "p50_ms": round(float(np.percentile(good, 50)), 2),
            "p99_ms": round(float(np.percentile(good, 99)), 2),
            "max_ms": round(float(good.max()), 2),
            "shed_p99_ms": None if not self.shed_latencies else round(float(np.percentile(shed, 99)), 2),
            **self.server,
        }


class Client:
    """Sends requests at fixed times over as many connections as it takes."""

    def __init__(self, port: int, requests: list[bytes], seed: int) -> None:
        self._port, self._requests, self._rng = port, requests, np.random.default_rng(seed)
        self._idle: list[Connection] = []
        self._num_open = 0

    async def run(self, stage: Stage) -> None:
        """Runs one stage to its end, and waits for the last answers."""
        # A Poisson process: arrivals of independent callers.
        gaps = self._rng.exponential(1 / stage.rate, int(stage.rate * stage.seconds))
        chosen = self._rng.integers(len(self._requests), size=len(gaps))
        tasks, due = [], time.perf_counter() + 0.05
        for gap, request in zip(gaps.tolist(), chosen.tolist(), strict=True):
            due += gap
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            tasks.append(asyncio.ensure_future(self._send(stage, self._requests[request], due)))
        await asyncio.gather(*tasks)

    async def _send(self, stage: Stage, request: bytes, due: float) -> None:
        try:
            connection = await self._connection()
            try:
                status = await asyncio.wait_for(connection.status_of(request), 30)
            finally:
                self._num_open -= 0 if connection.usable else 1
            self._idle.append(connection)
        except (OSError, TimeoutError, ConnectionError) as error:
            stage.errors[type(error).__name__] += 1
            return
        stage.statuses[status] += 1
        (stage.shed_latencies if status == 503 else stage.latencies).append(time.perf_counter() - due)

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            self._num_open -= 1
        if self._num_open >= MAX_CONNECTIONS:
            raise ConnectionError(f"more than {MAX_CONNECTIONS} connections are needed")
        self._num_open += 1
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self._port)
        return connection


def memory_mib(pid: int) -> float:
    """Returns the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


async def watch_memory(pid: int, memory: list[float]) -> None:
    """Adds the resident memory of a process to a list every few seconds, until it is cancelled."""
    while True:
        await asyncio.sleep(MEMORY_SECONDS)
        memory.append(round(memory_mib(pid), 1))


def cpu_seconds(pid: int) -> float:
    """Returns the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(pid: int, port: int, requests: list[bytes], stages: list[Stage]) -> list[dict[str, Any]]:
    """Runs the stages one after the other; returns their reports."""
    client, reports = Client(port, requests, seed=0), []
    for stage in stages:
        before, start, memory = cpu_seconds(pid), time.perf_counter(), [round(memory_mib(pid), 1)]
        watching = asyncio.ensure_future(watch_memory(pid, memory))
        await client.run(stage)
        watching.cancel()
        stage.server = {
            "server_mib": [*memory, round(memory_mib(pid), 1)],
            "server_cores": round((cpu_seconds(pid) - before) / (time.perf_counter() - start), 2),
        }
        reports.append(stage.report())
        print(json.dumps(reports[-1]), file=sys.stderr, flush=True)
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--overload", type=float, nargs="+", default=[4, 10], help="times the rate")
    parser.add_argument("--overload-seconds", type=float, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    users = pl.read_parquet(options.run / "users.parquet")["user_id"].to_list()
    requests = [f"GET /v1/users/{user}/recommendations HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for user in users]
    after = options.overload_seconds
    stages = [
        Stage("warm-up", options.rate, min(5.0, options.seconds)),
        Stage("steady", options.rate, options.seconds),
        *(Stage(f"overload {times:g}x", options.rate * times, after) for times in options.overload),
        Stage("recovery", options.rate, after),
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "neucf", "serve", str(options.run), "--port", "0"]
        command += ["--events", f"sqlite:///{folder}/events.sqlite"]
        with (
            open(f"{folder}/log", "wb") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
        ):
            assert server.stdout is not None
            try:
                line = server.stdout.readline()
                if not line:
                    sys.exit(f"The server did not start:\n{Path(log.name).read_text()}")
                reports = asyncio.run(measure(server.pid, int(line.rpartition(":")[2]), requests, stages))
            finally:
                server.terminate()
    columns = ("rate", "sent", "answered", "shed", "p50_ms", "p99_ms", "max_ms", "server_cores")
    print(f"{'stage':<14}" + "".join(f"{name:>13}" for name in columns) + f"{'errors':>8}{'MiB':>16}")
    for report in reports:
        memory = report["server_mib"]
        print(f"{report['stage']:<14}" + "".join(f"{report[name]:>13g}" for name in columns), end="")
        print(f"{sum(report['errors'].values()):>8}{f'{memory[0]:.0f} to {memory[-1]:.0f}':>16}")
    if options.out:
        manifest = json.loads((options.run / "manifest.json").read_text())
        about = {"data": manifest["data"]["name"], "model": manifest["model"], "cores": os.cpu_count()}
        options.out.write_text(json.dumps({**about, "stages": reports}, indent=1) + "\n")


if __name__ == "__main__":
    main()
