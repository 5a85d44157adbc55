"""Blocks of 64 floats at once, and words of 64 bits: what LLVM has and numba has not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

with suppress(ImportError):  # see kernels.compile
    from llvmlite import ir

from neucf.kernels.compile import COMPILED, numba

BLOCK = 64


def _block(context: Any, builder: Any, kind: Any, array: Any, start: Any, start_kind: Any) -> Any:
    """Returns a pointer to a block of a contiguous array (N,) from `start` on."""
    at = context.cast(builder, start, start_kind, numba.types.intp)
    made = context.make_array(kind)(context, builder, array)
    place = numba.core.cgutils.get_item_pointer(context, builder, kind, made, [at], wraparound=False)
    return builder.bitcast(place, ir.VectorType(ir.FloatType(), BLOCK).as_pointer())


def _reached_call(typing: Any, line: Any, start: Any, bar: Any) -> Any:
    """Returns signature and code of `reached`."""
    del typing, bar

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        scores = builder.load(_block(context, builder, line, values[0], values[1], signature.args[1]), align=4)
        nothing = ir.Constant(scores.type, ir.Undefined)
        one = builder.insert_element(nothing, values[2], ir.Constant(ir.IntType(32), 0))
        bars = builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK))
        return builder.bitcast(builder.fcmp_ordered(">=", scores, bars), ir.IntType(BLOCK))

    return numba.types.uint64(line, start, numba.types.float32), emit


def _raise_call(typing: Any, lanes: Any, at: Any, line: Any, start: Any) -> Any:
    """Returns signature and code of `raise_to`."""
    del typing

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        own = _block(context, builder, lanes, values[0], values[1], signature.args[1])
        other = builder.load(_block(context, builder, line, values[2], values[3], signature.args[3]), align=4)
        low = builder.load(own, align=4)
        builder.store(builder.select(builder.fcmp_ordered(">", other, low), other, low), own, align=4)
        return context.get_dummy_value()

    return numba.types.void(lanes, at, line, start), emit


def _lowest_call(typing: Any, word: Any) -> Any:
    """Returns signature and code of `lowest`."""
    del typing, word

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        del context, signature
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return numba.types.int64(numba.types.uint64), emit


def _count_call(typing: Any, word: Any) -> Any:
    """Returns signature and code of `count`."""
    del typing, word

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        del context, signature
        return builder.ctpop(values[0])

    return numba.types.int64(numba.types.uint64), emit


def _compiled(call: Any) -> Any:
    return numba.extending.intrinsic(call) if COMPILED else None


# In kernels: reached(line, start, bar) is a word with bit t set where line[start + t] is at least `bar`, and
# raise_to(lanes, at, line, start) makes a block of `lanes` from `at` on the greater of itself and another's from
# `start` on; lowest(word) is the place of the lowest bit set, of at least one; count(word) is how many are set.
reached, raise_to = _compiled(_reached_call), _compiled(_raise_call)
lowest, count = _compiled(_lowest_call), _compiled(_count_call)
