"""A few steps over neighbouring values that numba's loops do not turn into SIMD, written as LLVM's vectors.

A loop of 8 or 32 steps is unrolled before the compiler looks for vectors, and it looks for none in what is left. LLVM
turns a vector into what the processor has, also into several small ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["BLOCK", "LANES", "LINE", "common_bits", "fetch", "ramp", "slide"]

LANES = 8
"""Values at a time of `ramp` and `slide`."""

BLOCK = 32
"""Values at a time of `common_bits`."""

LINE = 64
"""Bytes that `fetch` brings; as most processors have it, and harmless where it is another number."""

_BYTE, _WORD, _FLOAT, _LONG = ir.IntType(8), ir.IntType(32), ir.FloatType(), ir.IntType(64)


_get_function: Any = cgutils.get_or_insert_function

_Llvm: TypeAlias = Any
"""What numba and llvmlite hand around while they compile; it carries no types."""


def _lowered(function: Callable[..., _Llvm]) -> Any:  # noqa: ANN401
    """Make it a function that compiled loops can call."""
    return intrinsic(function)


def _vector_at(context: _Llvm, builder: _Llvm, kind: _Llvm, array: _Llvm, index: _Llvm, vector: _Llvm) -> _Llvm:
    """The address of `index` in a one-dimensional array, as that of a vector."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _splat(builder: _Llvm, value: _Llvm, vector: _Llvm) -> _Llvm:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_WORD, 0))
    order = ir.Constant(ir.VectorType(_WORD, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


@_lowered
def common_bits(typing: _Llvm, values: _Llvm, index: _Llvm) -> _Llvm:
    """Of `BLOCK` uint8 from a place on: 0 where all are 0, 2 where all are 255, else 1.

    Args:
        typing: Numba's own.
        values: (N,) uint8.
        index: uint64, at most N - `BLOCK`.
    """
    vector = ir.VectorType(_BYTE, BLOCK)

    def generate(context: _Llvm, builder: _Llvm, signature: _Llvm, arguments: _Llvm) -> _Llvm:
        array, at = arguments
        place = _vector_at(context, builder, signature.args[0], array, at, vector)
        block = builder.load(place, align=1)
        mask = ir.IntType(BLOCK)
        some = builder.bitcast(builder.icmp_unsigned("!=", block, ir.Constant(vector, [0] * BLOCK)), mask)
        rest = builder.bitcast(builder.icmp_unsigned("!=", block, ir.Constant(vector, [255] * BLOCK)), mask)
        any_some = builder.zext(builder.icmp_unsigned("!=", some, ir.Constant(mask, 0)), _LONG)
        no_rest = builder.zext(builder.icmp_unsigned("==", rest, ir.Constant(mask, 0)), _LONG)
        return builder.add(any_some, no_rest)

    return types.int64(values, types.uint64), generate


@_lowered
def ramp(typing: _Llvm, values: _Llvm, index: _Llvm, first: _Llvm, step: _Llvm) -> _Llvm:
    """Write `LANES` float32 from a place on: first, first + step, first + 2 step...

    Args:
        typing: Numba's own.
        values: (N,) float32.
        index: uint64, at most N - `LANES`.
        first: float32.
        step: float32.
    """
    vector = ir.VectorType(_FLOAT, LANES)

    def generate(context: _Llvm, builder: _Llvm, signature: _Llvm, arguments: _Llvm) -> _Llvm:
        array, at, begin, by = arguments
        place = _vector_at(context, builder, signature.args[0], array, at, vector)
        counting = ir.Constant(vector, [float(k) for k in range(LANES)])
        rise = builder.fmul(_splat(builder, by, vector), counting, flags=["fast"])
        builder.store(builder.fadd(_splat(builder, begin, vector), rise, flags=["fast"]), place, align=1)
        return context.get_dummy_value()

    return types.void(values, types.uint64, types.float32, types.float32), generate


@_lowered
def slide(typing: _Llvm, to: _Llvm, here: _Llvm, before: _Llvm, source: _Llvm, more: _Llvm, less: _Llvm) -> _Llvm:
    """Write `LANES` uint32 from `here` on: those from `before` on, and of `source` those at `more` less `less`.

    Args:
        typing: Numba's own.
        to: (N,) uint32.
        here: uint64, at most N - `LANES`, as are `before`, `more` and `less` for their arrays.
        before: uint64.
        source: (M,) uint32.
        more: uint64.
        less: uint64.
    """
    vector = ir.VectorType(_WORD, LANES)

    def generate(context: _Llvm, builder: _Llvm, signature: _Llvm, arguments: _Llvm) -> _Llvm:
        target, at, last, origin, added, dropped = arguments
        into, out_of = signature.args[0], signature.args[3]

        def load(kind: _Llvm, array: _Llvm, index: _Llvm) -> _Llvm:
            return builder.load(_vector_at(context, builder, kind, array, index, vector), align=4)

        total = builder.add(load(into, target, last), load(out_of, origin, added))
        total = builder.sub(total, load(out_of, origin, dropped))
        builder.store(total, _vector_at(context, builder, into, target, at, vector), align=4)
        return context.get_dummy_value()

    return types.void(to, types.uint64, types.uint64, source, types.uint64, types.uint64), generate


@_lowered
def fetch(typing: _Llvm, values: _Llvm, index: _Llvm) -> _Llvm:
    """Have a place of an array, and what lies around it, in the cache soon.

    Args:
        typing: Numba's own.
        values: (N,) uint8.
        index: uint64; beyond the array is harmless.
    """

    def generate(context: _Llvm, builder: _Llvm, signature: _Llvm, arguments: _Llvm) -> _Llvm:
        array, at = arguments
        place = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [at])
        pointer = place.type
        kind = ir.FunctionType(ir.VoidType(), [pointer, _WORD, _WORD, _WORD])
        function = _get_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, *(ir.Constant(_WORD, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(values, types.uint64), generate
