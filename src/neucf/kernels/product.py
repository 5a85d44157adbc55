"""multiply: weights times a panel of columns, in the widest vectors there are.

Loops as numba compiles them keep to half of what AVX-512 offers and read and write their sums all the time: a third of
the speed. So the innermost tile is written out for LLVM, its sums in registers from the first term to the last. Each
element is one sum in one order, whatever stands beside it: items alike tie exactly, which a BLAS that treats edges by
another kernel does not give.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

with suppress(ImportError):  # see kernels.compile
    from llvmlite import ir
    from llvmlite.binding import get_host_cpu_features

from neucf.kernels.compile import COMPILED, kernel, numba

# Columns of a panel, and rows of a tile.
PANEL, _ROWS = 64, 4
# Floats of a vector, which LLVM splits where registers are narrower.
_LANES = 16


def _columns() -> int:
    """Returns the columns of a tile: its sums take half of the registers, of which AVX-512 has 32 of 16 floats."""
    return 4 * _LANES if get_host_cpu_features().get("avx512f") else _LANES


TILE = _columns() if COMPILED else PANEL


def _tile_call(typing: Any, weights: Any, start: Any, row: Any, x: Any, column: Any, out: Any, at: Any) -> Any:
    """Returns signature and code of `multiply_tile`."""
    del typing

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        cgutils, intp = numba.core.cgutils, numba.types.intp
        arrays = {
            place: context.make_array(kind)(context, builder, values[place])
            for place, kind in enumerate(signature.args)
            if isinstance(kind, numba.types.Array)
        }
        row, column, at = (context.cast(builder, values[place], signature.args[place], intp) for place in (2, 4, 6))
        vector = ir.VectorType(ir.FloatType(), _LANES)
        first = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)

        def pointer(array: int, *index: Any) -> Any:
            return cgutils.get_item_pointer(
                context, builder, signature.args[array], arrays[array], list(index), wraparound=False
            )

        def several(array: int, *index: Any) -> Any:
            return builder.bitcast(pointer(array, *index), vector.as_pointer())

        def repeated(array: int, *index: Any) -> Any:
            nothing = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(nothing, builder.load(pointer(array, *index)), ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, nothing, first)

        rows = [builder.add(row, context.get_constant(intp, place)) for place in range(_ROWS)]
        columns = [builder.add(column, context.get_constant(intp, place)) for place in range(0, TILE, _LANES)]
        # LLVM keeps these in registers
        sums = [[cgutils.alloca_once(builder, vector) for _ in columns] for _ in rows]
        for o, own in zip(rows, sums, strict=True):
            for each in own:
                builder.store(repeated(1, o), each)
        size = cgutils.unpack_tuple(builder, arrays[0].shape)[1]
        with cgutils.for_range(builder, size, intp=size.type) as loop:
            units = [builder.load(several(3, loop.index, t), align=4) for t in columns]
            for o, own in zip(rows, sums, strict=True):
                weight = repeated(0, o, loop.index)
                for each, unit in zip(own, units, strict=True):
                    product = builder.fmul(weight, unit, flags=["contract"])
                    builder.store(builder.fadd(product, builder.load(each), flags=["contract"]), each)
        for o, own in zip(rows, sums, strict=True):
            for t, each in zip(columns, own, strict=True):
                builder.store(builder.load(each), several(5, o, at, t), align=4)
        return context.get_dummy_value()

    return numba.types.void(weights, start, row, x, column, out, at), emit


def _tile_by_numpy(weights: Any, start: Any, row: int, x: Any, column: int, out: Any, at: int) -> None:
    """The same where numba is absent."""
    rows, columns = slice(row, row + _ROWS), slice(column, column + TILE)
    out[rows, at, columns] = start[rows, None] + weights[rows] @ x[:, columns]


# multiply_tile(weights, start, row, x, column, out, at), in a kernel: sets _ROWS by TILE elements of multiply's
multiply_tile = numba.extending.intrinsic(_tile_call) if COMPILED else _tile_by_numpy


@kernel
def multiply(weights, start, x, out, at):
    """Sets panel `at` of out (M, S, PANEL) to start (M,) plus weights (M, N) times x (N, PANEL); M is whole fours."""
    # A tile's columns of x stay in the nearest cache while the rows pass by.
    for t in range(0, PANEL, TILE):
        for o in range(0, weights.shape[0], _ROWS):
            multiply_tile(weights, start, o, x, t, out, at)
