"""Posts events to `neucf serve` while it is killed with SIGKILL again and again; counts what was acknowledged and lost.

    python benchmarks/events_kill.py [--events 10000] [--kills 10] [--url postgresql://...] [--out FILE]

Clients post at once, each event with a key of its own. What got no answer is posted again, to the next server. In the
end, every event that was acknowledged must be in the store, once, as it was posted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from neucf import Interactions, save
from neucf.models import MODELS
from neucf.serving.events import Event, EventStore

NUM_ITEMS, NUM_CLIENTS = 50, 8


def event(number: int) -> Event:
    return Event(f"user {number % 97}", str(number % NUM_ITEMS), f"key {number}", number / 2, number)


def make_run(folder: Path) -> Path:
    items = list(range(NUM_ITEMS))
    save(MODELS["popularity"]().fit(Interactions.from_arrays([0] * NUM_ITEMS, items)), folder / "run")
    return folder / "run"


def start(run: Path, url: str) -> tuple[subprocess.Popen[str], str]:
    """Returns a server that listens, and its address."""
    command = [sys.executable, "-m", "neucf", "serve", str(run), "--port", "0", "--events", url]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    line = server.stdout.readline()
    if "http://" not in line:
        raise SystemExit(f"The server did not start: {line!r}")
    return server, urlsplit(line.split()[-1]).netloc


def post(connection: http.client.HTTPConnection, sent: Event) -> int:
    body = {name: getattr(sent, name) for name in Event.__slots__}
    connection.request("POST", "/v1/events", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def one_life(server: subprocess.Popen[str], address: str, waiting: list[int], kill_at: int | None) -> Counter[int]:
    """Posts what waits until the server is killed, after `kill_at` answers, or nothing waits; returns the statuses."""
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(address, timeout=60)
        while True:
            with lock:
                if not waiting:
                    return
                number = waiting.pop()
            try:
                status = post(connection, event(number))
            except (OSError, http.client.HTTPException):
                status = 0
            with lock:
                statuses[status] += 1
                if status not in (200, 201):
                    waiting.append(number)
                if kill_at is not None and statuses[200] + statuses[201] == kill_at:
                    server.kill()
            if status == 0:
                return

    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        for done in [clients.submit(client) for _ in range(NUM_CLIENTS)]:
            done.result()
    server.kill()
    server.wait()
    return statuses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--url", help="An empty events store; a new SQLite file by default.")
    parser.add_argument("--out", type=Path, help="Write the result here as JSON too.")
    options = parser.parse_args()
    rng = random.Random(0)
    statuses: Counter[int] = Counter()
    kills = 0
    with tempfile.TemporaryDirectory() as folder:
        run, url = make_run(Path(folder)), options.url or f"sqlite:///{folder}/events.sqlite"
        waiting = list(range(options.events))[::-1]
        while waiting:
            share = options.events // (options.kills + 1)
            kill_at = rng.randint(max(1, share // 2), share) if kills < options.kills else None
            kills += kill_at is not None
            statuses += one_life(*start(run, url), waiting, kill_at)
        with EventStore(url) as store:
            kept = Counter(store.all())
    acknowledged = statuses[200] + statuses[201]
    result = {
        "events": options.events,
        "kills": kills,
        "acknowledged": acknowledged,
        "acknowledged as repeated": statuses[200],
        "posts without an answer": statuses[0],
        "other answers": sum(statuses.values()) - acknowledged - statuses[0],
        "lost or altered": sum(not kept[event(number)] for number in range(options.events)),
        "kept twice": sum(count > 1 for count in kept.values()),
        "kept, never posted": len(kept.keys() - {event(number) for number in range(options.events)}),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    wrong = ("lost or altered", "kept twice", "kept, never posted", "other answers")
    sys.exit(any(result[name] for name in wrong) or kills < options.kills)


if __name__ == "__main__":
    main()
