"""Batcher: answers that gather while a thread is busy are worked out together, off the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from neucf.errors import NeucfError

Q = TypeVar("Q")
A = TypeVar("A")


class OverloadedError(NeucfError):
    """More is asked than can be answered in time; the same may be asked again a moment later."""


class Batcher(Generic[Q, A]):
    """Answers questions on one thread of its own, in the order asked.

    While the thread works on one batch, questions gather for the next: nobody waits for a batch to fill, and under load
    batches grow by themselves. Used from one event loop.

    Args:
        answer: Takes B questions and returns B answers; an answer that is an exception is raised for its question
            alone. An exception it raises is raised for all.
        name: Names the thread.
        size: The largest batch.
        limit: How many questions may wait; one more is refused.
        observe: Called with the size of each batch.
    """

    def __init__(
        self,
        answer: Callable[[list[Q]], Sequence[A | Exception]],
        *,
        name: str,
        size: int,
        limit: int,
        observe: Callable[[int], object] = lambda *_: None,
    ) -> None:
        self._answer, self._size, self._limit, self._observe = answer, size, limit, observe
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._busy = False

    async def ask(self, question: Q) -> A:
        """Returns the answer; raises OverloadedError where too many wait already."""
        if len(self._waiting) >= self._limit:
            raise OverloadedError("More is asked than can be answered in time. Try again in a second.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, future))
        if not self._busy:
            self._start(loop)
        return await future

    def close(self) -> None:
        """Waits for the batch in work, and ends the thread."""
        self._thread.shutdown()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(batch) < self._size:
            question, future = self._waiting.popleft()
            # Whoever asked may have gone away.
            if not future.done():
                batch.append((question, future))
        self._busy = bool(batch)
        if batch:
            self._observe(len(batch))
            self._thread.submit(self._work, loop, batch)

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        answers: Sequence[A | Exception]
        try:
            answers = self._answer([question for question, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        loop.call_soon_threadsafe(self._finish, loop, batch, answers)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[tuple[Q, asyncio.Future[A]]],
        answers: Sequence[A | Exception],
    ) -> None:
        # The next batch starts before this one's askers run on.
        self._start(loop)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
