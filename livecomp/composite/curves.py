"""Matrix and curves for 16 pixels at once, as LLVM's vectors: what numba's loops cannot be brought to.

A curve of 32 nodes and the slopes after them fit into four registers of AVX-512, where one instruction looks up 16
values. Other processors, and curves with more nodes, load one value after the other.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils

from livecomp.composite.lanes import Llvm, get_function, lowered, set_aside, splat, vector_at

__all__ = ["GROUP", "NODES_AT_ONCE", "correct_bytes", "correct_planes"]

GROUP = 16
"""Pixels at a time."""

NODES_AT_ONCE = 32
"""Nodes of a curve that can be looked up in registers."""

_BYTES, _FLOATS, _WORDS = (ir.VectorType(kind, GROUP) for kind in (ir.IntType(8), ir.FloatType(), ir.IntType(32)))
_WORD, _LONG = ir.IntType(32), ir.IntType(64)
_FAST = ["fast"]


@lowered
def correct_bytes(
    typing: Llvm,
    rgb: Llvm,
    at: Llvm,
    planes: Llvm,
    to: Llvm,
    apart: Llvm,
    matrix: Llvm,
    tables: Llvm,
    last: Llvm,
    spacing: Llvm,
) -> Llvm:
    """Write the corrected colours of `GROUP` pixels.

    Args:
        typing: Numba's own.
        rgb: (N,) uint8, channels interleaved.
        at: Where red of the first pixel is; all numbers are uint64.
        planes: (M,) float32, written, 0..255.
        to: Where the first pixel's red goes.
        apart: How far it is from a plane to the next.
        matrix: (9,) float32, from 0..255 to positions on the curves, 0 to `last`.
        tables: (6 * spacing,) float32: the nodes of each curve, 0..255, and from each the way to the next.
        last: The last node.
        spacing: How far it is from a table to the next, a multiple of `NODES_AT_ONCE`.
    """

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        parts = []
        for part in range(3):
            index = builder.add(arguments[1], ir.Constant(_LONG, GROUP * part))
            place = vector_at(context, builder, signature.args[0], arguments[0], index, _BYTES)
            parts.append(builder.load(place, align=1))
        low = builder.shuffle_vector(parts[0], parts[1], _order(range(2 * GROUP)))
        high = builder.shuffle_vector(parts[2], parts[2], _order(range(2 * GROUP)))
        every_third = [_order(range(channel, 3 * GROUP, 3)) for channel in range(3)]
        colors = [builder.uitofp(builder.shuffle_vector(low, high, order), _FLOATS) for order in every_third]
        return _correct(context, builder, signature.args[2:], arguments[2:], colors)

    return _signature(rgb, planes, matrix, tables), generate


@lowered
def correct_planes(
    typing: Llvm,
    source: Llvm,
    at: Llvm,
    planes: Llvm,
    to: Llvm,
    apart: Llvm,
    matrix: Llvm,
    tables: Llvm,
    last: Llvm,
    spacing: Llvm,
) -> Llvm:
    """`correct_bytes` for colours in planes like those that are written; the two may be the same."""

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        places = [builder.add(arguments[1], builder.mul(arguments[4], ir.Constant(_LONG, c))) for c in range(3)]
        colors = [
            builder.load(vector_at(context, builder, signature.args[0], arguments[0], place, _FLOATS), align=4)
            for place in places
        ]
        return _correct(context, builder, signature.args[2:], arguments[2:], colors)

    return _signature(source, planes, matrix, tables), generate


def _signature(source: Llvm, planes: Llvm, matrix: Llvm, tables: Llvm) -> Llvm:
    number = types.uint64
    return types.void(source, number, planes, number, number, matrix, tables, number, number)


def _order(places: range) -> Llvm:
    return ir.Constant(ir.VectorType(_WORD, len(places)), list(places))


def _correct(context: Llvm, builder: Llvm, kinds: Llvm, arguments: Llvm, colors: list[Llvm]) -> Llvm:
    """The steps that follow when the colours are there; `kinds` and `arguments` from the planes on."""
    planes, to, apart, matrix, tables, last, spacing = arguments
    top = builder.uitofp(last, ir.FloatType())
    most, none = splat(builder, top, _FLOATS), ir.Constant(_FLOATS, [0.0] * GROUP)

    def number(kind: Llvm, array: Llvm, index: Llvm) -> Llvm:
        return builder.load(builder.gep(context.make_array(kind)(context, builder, array).data, [index]))

    def load(index: Llvm) -> Llvm:
        return builder.load(vector_at(context, builder, kinds[4], tables, index, _FLOATS), align=4)

    def look_up(start: Llvm, places: Llvm) -> Llvm:
        if "+avx512f" in str(getattr(context.codegen(), "_tm_features", "")):
            return _permuted(builder, load, start, places, spacing)
        found = ir.Constant(_FLOATS, ir.Undefined)
        for lane in (ir.Constant(_WORD, k) for k in range(GROUP)):
            place = builder.add(start, builder.zext(builder.extract_element(places, lane), _LONG))
            found = builder.insert_element(found, number(kinds[4], tables, place), lane)
        return found

    for channel in range(3):
        position = none
        for column, color in enumerate(colors):
            factor = number(kinds[3], matrix, ir.Constant(_LONG, 3 * channel + column))
            term = builder.fmul(splat(builder, factor, _FLOATS), color, flags=_FAST)
            position = builder.fadd(position, term, flags=_FAST)
        for sign, limit in ((">", none), ("<", most)):
            position = builder.select(builder.fcmp_ordered(sign, position, limit, flags=_FAST), position, limit)
        first = builder.fptosi(position, _WORDS)
        along = builder.fsub(position, builder.sitofp(first, _FLOATS), flags=_FAST)
        start = builder.mul(spacing, ir.Constant(_LONG, 2 * channel))
        value, slope = look_up(start, first), look_up(builder.add(start, spacing), first)
        value = builder.fadd(value, builder.fmul(along, slope, flags=_FAST), flags=_FAST)
        place = builder.add(to, builder.mul(apart, ir.Constant(_LONG, channel)))
        builder.store(value, vector_at(context, builder, kinds[0], planes, place, _FLOATS), align=4)
    return context.get_dummy_value()


def _permuted(builder: Llvm, load: Callable[[Llvm], Llvm], start: Llvm, places: Llvm, spacing: Llvm) -> Llvm:
    """`NODES_AT_ONCE` of a table at a time, of which the last 5 bits of a place choose one; one time is the rule."""
    kind = ir.FunctionType(_FLOATS, [_FLOATS, _WORDS, _FLOATS])
    permute = get_function(builder.module, kind, "llvm.x86.avx512.vpermi2var.ps.512")

    def part(index: Llvm) -> Llvm:
        return builder.call(permute, [load(index), places, load(builder.add(index, ir.Constant(_LONG, GROUP)))])

    found = set_aside(builder, part(start))
    step = ir.Constant(_LONG, NODES_AT_ONCE)
    with cgutils.for_range_slice(builder, step, spacing, step, _LONG) as (offset, _):
        bits = builder.and_(places, ir.Constant(_WORDS, [-NODES_AT_ONCE] * GROUP))
        here = builder.icmp_signed("==", bits, splat(builder, builder.trunc(offset, _WORD), _WORDS))
        builder.store(builder.select(here, part(builder.add(start, offset)), builder.load(found)), found)
    return builder.load(found)
