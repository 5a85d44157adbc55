"""How kernels are spread over threads."""

from __future__ import annotations

import threading

import pytest
import torch

from neucf.kernels.compile import spread


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
