from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from neucf.serving.http.batching import Batcher, OverloadedError


def batcher(answer: Callable[[list[int]], list[Any]], size: int = 8, limit: int = 8, **more: Any) -> Batcher[int, Any]:
    return Batcher(answer, name="test", size=size, limit=limit, **more)


class Held:
    """Doubles numbers, but only once it is let go; keeps the batches it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.threads: set[str] = set()

    def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(10)
        return [2 * number for number in numbers]


def test_what_waits_is_answered_together_in_order_on_one_thread() -> None:
    held, sizes = Held(), list[int]()

    async def run() -> list[int]:
        lane = batcher(held, size=3, observe=sizes.append)
        asked = [asyncio.ensure_future(lane.ask(number)) for number in range(6)]
        await asyncio.sleep(0.02)
        held.go.set()
        answers = await asyncio.gather(*asked)
        lane.close()
        return answers

    assert asyncio.run(run()) == [0, 2, 4, 6, 8, 10]
    # The first is not kept waiting for others; then as many as a batch takes.
    assert held.batches == [[0], [1, 2, 3], [4, 5]]
    assert sizes == [1, 3, 2]
    assert held.threads == {"test_0"}


def test_the_event_loop_goes_on_while_a_batch_is_worked_on() -> None:
    held = Held()

    async def run() -> int:
        lane = batcher(held)
        asked = asyncio.ensure_future(lane.ask(1))
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0)
            ticks += 1
        assert not asked.done()
        held.go.set()
        assert await asked == 2
        lane.close()
        return ticks

    assert asyncio.run(run()) == 20


def test_more_than_may_wait_is_refused_and_later_taken_again() -> None:
    held = Held()

    async def run() -> None:
        lane = batcher(held, limit=2)
        asked = [asyncio.ensure_future(lane.ask(number)) for number in range(3)]  # one in work, two waiting
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="Try again"):
            await lane.ask(9)
        held.go.set()
        assert await asyncio.gather(*asked) == [0, 2, 4]
        assert await lane.ask(9) == 18
        lane.close()

    asyncio.run(run())


def test_an_error_is_raised_for_its_question_or_for_all() -> None:
    def answer(numbers: list[int]) -> list[Any]:
        if 13 in numbers:
            raise ValueError("all")
        return [KeyError(number) if number < 0 else number for number in numbers]

    async def run() -> None:
        lane = batcher(answer)
        found = await asyncio.gather(*(lane.ask(number) for number in (1, 2, -3, 4)), return_exceptions=True)
        assert [repr(each) for each in found] == ["1", "2", "KeyError(-3)", "4"]
        with pytest.raises(ValueError, match="all"):
            await lane.ask(13)
        assert await lane.ask(5) == 5
        lane.close()

    asyncio.run(run())


def test_whoever_gives_up_is_left_out_and_holds_nobody_up() -> None:
    held = Held()

    async def run() -> None:
        lane = batcher(held)
        first, second, third = (asyncio.ensure_future(lane.ask(number)) for number in range(3))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        await asyncio.sleep(0)
        held.go.set()
        assert await third == 4
        assert held.batches == [[0], [2]]
        lane.close()

    asyncio.run(run())
