"""How kernels are compiled, cached and spread over threads.

A kernel is a single-threaded function that releases the GIL; `spread` runs it on blocks from Python threads. No
numba threading layer is ever started, so none can abort on concurrent calls or hang in a forked child.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from platformdirs import user_cache_path

from neucf.checks import checked_integer

numba: Any
try:
    import numba
    import numba.extending
    from llvmlite import ir
except ImportError:  # numba can lag a new Python; everything then runs on torch and numpy
    numba = None

log = logging.getLogger("neucf")
COMPILED = numba is not None
if not COMPILED:
    log.warning("numba is not installed: compiled kernels are off and everything runs on torch, slower.")

# What `docker run --cpus` sets, of cgroups of version 2.
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")

# More would cost the process its life sooner than gain it time.
MAX_THREADS = 1024

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
R = TypeVar("R")


def _cache_folder() -> Path | None:
    """Returns a private folder keyed by the kernels' own text, since numba tracks one file but not its callees."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    try:
        folder = user_cache_path("neucf") / f"kernels-{digest.hexdigest()[:16]}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        # Cached machine code is executed: a folder others can write to is not trusted.
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022 or not os.access(folder, os.W_OK):
            raise OSError("not private to this user")
    except (OSError, RuntimeError) as error:
        log.warning("Kernels are compiled anew in each process, as they cannot be cached: %s.", error)
        return None
    return folder


_CACHE = _cache_folder() if COMPILED else None


def kernel(function: F, inline: str = "never") -> F:
    """Compiles a single-threaded kernel that releases the GIL; plain Python where numba is absent.

    Sums may be reordered so that inner loops vectorise; the same machine still gives the same bits. `inline="always"`
    puts it into its callers, where passing a dozen arrays would cost more than the work.
    """
    if not COMPILED:
        return function
    if _CACHE is not None and not os.environ.get("NUMBA_CACHE_DIR"):
        numba.config.CACHE_DIR = str(_CACHE)
    compiled: F = numba.njit(
        nogil=True,
        cache=_CACHE is not None,
        boundscheck=False,
        error_model="numpy",
        inline=inline,
        fastmath={"reassoc", "contract", "nsz", "arcp"},
    )(function)
    return compiled


inlined = partial(kernel, inline="always")


def _prefetch_call(typing: Any, table: Any, row: Any, column: Any) -> Any:
    """Returns signature and code of `prefetch`."""
    del typing

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        at = [
            context.cast(builder, *pair, numba.types.intp) for pair in zip(values[1:], signature.args[1:], strict=True)
        ]
        array = context.make_array(table)(context, builder, values[0])
        place = numba.core.cgutils.get_item_pointer(context, builder, table, array, at, wraparound=False)
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = builder.module.declare_intrinsic("llvm.prefetch", [byte], function)
        # To read, as close to the core as can be, data
        builder.call(call, [builder.bitcast(place, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return numba.types.void(table, row, column), emit


def _prefetch_nothing(table: Any, row: Any, column: Any) -> None:
    """Stands in for `prefetch` where numba is absent."""
    del table, row, column


# prefetch(table, row, column), in a kernel: asks for the cache line of an element that is soon needed
prefetch = numba.extending.intrinsic(_prefetch_call) if COMPILED else _prefetch_nothing


def num_threads(threads: int | None) -> int:
    """Returns the thread count to use: `threads`, or every core this process may use, a container its share."""
    if threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, _quota(CPU_QUOTA) or cores)
    return checked_integer("threads", threads, 1, MAX_THREADS, fix="Leave it out to use every core.")


def _quota(file: Path) -> int | None:
    """Returns how many cores' time a container may take, rounded up, if its limit can be read."""
    try:
        quota, period = file.read_text().split()
        return max(-(-int(quota) // int(period)), 1)
    except (OSError, ValueError):
        # No cgroup of version 2, or `max`
        return None


@contextmanager
def torch_threads(threads: int | None) -> Iterator[int]:
    """Holds torch to the given thread count inside the block, and yields the count."""
    import torch

    count, before = num_threads(threads), torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


@contextmanager
def _torch_alone() -> Iterator[None]:
    # The count that matrix products go by is each thread's own, by default every core.
    if "torch" not in sys.modules:
        yield
        return
    with torch_threads(1):
        yield


def slices(start: int, stop: int, step: int) -> Iterator[slice]:
    """Yields consecutive slices of at most `step` that cover start..stop - 1."""
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def spread(function: Callable[[T], R], blocks: Iterable[T], threads: int) -> list[R]:
    """Calls `function` on each block from `threads` threads; results in block order.

    The caller is one of the threads: it is at work at once, on its own core, while others only start. With one thread
    everything runs in order. Torch keeps to one thread in each. After an error no further block is begun.
    """
    if threads == 1:
        return [function(block) for block in blocks]
    blocks = list(blocks)
    results: dict[int, R] = {}
    errors: list[BaseException] = []
    # Who takes a place from it holds the interpreter's lock
    left = iter(range(len(blocks)))

    def work() -> None:
        try:
            with _torch_alone():
                for at in left:
                    results[at] = function(blocks[at])
        except BaseException as error:
            errors.append(error)
            for _ in left:
                pass

    helpers = [Thread(target=work, name="neucf") for _ in range(min(threads, len(blocks)) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return [results[at] for at in range(len(blocks))]
