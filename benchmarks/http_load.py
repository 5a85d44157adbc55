"""An open-loop HTTP client: requests at times fixed beforehand, over as many kept-alive connections as it takes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_CONNECTIONS = 512


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection with at most one request under way."""

    def __init__(self) -> None:
        self.used = False
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
    """What became of the requests of one stage, and how often the run was to be opened anew meanwhile."""

    name: str
    rate: float
    seconds: float
    reloads: int = 0
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

    async def send_all(self, requests: list[bytes], at_once: int) -> Counter[int]:
        """Sends requests, a few at a time, as fast as they are answered; returns how often each status came."""
        statuses: Counter[int] = Counter()
        waiting = iter(requests)

        async def sender() -> None:
            for request in waiting:
                statuses[await self._status_of(request)] += 1

        await asyncio.gather(*(sender() for _ in range(at_once)))
        return statuses

    async def _send(self, stage: Stage, request: bytes, due: float) -> None:
        try:
            status = await self._status_of(request)
        except (OSError, TimeoutError, ConnectionError) as error:
            stage.errors[type(error).__name__] += 1
            return
        stage.statuses[status] += 1
        (stage.shed_latencies if status == 503 else stage.latencies).append(time.perf_counter() - due)

    async def _status_of(self, request: bytes) -> int:
        """Returns the status; where a server closes an idle connection just as it is used, asks again by another."""
        while True:
            connection = await self._connection()
            reused, connection.used = connection.used, True
            try:
                status = await asyncio.wait_for(connection.status_of(request), 30)
            except ConnectionError:
                if not reused:
                    raise
                continue
            finally:
                self._num_open -= 0 if connection.usable else 1
            self._idle.append(connection)
            return status

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
