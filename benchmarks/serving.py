"""How fast `neucf serve` answers: an open-loop client beside the server, at a steady rate, under overload, and after.

    benchmarks/serving.py RUN                          # 300 requests/s for 60 s; 1,200, 3,000 and 300 for 15 s each
    benchmarks/serving.py RUN --seconds 5 --out FILE   # a short look, written as JSON
    benchmarks/serving.py RUN --events 3               # each user first has so many events, which every answer heeds
    benchmarks/serving.py RUN --reloads 60             # ends with a stage in which the run is opened anew each second

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
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from http_load import Client, Stage

MEMORY_SECONDS = 5
PAGE_BYTES, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


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


def asking(method: str, path: str, body: Any = None) -> bytes:
    """Returns an HTTP request, with a body where one is given."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if method == "GET":
        return f"{head}\r\n".encode()
    text = json.dumps(body or {})
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def events(run: Path, count: int) -> list[bytes]:
    """Returns the requests that give each user of a run so many events, items drawn at random."""
    users, items = (pl.read_parquet(run / f"{name}s.parquet")[f"{name}_id"].to_list() for name in ("user", "item"))
    chosen = np.random.default_rng(1).integers(len(items), size=(len(users), count))
    return [
        asking("POST", "/v1/events", {"user_id": user, "item_id": items[item], "key": f"{user}-{place}"})
        for user, row in zip(users, chosen.tolist(), strict=True)
        for place, item in enumerate(row)
    ]


async def reload(port: int, times: int, statuses: Counter[int]) -> None:
    """Has the run opened anew, once a second."""
    client = Client(port, [], seed=0)
    for _ in range(times):
        await asyncio.sleep(1)
        statuses.update(await client.send_all([asking("POST", "/v1/model:reload")], 1))


async def measure(
    pid: int, port: int, requests: list[bytes], stages: list[Stage], posts: list[bytes]
) -> list[dict[str, Any]]:
    """Posts the events, then runs the stages one after the other; returns their reports."""
    client, reports = Client(port, requests, seed=0), []
    if posts:
        print(f"events: {dict(await client.send_all(posts, 16))}", file=sys.stderr)
    for stage in stages:
        statuses: Counter[int] = Counter()
        reloading = asyncio.ensure_future(reload(port, stage.reloads, statuses))
        before, start, memory = cpu_seconds(pid), time.perf_counter(), [round(memory_mib(pid), 1)]
        watching = asyncio.ensure_future(watch_memory(pid, memory))
        await client.run(stage)
        watching.cancel()
        await reloading
        stage.server = {
            **({"reloads": dict(statuses)} if statuses else {}),
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
    parser.add_argument("--events", type=int, default=0, help="events of each user, posted first")
    parser.add_argument("--reloads", type=int, default=0, help="how often the run is opened anew in a last stage")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    users = pl.read_parquet(options.run / "users.parquet")["user_id"].to_list()
    requests = [asking("GET", f"/v1/users/{user}/recommendations") for user in users]
    after = options.overload_seconds
    stages = [
        Stage("warm-up", options.rate, min(5.0, options.seconds)),
        Stage("steady", options.rate, options.seconds),
        *(Stage(f"overload {times:g}x", options.rate * times, after) for times in options.overload),
        Stage("recovery", options.rate, after),
        *([Stage("reloads", options.rate, options.reloads, options.reloads)] if options.reloads else []),
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
                port, posts = int(line.rpartition(":")[2]), events(options.run, options.events)
                reports = asyncio.run(measure(server.pid, port, requests, stages, posts))
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
        about |= {"events_a_user": options.events}
        options.out.write_text(json.dumps({**about, "stages": reports}, indent=1) + "\n")


if __name__ == "__main__":
    main()
