"""log.jsonl: what a run's log tells of its epochs, a line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def json_lines(text: str) -> list[dict[str, Any]]:
    """Returns the JSON objects of a text's lines; a line that holds none, as where a crash cut it, is passed over."""
    return [row for row in map(_parsed, text.splitlines()) if isinstance(row, dict)]


def first_fit(log: Path) -> list[dict[str, Any]]:
    """Returns the epochs of a run's first fit; none for models without epochs, or where no log can be read."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [row for row in json_lines(text) if row.get("stage") == "fit" and isinstance(row.get("epoch"), int)]


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
