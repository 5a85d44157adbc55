"""AnswerCache: answers that took long to find, kept for those who ask again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")


class AnswerCache(Generic[A]):
    """Keeps the answers asked for last; any thread may ask.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        # The one asked for longest ago comes first.
        self._kept: dict[Hashable, A] = {}
        self._times_cleared = 0

    @property
    def times_cleared(self) -> int:
        """How often all answers were forgotten."""
        return self._times_cleared

    def answers(
        self, keys: Sequence[Hashable], find: Callable[[list[int]], Sequence[A]], since: Sequence[int | None] = ()
    ) -> list[A]:
        """Returns the answers to B questions.

        Args:
            keys: Tell the questions apart (B,).
            find: Given places in `keys`, finds their answers; asked once, for what isn't known.
            since: `times_cleared` when what each question was made of was read (B,); None for now.
        """
        with self._lock:
            answers = {key: self._kept[key] for key in keys if key in self._kept}
            now = self._times_cleared
        # The same question twice is worked out once.
        missing = {key: place for place, key in enumerate(keys) if key not in answers}
        if missing:
            answers |= zip(missing, find(list(missing.values())), strict=True)
        with self._lock:
            read = [now if each is None else each for each in since] or [now] * len(keys)
            for key, when in zip(keys, read, strict=True):
                if when == self._times_cleared:
                    self._kept.pop(key, None)
                    self._kept[key] = answers[key]
            for key in list(self._kept)[: max(len(self._kept) - self._size, 0)]:
                del self._kept[key]
        return [answers[key] for key in keys]

    def clear(self) -> None:
        """Forgets all answers, and those to what was asked or read before."""
        with self._lock:
            self._kept.clear()
            self._times_cleared += 1
