"""What a peer that ranks by given factors is given and hands back; numpy is all it needs.

A folder holds request.json and arrays.npz; the peer adds result.json, and lists.npz where it gives lists.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

ENOUGH = 10
folder = Path(sys.argv[1])
request = json.loads((folder / "request.json").read_text())
settings: dict[str, Any] = request["settings"]
threads: int = request["threads"]
arrays = dict(np.load(folder / "arrays.npz"))
num_users, num_items = len(arrays["users"]), len(arrays["items"])


def timed(function: Callable[[], T], times: int) -> tuple[T, list[float]]:
    """Returns what the last of several calls gave, and the seconds of each; none is begun after ENOUGH seconds."""
    seconds: list[float] = []
    while len(seconds) < times and sum(seconds) < ENOUGH:
        start = time.perf_counter()
        found = function()
        seconds.append(time.perf_counter() - start)
    return found, seconds


def done(**result: Any) -> None:
    """Writes the result."""
    (folder / "result.json").write_text(json.dumps(result))
