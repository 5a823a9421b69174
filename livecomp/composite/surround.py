"""What surrounds the person's edge, for a band of rows: where the person is, and sums of the colours on either side.

The same maps as `livecomp.composite.edges.measure_edges`, but only where the person is, and in whole numbers: sums of
whole numbers can be slid along without an error, so that no pixel depends on where a band or the person begins.
Compiled by numba, without its own threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled
from livecomp.composite.lanes import BLOCK, common_bits, slide, weigh

__all__ = ["SIDES", "measure_band"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]

SIDES = 8
"""Values of a node: the sums of the person's red, green, blue and weight, then those of the room."""

_compiled = compiled(nogil=True, error_model="numpy")
_Int: Any = np.int64


@_compiled
def measure_band(
    rgb: U8,
    alpha: U8,
    width: int,
    height: int,
    top: int,
    bottom: int,
    spans: I32,
    kinds: U8,
    columns: I32,
    rows: I32,
    weights: U32,
    sides_reach: int,
    wrap_reach: int,
    sides: U32,
    around: F32,
    least: np.float32,
    work: U32,
) -> None:
    """Fill `spans` and `kinds`, and the maps wherever a pixel of the band may look at them.

    Args:
        rgb: (H * W * 3,) uint8, the frame.
        alpha: (H * W,) uint8, its matte.
        width: Of the frame.
        height: Of the frame.
        top: First row of the band.
        bottom: One past its last row.
        spans: (2 * H,) int32, written: of each row the first pixel of the blocks that are not all 0, and one past their
            last; equal where there is none.
        kinds: (H * ceil(W / BLOCK),) uint8, written: of each block 0 where all are 0, 2 where all are 255, else 1.
        columns: (w,) int32, which column of the frame each column of the maps takes.
        rows: (h,) int32, the same for rows.
        weights: (2 * 256,) uint32, weight of each alpha among the person, and among the room.
        sides_reach: Half a side of the boxes of `sides`, in nodes; 0 leaves it alone.
        wrap_reach: Half a side of the boxes of `around`, in nodes; 0 leaves it alone.
        sides: (h * w * SIDES,) uint32, written: weighted sums of colours and sums of weights.
        around: (h * w * 4,) float32, written: three times 0, and 1 minus the blurred matte.
        least: What is less becomes 0 in `around`.
        work: (h * w * SIDES + 2 * w * SIDES,) uint32, scratch.
    """
    left, right, upper, lower = _find(alpha, width, top, bottom, spans, kinds)
    if left >= right:
        return
    w, h = columns.size, rows.size
    box = (
        _node(left, width, w),
        min(_node(right - 1, width, w) + 2, w),
        _node(upper, height, h),
        min(_node(lower - 1, height, h) + 2, h),
    )
    if sides_reach > 0:
        _sum_sides(rgb, alpha, width, columns, rows, weights, sides_reach, box, sides, work)
    if wrap_reach > 0:
        _sum_around(alpha, width, columns, rows, wrap_reach, box, around, least, work)


@_compiled
def _find(alpha: U8, width: int, top: int, bottom: int, spans: I32, kinds: U8) -> tuple[int, int, int, int]:
    """Fill `spans` and `kinds`; the box around the person, in pixels: left, right, top, bottom."""
    left, right, upper, lower = width, 0, bottom, top
    blocks = (width + BLOCK - 1) // BLOCK
    whole = width // BLOCK
    for y in range(top, bottom):
        base, row = np.uint64(y) * np.uint64(width), np.uint64(y) * np.uint64(blocks)
        for block in range(np.uint64(whole)):
            kinds[row + block] = common_bits(alpha, base + np.uint64(BLOCK) * block)
        if whole < blocks:
            kinds[row + np.uint64(whole)] = _rest(alpha, base + np.uint64(BLOCK * whole), width - BLOCK * whole)
        first, last = 0, blocks
        while first < blocks and kinds[row + np.uint64(first)] == 0:
            first += 1
        while last > first and kinds[row + np.uint64(last - 1)] == 0:
            last -= 1
        begin, end = min(width, BLOCK * first), min(width, BLOCK * last)
        if begin < end:
            left, right = min(left, begin), max(right, end)
            upper, lower = min(upper, y), y + 1
        spans[2 * y], spans[2 * y + 1] = begin, end
    return left, right, upper, lower


@_compiled
def _rest(alpha: U8, start: np.uint64, count: int) -> int:
    """`common_bits` of fewer pixels than a block has."""
    some, full = False, True
    for x in range(np.uint64(count)):
        some |= alpha[start + x] != 0
        full &= alpha[start + x] == 255
    return (1 if some else 0) + (1 if full else 0)


@_compiled
def _node(index: int, length: int, small: int) -> int:
    """The first of the two nodes, of `small`, that pixel `index` of `length` lies between."""
    position = (np.float32(index) + np.float32(0.5)) * np.float32(small) / np.float32(length) - np.float32(0.5)
    return max(0, min(small - 1, int(position)))


@_compiled
def _sum_sides(
    rgb: U8,
    alpha: U8,
    width: int,
    columns: I32,
    rows: I32,
    weights: U32,
    reach: int,
    box: tuple[int, int, int, int],
    sides: U32,
    work: U32,
) -> None:
    w, h = columns.size, rows.size
    left, right, upper, lower = box
    first, last = max(0, left - 2 * reach), min(w, right + 2 * reach)
    once = w * h * SIDES
    twice = once + w * SIDES
    for y in range(max(0, upper - 2 * reach), min(h, lower + 2 * reach)):
        _weigh(rgb, alpha, rows[y] * width, columns, weights, first, last, work, once)
        _slide_columns(work, once, work, twice, max(0, left - reach), min(w, right + reach), w, reach)
        _slide_columns(work, twice, sides, y * w * SIDES, left, right, w, reach)
    line = w * SIDES
    begin, count = left * SIDES, (right - left) * SIDES
    _slide_rows(sides, work, line, begin, count, max(0, upper - reach), min(h, lower + reach), h, reach)
    _slide_rows(work, sides, line, begin, count, upper, lower, h, reach)


@_compiled
def _weigh(
    rgb: U8, alpha: U8, base: int, columns: I32, weights: U32, first: int, last: int, to: U32, start: int
) -> None:
    """The colours of one row times either weight, and the weights."""
    for x in range(first, last):
        at = np.uint64(base + columns[x])
        a = np.uint64(alpha[at])
        person, room = weights[a], weights[a + np.uint64(256)]
        at *= np.uint64(3)
        red, green, blue = np.uint32(rgb[at]), np.uint32(rgb[at + np.uint64(1)]), np.uint32(rgb[at + np.uint64(2)])
        weigh(to, np.uint64(start + SIDES * x), red, green, blue, person, room)


@_compiled
def _slide_columns(
    source: U32, from_start: int, to: U32, to_start: int, first: int, last: int, width: int, reach: int
) -> None:
    """A box filter along a row of nodes of `SIDES` values, for nodes `first` to `last`; the ends are repeated."""
    begin = np.uint64(to_start + SIDES * first)
    for k in range(-reach, reach + 1):
        other = np.uint64(from_start + SIDES * max(0, min(width - 1, first + k)))
        for c in range(np.uint64(SIDES)):
            to[begin + c] = source[other + c] + (to[begin + c] if k > -reach else np.uint32(0))
    slide(to, to_start, source, from_start, first, last, width, reach)


@_compiled
def _slide_rows(
    source: U32, to: U32, line: int, begin: int, count: int, first: int, last: int, height: int, reach: int
) -> None:
    """A box filter along columns, for rows `first` to `last`, `count` values from `begin` on."""
    n = np.uint64(count)
    for y in range(first, last):
        here = np.uint64(y * line + begin)
        if y == first:
            for x in range(n):
                to[here + x] = 0
            for k in range(-reach, reach + 1):
                other = np.uint64(max(0, min(height - 1, y + k)) * line + begin)
                for x in range(n):
                    to[here + x] += source[other + x]
        else:
            before = np.uint64((y - 1) * line + begin)
            more = np.uint64(min(height - 1, y + reach) * line + begin)
            less = np.uint64(max(0, y - reach - 1) * line + begin)
            for x in range(n):
                to[here + x] = to[before + x] + source[more + x] - source[less + x]


@_compiled
def _sum_around(
    alpha: U8,
    width: int,
    columns: I32,
    rows: I32,
    reach: int,
    box: tuple[int, int, int, int],
    around: F32,
    least: np.float32,
    work: U32,
) -> None:
    w, h = columns.size, rows.size
    left, right, upper, lower = box
    first, last = max(0, left - 2 * reach), min(w, right + 2 * reach)
    again = w * h
    other = work[again : again + w * h]
    for y in range(max(0, upper - 2 * reach), min(h, lower + 2 * reach)):
        base = rows[y] * width
        for x in range(first, last):
            work[np.uint64(y * w + x)] = np.uint32(255) - np.uint32(alpha[np.uint64(base + columns[x])])
    _slide_rows(work, other, w, first, last - first, max(0, upper - reach), min(h, lower + reach), h, reach)
    _slide_rows(other, work, w, first, last - first, upper, lower, h, reach)
    side = 2 * reach + 1
    scale = np.float32(1) / np.float32(255 * side * side * side * side)
    begin, end = max(0, left - reach), min(w, right + reach)
    # the rows of the second half are done with: there is room for a line, and for one with its ends repeated
    line, longer = np.uint64(w * h), np.uint64(w * h + w)
    for y in range(upper, lower):
        _add_up(work, np.uint64(y * w), line, longer, begin, end, w, reach)
        _add_up(work, line, line, longer, left, right, w, reach)
        for x in range(left, right):
            value = np.float32(work[line + np.uint64(x)]) * scale
            at = np.uint64(4 * (y * w + x))
            for k in range(np.uint64(3)):
                around[at + k] = np.float32(0)
            around[at + np.uint64(3)] = value if value >= least else np.float32(0)


@_compiled
def _add_up(
    work: U32, source: np.uint64, to: np.uint64, longer: np.uint64, first: int, last: int, width: int, reach: int
) -> None:
    """A box filter along a row of single values: sums of shifted rows, as SIMD has no sums that slide.

    Args:
        work: (N,) uint32, which holds all three rows.
        source: Where the row begins.
        to: Where the result goes; may be `source`.
        longer: Where `last` - `first` + 2 * `reach` values can be put.
        first: The first value that is wanted.
        last: One past the last.
        width: Values of the row; those beyond its ends count as the ones at the ends.
        reach: Half a side of the box.
    """
    for x in range(first - reach, last + reach):
        work[longer + np.uint64(x - first + reach)] = work[source + np.uint64(max(0, min(width - 1, x)))]
    begin = to + np.uint64(first)
    for x in range(np.uint64(last - first)):
        work[begin + x] = work[longer + x]
    for k in range(np.uint64(1), np.uint64(2 * reach + 1)):
        for x in range(np.uint64(last - first)):
            work[begin + x] += work[longer + k + x]
