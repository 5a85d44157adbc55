"""How much one request may send, and how many may be under way."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

MAX_BODY_BYTES = 256 << 10
MAX_TARGET_BYTES = 8 << 10
MAX_HISTORY = 1000
MAX_K = 1000
BODY_SECONDS = 10
# Beyond what batches can hold, a request is told to come back at once, before it costs anything.
MAX_IN_FLIGHT = 64


def target_too_long(scope: Scope) -> bool:
    """Returns whether path and query are longer than any that this service understands."""
    return len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES


def limited(receive: Receive) -> Receive:
    """Returns a `receive` that gives up on a body too large (413) or too slow (408)."""
    received, whole = 0, False

    async def limited_receive() -> Message:
        nonlocal received, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"The body must arrive within {BODY_SECONDS} seconds.") from None
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, f"A body must have at most {MAX_BODY_BYTES} bytes.")
        return message

    return limited_receive
