"""A `neucf serve` in a process of its own, and a plain client."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self


class Server:
    """Serves a run on a free port until it is left; `log` holds what it wrote to standard error."""

    def __init__(self, run: Path, folder: Path, *options: str, port: int = 0, **environment: str) -> None:
        self.log = folder / "log"
        command = [sys.executable, "-m", "neucf", "serve", str(run), "--port", str(port)]
        command += ["--events", f"sqlite:///{folder}/events.sqlite", *options]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **environment}
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.port = int(line.rpartition(":")[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def end(self, how: int = signal.SIGTERM) -> int:
        """Sends a signal, and returns the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Asks over a connection of its own; returns status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = None if body is None else json.dumps(body)
            more = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, sent, {**more, **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()
