"""WIDTH float32 as one value in kernels: sums stay in registers, where LLVM left to itself keeps them in memory.

LLVM cuts a vector into as many registers as the machine needs. Where numba is absent a vector is a numpy array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neucf.kernels.compile import COMPILED, numba

WIDTH = 16


def load(array, row, column):
    """Returns array[row, column : column + WIDTH]."""
    return array[row, column : column + WIDTH].copy()


def store(array, row, column, vector):
    """Sets array[row, column : column + WIDTH]."""
    array[row, column : column + WIDTH] = vector


def zeros():
    """Returns a vector of zeros."""
    return np.zeros(WIDTH, np.float32)


def madd(factor, vector, other):
    """Returns factor * vector + other; the factor is a float32 or a vector."""
    return factor * vector + other


def where_positive(by, vector):
    """Returns the vector with zeros where `by` is 0 or less; a NaN stays."""
    return np.where(by <= np.float32(0.0), np.float32(0.0), vector)


def total(vector):
    """Returns the sum of a vector."""
    return vector.sum()


if COMPILED:
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.core.datamodel import models

    class _Vector(types.Type):
        """What numba knows a vector by."""

    @numba.extending.register_model(_Vector)
    class _Model(models.PrimitiveModel):
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, _LLVM)

    _FLOAT, _WORD = ir.FloatType(), ir.IntType(32)
    _LLVM = ir.VectorType(_FLOAT, WIDTH)
    _NOTHING = ir.Constant(_LLVM, None)
    _VECTOR = _Vector(f"vector of {WIDTH} float32")

    def _place(context: Any, builder: Any, kinds: Any, values: Any) -> Any:
        """Returns where array[row, column] lies."""
        at = [context.cast(builder, value, kind, types.intp) for value, kind in zip(values[1:], kinds[1:], strict=True)]
        array = context.make_array(kinds[0])(context, builder, values[0])
        place = cgutils.get_item_pointer(context, builder, kinds[0], array, at, wraparound=False)
        return builder.bitcast(place, _LLVM.as_pointer())

    def _load(_typing: Any, array: Any, row: Any, column: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.load(_place(context, builder, signature.args, values), align=4)

        return _VECTOR(array, row, column), emit

    def _store(_typing: Any, array: Any, row: Any, column: Any, vector: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            builder.store(values[3], _place(context, builder, signature.args[:3], values[:3]), align=4)
            return context.get_dummy_value()

        return types.void(array, row, column, vector), emit

    def _zeros(_typing: Any) -> Any:
        return _VECTOR(), lambda *_: _NOTHING

    def _madd(_typing: Any, factor: Any, vector: Any, other: Any) -> Any:
        def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            factors = values[0]
            if not isinstance(factor, _Vector):
                one = builder.insert_element(_NOTHING, factors, _WORD(0))
                factors = builder.shuffle_vector(one, _NOTHING, ir.Constant(ir.VectorType(_WORD, WIDTH), None))
            product = builder.fmul(factors, values[1], flags=("contract",))
            return builder.fadd(product, values[2], flags=("contract",))

        return _VECTOR(factor if isinstance(factor, _Vector) else types.float32, vector, other), emit

    def _where_positive(_typing: Any, by: Any, vector: Any) -> Any:
        def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<=", values[0], _NOTHING), _NOTHING, values[1])

        return _VECTOR(by, vector), emit

    def _total(_typing: Any, vector: Any) -> Any:
        def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            kind = ir.FunctionType(_FLOAT, [_FLOAT, _LLVM])
            add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{WIDTH}f32")
            return builder.call(add, [_FLOAT(0.0), values[0]], fastmath=("reassoc",))

        return types.float32(vector), emit

    load, store, zeros, madd, where_positive, total = (
        numba.extending.intrinsic(each) for each in (_load, _store, _zeros, _madd, _where_positive, _total)
    )
