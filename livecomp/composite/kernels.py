"""The one hot loop: correct, wrap and blend every pixel of a band of rows, in one pass over memory.

Compiled by numba, without its own threads: the caller gives each thread a band of rows. A row is taken apart into
stretches of one kind, of nobody, of the person alone, of their edge, and each stretch into planes (`planes`), beside
what the small maps say there (`nodes`). Pictures are flat arrays, as each slice costs numba two atomic operations on
a counter that both threads share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled
from livecomp.composite.curves import GROUP
from livecomp.composite.lanes import BLOCK, LINE, fetch
from livecomp.composite.nodes import (
    find_cells,
    find_lit,
    find_slopes,
    find_starts,
    mix_light,
    mix_sides,
    nodes_between,
    place,
    stretch,
)
from livecomp.composite.planes import (
    GAIN,
    LIGHT,
    NEAR_AND_FAR,
    PIECE,
    PLANES,
    SPACING,
    correct_again,
    correct_frame,
    correct_rest,
    decontaminate_edge,
    load,
    shade,
    store,
    store_blended,
    store_linear,
    whole_groups,
    wrap_light,
)
from livecomp.composite.surround import SIDES

__all__ = ["compose_band"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]

_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")

_Int: Any = np.int64
_ZERO = np.float32(0)
_ROWS = 16
_U3 = np.uint64(3)
_EMPTY, _EDGE, _LIT, _FULL = 0, 1, 2, 3


@_compiled
def compose_band(
    rgb: U8,
    alpha: U8,
    background: U8,
    out: U8,
    width: int,
    height: int,
    top: int,
    bottom: int,
    spans: I32,
    blocks: U8,
    colored: bool,
    matrix: F32,
    curves: F32,
    nodes_of_curves: int,
    log_gain: F32,
    shaded: bool,
    small_wh: tuple[int, int],
    sides: U32,
    per_side: np.float32,
    decontaminate: bool,
    around: F32,
    light: F32,
    light_wrap: np.float32,
    linear: F32,
    encode: F32,
    linear_light: bool,
) -> None:
    """Fill rows `top` to `bottom` of `out`.

    Args:
        rgb: (H * W * 3,) uint8, the frame.
        alpha: (H * W,) uint8, its matte.
        background: (H * W * 3,) uint8, the scene.
        out: (H * W * 3,) uint8, written.
        width: Of the pictures.
        height: Of the pictures.
        top: First row.
        bottom: One past the last row.
        spans: See `measure_band`.
        blocks: Its `kinds`.
        colored: Whether `matrix` and `curves` are used.
        matrix: (9,) float32, from 0..255 to positions on the curves.
        curves: (6 * N,) float32, for each curve its nodes, 0..255, and from each the way to the next; N is a multiple
            of `NODES_AT_ONCE`.
        nodes_of_curves: How many of the N there are.
        log_gain: (h, w) float32.
        shaded: Whether `log_gain` is used.
        small_wh: Width and height of the maps.
        sides: See `measure_band`.
        per_side: What the sums of weights are multiplied by to be 0..1.
        decontaminate: Whether `sides` is used.
        around: See `measure_band`.
        light: (h * w * 4,) float32, the scene's blurred light, 0..255, and a value that is not used.
        light_wrap: Strength of the wrap; 0 leaves `around` and `light` unused.
        linear: (256,) float32, linear light 0..1 of each 8-bit value.
        encode: (ENCODE_STEPS,) float32, encoded value 0..255 by the square root of linear light.
        linear_light: Blend in linear light, or on encoded values.
    """
    w, h = small_wh
    # what lies between the planes is worked on, too: it has to be numbers
    planes, rest = np.zeros(PLANES * SPACING, np.float32), np.zeros(3 * GROUP, np.uint8)
    last, spacing = np.uint64(nodes_of_curves - 1), np.uint64(curves.size // 6)
    gains, gain_slopes = np.empty(log_gain.shape[1], np.float32), np.empty(log_gain.shape[1], np.float32)
    nodes, slopes = np.empty(w * SIDES, np.float32), np.empty(w * SIDES, np.float32)
    starts, gain_starts = find_starts(width, w), find_starts(width, gains.size)
    cells, gain_cells = find_cells(starts, width), find_cells(gain_starts, width)
    lit, kinds = np.zeros(cells.size, np.uint8), np.zeros(cells.size, np.uint8)
    wrapped = light_wrap > _ZERO
    known = -1
    for y in range(top, bottom):
        base = np.uint64(y) * np.uint64(width)
        begin, end = _Int(spans[2 * y]), _Int(spans[2 * y + 1])
        if (y - top) % _ROWS == 0:
            _copy(background, out, _U3 * base, _U3 * np.uint64(min(y + _ROWS, bottom)) * np.uint64(width))
        if begin == end:
            continue
        if y + 1 < bottom:
            _fetch_row(rgb, base + np.uint64(width), spans[2 * y + 2], spans[2 * y + 3])
        v0, v1, v = place(y, height, h)
        if shaded:
            g0, g1, g = place(y, height, log_gain.shape[0])
            for x in range(gains.size):
                gains[x] = log_gain[g0, x] + g * (log_gain[g1, x] - log_gain[g0, x])
            find_slopes(gains, gain_slopes, 1, gains.size)
        if wrapped and v0 != known:
            known = v0
            find_lit(around, v0 * w, v1 * w, starts, lit)
        _tell_lit(blocks, np.uint64(y) * np.uint64(lit.size), lit, kinds)
        left = begin
        while left < end:
            left = _run(kinds, _EMPTY, True, left, end)
            right = _run(kinds, _EMPTY, False, left, min(end, left + PIECE))
            at, count = base + np.uint64(left), np.uint64(right - left)
            if colored:
                whole = whole_groups(rgb, at, count)
                correct_frame(rgb, at, planes, whole, matrix, curves, last, spacing)
                if whole < count:
                    correct_rest(rgb, at + whole, planes, whole, count - whole, matrix, curves, last, spacing, rest)
            else:
                load(rgb, planes, at, np.uint64(0), count)
            x = left
            while decontaminate and x < right:
                x = _run(kinds, _EDGE, False, x, right)
                stop = _run(kinds, _EDGE, True, x, right)
                if x < stop:
                    here, to, more = base + np.uint64(x), np.uint64(x - left), np.uint64(stop - x)
                    cell = _Int(cells[x // BLOCK])
                    n0, n1 = nodes_between(cell, stop, starts, w)
                    mix_sides(sides, v0 * w, v1 * w, n0, n1, v, per_side, nodes)
                    find_slopes(nodes, slopes, SIDES, n1 - n0)
                    stretch(nodes, slopes, n0, SIDES, planes, NEAR_AND_FAR + to, starts, cell, x, stop, width)
                    load(rgb, planes, here, to, more)
                    decontaminate_edge(planes, alpha, here, to, more)
                    if colored:
                        correct_again(planes, to, more, matrix, curves, last, spacing)
                x = stop
            if shaded:
                cell = _Int(gain_cells[left // BLOCK])
                stretch(gains, gain_slopes, 0, 1, planes, GAIN, gain_starts, cell, left, right, width)
                shade(planes, count)
            x = left
            while wrapped and x < right:
                x = _run(kinds, _FULL, True, x, right)
                stop = _run(kinds, _FULL, False, x, right)
                if x < stop:
                    to, more = np.uint64(x - left), np.uint64(stop - x)
                    cell = _Int(cells[x // BLOCK])
                    n0, n1 = nodes_between(cell, stop, starts, w)
                    mix_light(light, around, v0 * w, v1 * w, n0, n1, v, nodes)
                    find_slopes(nodes, slopes, 4, n1 - n0)
                    stretch(nodes, slopes, n0, 4, planes, LIGHT + to, starts, cell, x, stop, width)
                    wrap_light(planes, light_wrap, to, more)
                x = stop
            x = left
            while x < right:
                stop = _run(kinds, _EDGE, True, x, right)
                here, to, more = base + np.uint64(x), np.uint64(x - left), np.uint64(stop - x)
                if x < stop and linear_light:
                    store_linear(planes, alpha, out, here, to, linear, encode, more)
                elif x < stop:
                    store_blended(planes, alpha, out, here, to, more)
                x = stop
                stop = _run(kinds, _EDGE, False, x, right)
                if x < stop:
                    store(planes, out, base + np.uint64(x), np.uint64(x - left), np.uint64(stop - x))
                x = stop
            left = right


@_compiled
def _copy(source: U8, target: U8, begin: np.uint64, end: np.uint64) -> None:
    for x in range(end - begin):
        target[begin + x] = source[begin + x]


@_compiled
def _fetch_row(rgb: U8, base: np.uint64, begin: int, end: int) -> None:
    """What the next row needs: the processor foresees only what goes on where the last row went on."""
    first, last = base + np.uint64(begin), base + np.uint64(end)
    for at in range(_U3 * first, _U3 * last, np.uint64(LINE)):
        fetch(rgb, at)


@_compiled
def _tell_lit(blocks: U8, row: np.uint64, lit: U8, kinds: U8) -> None:
    """The kinds of a row: whether the scene's light reaches a block of the person alone."""
    for block in range(np.uint64(lit.size)):
        bits = blocks[row + block]
        kinds[block] = bits + (bits >> np.uint8(1)) * (np.uint8(1) - lit[block])


@_compiled
def _run(kinds: U8, kind: int, same: bool, left: int, right: int) -> int:
    """Where blocks of a kind, or not of it, end: from the pixel `left` on, at most at `right`."""
    while left < right and (kinds[np.uint64(left) // np.uint64(BLOCK)] == kind) == same:
        left += BLOCK
    return min(left, right)
