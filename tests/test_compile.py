"""How kernels are spread over threads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from neucf.errors import ConfigError
from neucf.kernels import compile
from neucf.kernels.compile import num_threads, spread


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_results_come_in_block_order_from_no_more_threads_than_asked_for(threads: int) -> None:
    seen = set()

    def square(block: int) -> int:
        seen.add(threading.get_ident())
        return block * block

    assert spread(square, range(50), threads) == [block * block for block in range(50)]
    assert len(seen) <= threads
    assert spread(square, [], threads) == []


def test_torch_keeps_to_one_thread_inside_and_to_its_own_count_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert spread(lambda _: torch.get_num_threads(), range(4), 2) == [1] * 4
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_comes_out_and_ends_the_work(threads: int) -> None:
    done = []

    def fail(block: int) -> None:
        if block == 3:
            raise ValueError("block 3")
        threading.Event().wait(0.01)
        done.append(block)

    with pytest.raises(ValueError, match="block 3"):
        spread(fail, range(1000), threads)
    assert len(done) < 10


@pytest.mark.parametrize(
    ("text", "count"),
    [("100000 100000\n", 1), ("150000 100000\n", 2), ("1000 100000\n", 1), ("max 100000\n", None), ("", None)],
)
def test_a_container_takes_no_more_threads_than_it_is_given(
    text: str, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(9)), raising=False)
    assert num_threads(None) == 9
    (tmp_path / "cpu.max").write_text(text)
    assert num_threads(None) == (count or 9)
    assert num_threads(5) == 5


@pytest.mark.parametrize("threads", ["2", 1.5, True, 0, 10**5])
def test_threads_are_an_integer_that_a_process_survives(threads):
    with pytest.raises(ConfigError, match=r"`threads` must be in 1\.\.1024"):
        num_threads(threads)
