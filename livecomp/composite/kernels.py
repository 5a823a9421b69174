"""The one hot loop: correct, wrap and blend every pixel of a band of rows, in one pass over memory.

Compiled by numba, without its own threads: the caller gives each thread a band of rows. A row is taken apart into
stretches of one kind, of nobody, of the person alone, of her edge, and each stretch into planes of float32 that stay in
the cache. The passes over them are plain loops without a branch, that the compiler turns into SIMD.

What it takes for that, by the machine code: pictures as flat arrays, as each slice costs numba two atomic operations
on a counter that both threads share; places as unsigned numbers, as signed ones may count from the end; all planes in
one array at distances known when compiled, as no pass may write where it reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled
from livecomp.composite.curves import GROUP, correct_bytes, correct_planes
from livecomp.composite.lanes import BLOCK, LANES, LINE, fetch, ramp
from livecomp.composite.surround import SIDES

__all__ = ["ENCODE_STEPS", "FEW", "compose_band"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]

ENCODE_STEPS = 4096
"""Entries of the table from the square root of linear light back to encoded values."""

FEW = 1e-3
"""Weight of a pixel's own colour in the mean colours of either side: what remains where neither is near."""

# fastmath: nothing here makes a NaN, as what goes in is 8-bit, or finite and bounded.
_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")

_Int: Any = np.int64
_ONE = np.float32(1)
_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_TOP = np.float32(255)
_PER_LEVEL = np.float32(1 / 255)
_FEW = np.float32(FEW)
_ENCODE_TOP = np.float32(ENCODE_STEPS - 1)

_PIECE = 512
_ROWS = 16
_SPACING = _PIECE + 2 * LANES
"""Pixels from one plane to the next: a stretch, and what `_stretch` writes beyond it."""
_PLANE = np.uint64(_SPACING)

_U1, _U2, _U3 = np.uint64(1), np.uint64(2), np.uint64(3)
_GREEN, _BLUE, _GAIN, _LIGHT, _SIDES = (np.uint64(k) * _PLANE for k in (1, 2, 3, 4, 8))
_PLANES = 8 + SIDES

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
    planes, rest = np.zeros(_PLANES * _SPACING, np.float32), np.zeros(3 * GROUP, np.uint8)
    last, spacing = np.uint64(nodes_of_curves - 1), np.uint64(curves.size // 6)
    gains, gain_slopes = np.empty(log_gain.shape[1], np.float32), np.empty(log_gain.shape[1], np.float32)
    nodes, slopes = np.empty(w * SIDES, np.float32), np.empty(w * SIDES, np.float32)
    starts, gain_starts = _starts(width, w), _starts(width, gains.size)
    cells, gain_cells = _cells(starts, width), _cells(gain_starts, width)
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
        v0, v1, v = _place(y, height, h)
        if shaded:
            g0, g1, g = _place(y, height, log_gain.shape[0])
            for x in range(gains.size):
                gains[x] = log_gain[g0, x] + g * (log_gain[g1, x] - log_gain[g0, x])
            _find_slopes(gains, gain_slopes, 1, gains.size)
        if wrapped and v0 != known:
            known = v0
            _find_lit(around, v0 * w, v1 * w, starts, lit)
        _tell_lit(blocks, np.uint64(y) * np.uint64(lit.size), lit, kinds)
        left = begin
        while left < end:
            left = _run(kinds, _EMPTY, True, left, end)
            right = _run(kinds, _EMPTY, False, left, min(end, left + _PIECE))
            at, count = base + np.uint64(left), np.uint64(right - left)
            if colored:
                whole = _groups(rgb, at, count)
                _correct_bytes(rgb, at, planes, whole, matrix, curves, last, spacing)
                if whole < count:
                    _correct_rest(rgb, at + whole, planes, whole, count - whole, matrix, curves, last, spacing, rest)
            else:
                _load(rgb, planes, at, np.uint64(0), count)
            x = left
            while decontaminate and x < right:
                x = _run(kinds, _EDGE, False, x, right)
                stop = _run(kinds, _EDGE, True, x, right)
                if x < stop:
                    here, to, more = base + np.uint64(x), np.uint64(x - left), np.uint64(stop - x)
                    cell = _Int(cells[x // BLOCK])
                    n0, n1 = _nodes_between(cell, stop, starts, w)
                    _mix_sides(sides, v0 * w, v1 * w, n0, n1, v, per_side, nodes)
                    _find_slopes(nodes, slopes, SIDES, n1 - n0)
                    _stretch(nodes, slopes, n0, SIDES, planes, _SIDES + to, starts, cell, x, stop, width)
                    _load(rgb, planes, here, to, more)
                    _decontaminate(planes, alpha, here, to, more)
                    if colored:
                        _correct_planes(planes, to, more, matrix, curves, last, spacing)
                x = stop
            if shaded:
                cell = _Int(gain_cells[left // BLOCK])
                _stretch(gains, gain_slopes, 0, 1, planes, _GAIN, gain_starts, cell, left, right, width)
                _shade(planes, count)
            x = left
            while wrapped and x < right:
                x = _run(kinds, _FULL, True, x, right)
                stop = _run(kinds, _FULL, False, x, right)
                if x < stop:
                    to, more = np.uint64(x - left), np.uint64(stop - x)
                    cell = _Int(cells[x // BLOCK])
                    n0, n1 = _nodes_between(cell, stop, starts, w)
                    _mix_light(light, around, v0 * w, v1 * w, n0, n1, v, nodes)
                    _find_slopes(nodes, slopes, 4, n1 - n0)
                    _stretch(nodes, slopes, n0, 4, planes, _LIGHT + to, starts, cell, x, stop, width)
                    _wrap(planes, light_wrap, to, more)
                x = stop
            x = left
            while x < right:
                stop = _run(kinds, _EDGE, True, x, right)
                here, to, more = base + np.uint64(x), np.uint64(x - left), np.uint64(stop - x)
                if x < stop and linear_light:
                    _store_linear(planes, alpha, out, here, to, linear, encode, more)
                elif x < stop:
                    _store_blended(planes, alpha, out, here, to, more)
                x = stop
                stop = _run(kinds, _EDGE, False, x, right)
                if x < stop:
                    _store(planes, out, base + np.uint64(x), np.uint64(x - left), np.uint64(stop - x))
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


@_compiled
def _load(rgb: U8, planes: F32, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    start = _U3 * at
    for x in range(count):
        i = start + _U3 * x
        planes[to + x] = np.float32(rgb[i])
        planes[_GREEN + to + x] = np.float32(rgb[i + _U1])
        planes[_BLUE + to + x] = np.float32(rgb[i + _U2])


@_compiled
def _groups(rgb: U8, at: np.uint64, count: np.uint64) -> np.uint64:
    """How many pixels from `at` on to correct in groups: the last group may go on beyond a row, not the picture."""
    group = np.uint64(GROUP)
    whole = (count + group - _U1) // group * group
    return whole if _U3 * (at + whole) <= np.uint64(rgb.size) else count // group * group


@_compiled
def _correct_bytes(
    rgb: U8,
    at: np.uint64,
    planes: F32,
    count: np.uint64,
    matrix: F32,
    curves: F32,
    last: np.uint64,
    spacing: np.uint64,
) -> None:
    """Matrix and curves for pixels of the frame, in groups."""
    for x in range(np.uint64(0), count, np.uint64(GROUP)):
        correct_bytes(rgb, _U3 * (at + x), planes, x, _PLANE, matrix, curves, last, spacing)


@_compiled
def _correct_rest(
    rgb: U8,
    at: np.uint64,
    planes: F32,
    to: np.uint64,
    count: np.uint64,
    matrix: F32,
    curves: F32,
    last: np.uint64,
    spacing: np.uint64,
    rest: U8,
) -> None:
    """The same for fewer pixels than a group has; `rest` is (3 * GROUP,) uint8, scratch."""
    for x in range(_U3 * count):
        rest[x] = rgb[_U3 * at + x]
    correct_bytes(rest, np.uint64(0), planes, to, _PLANE, matrix, curves, last, spacing)


@_compiled
def _correct_planes(
    planes: F32, to: np.uint64, count: np.uint64, matrix: F32, curves: F32, last: np.uint64, spacing: np.uint64
) -> None:
    for x in range(to, to + count, np.uint64(GROUP)):
        correct_planes(planes, x, planes, x, _PLANE, matrix, curves, last, spacing)


@_compiled
def _shade(planes: F32, count: np.uint64) -> None:
    """Times exp of the log-gain, as a 4th power of a short series."""
    for x in range(count):
        s = np.float32(0.25) * planes[_GAIN + x]
        series = _ONE + s * (_ONE + s * (_HALF + s * (np.float32(1 / 6) + s * np.float32(1 / 24))))
        square = series * series
        gain = square * square
        planes[x] = min(planes[x] * gain, _TOP)
        planes[_GREEN + x] = min(planes[_GREEN + x] * gain, _TOP)
        planes[_BLUE + x] = min(planes[_BLUE + x] * gain, _TOP)


@_compiled
def _store(planes: F32, out: U8, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    start = _U3 * at
    for x in range(count):
        i = start + _U3 * x
        out[i] = np.uint8(np.int32(planes[to + x] + _HALF))
        out[i + _U1] = np.uint8(np.int32(planes[_GREEN + to + x] + _HALF))
        out[i + _U2] = np.uint8(np.int32(planes[_BLUE + to + x] + _HALF))


@_compiled
def _store_blended(planes: F32, alpha: U8, out: U8, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    """Blend on encoded values; exact where the opacity is 0 or 1."""
    start = _U3 * at
    for x in range(count):
        i = start + _U3 * x
        a = np.float32(alpha[at + x]) * _PER_LEVEL
        rest = _ONE - a
        red, green, blue = a * planes[to + x], a * planes[_GREEN + to + x], a * planes[_BLUE + to + x]
        out[i] = np.uint8(np.int32(red + rest * np.float32(out[i]) + _HALF))
        out[i + _U1] = np.uint8(np.int32(green + rest * np.float32(out[i + _U1]) + _HALF))
        out[i + _U2] = np.uint8(np.int32(blue + rest * np.float32(out[i + _U2]) + _HALF))


@_compiled
def _decontaminate(planes: F32, alpha: U8, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    """Step 1 in `reference`, in mixed pixels."""
    for k in range(count):
        a = np.float32(alpha[at + k]) * _PER_LEVEL
        x = to + k
        s = _SIDES + x
        near = _ONE / (planes[s + _U3 * _PLANE] + _FEW)
        far = _ONE / (planes[s + np.uint64(7) * _PLANE] + _FEW)
        r, g, b = planes[x], planes[_GREEN + x], planes[_BLUE + x]
        red = _cleaned(r, a, planes[s], near, planes[s + np.uint64(4) * _PLANE], far)
        green = _cleaned(g, a, planes[s + _PLANE], near, planes[s + np.uint64(5) * _PLANE], far)
        blue = _cleaned(b, a, planes[s + _U2 * _PLANE], near, planes[s + np.uint64(6) * _PLANE], far)
        planes[x] = red if a < _ONE else r
        planes[_GREEN + x] = green if a < _ONE else g
        planes[_BLUE + x] = blue if a < _ONE else b


@_compiled
def _cleaned(
    value: np.float32, a: np.float32, near: np.float32, per_near: np.float32, far: np.float32, per_far: np.float32
) -> np.float32:
    """A channel of a mixed pixel without the room, from the weighted sums of either side."""
    person = (near + _FEW * value) * per_near
    room = (far + _FEW * value) * per_far
    return np.float32(min(max(person + a * (value - a * person - (_ONE - a) * room), _ZERO), _TOP))


@_compiled
def _wrap(planes: F32, strength: np.float32, to: np.uint64, count: np.uint64) -> None:
    """Step 3 in `reference`."""
    for k in range(count):
        x = to + k
        weight = strength * planes[_LIGHT + _U3 * _PLANE + x]
        r, g, b = planes[x], planes[_GREEN + x], planes[_BLUE + x]
        planes[x] = r + weight * max(planes[_LIGHT + x] - r, _ZERO)
        planes[_GREEN + x] = g + weight * max(planes[_LIGHT + _PLANE + x] - g, _ZERO)
        planes[_BLUE + x] = b + weight * max(planes[_LIGHT + _U2 * _PLANE + x] - b, _ZERO)


@_compiled
def _store_linear(
    planes: F32,
    alpha: U8,
    out: U8,
    at: np.uint64,
    to: np.uint64,
    linear: F32,
    encode: F32,
    count: np.uint64,
) -> None:
    """Blend in linear light."""
    for k in range(count):
        level = alpha[at + k]
        a = np.float32(level) * _PER_LEVEL
        for c in range(np.uint64(3)):
            i = _U3 * (at + k) + c
            value = planes[c * _PLANE + to + k]
            if level == 0:
                continue
            if level == 255:
                out[i] = np.uint8(np.int32(value + _HALF))
            else:
                mixed = _mixed_light(value, a, linear[out[i]], linear, encode)
                out[i] = np.uint8(np.int32(mixed + _HALF))


@_compiled
def _mixed_light(value: np.float32, a: np.float32, scene: np.float32, linear: F32, encode: F32) -> np.float32:
    first = min(int(value), 254)
    light = linear[first] + (value - np.float32(first)) * (linear[first + 1] - linear[first])
    return np.float32(encode[int(np.sqrt(a * light + (_ONE - a) * scene) * _ENCODE_TOP + _HALF)])


@_compiled
def _place(index: int, length: int, small: int) -> tuple[int, int, np.float32]:
    """Where pixel `index` of `length` falls among `small` nodes: two neighbours and the weight of the second."""
    position = (np.float32(index) + _HALF) * np.float32(small) / np.float32(length) - _HALF
    position = min(max(position, _ZERO), np.float32(small - 1))
    first = int(position)
    second = min(first + 1, small - 1)
    return first, second, position - np.float32(first)


@_compiled
def _starts(width: int, columns: int) -> I32:
    """First pixel of each stretch of a row of `width` pixels that lies between the same two of `columns` nodes.

    Stretch k lies between nodes k - 1 and k; the first and the last lie outside all nodes. (columns + 2,) int32.
    """
    starts = np.empty(columns + 2, np.int32)
    scale = np.float32(columns) / np.float32(width)
    for k in range(columns + 1):
        starts[k] = max(0, min(width, int(np.ceil((np.float32(k) - _HALF) / scale - _HALF))))
    starts[0], starts[columns + 1] = 0, width
    return starts


@_compiled
def _cells(starts: I32, width: int) -> I32:
    """The stretch of `starts` that the first pixel of each block of a row lies in."""
    cells = np.empty((width + BLOCK - 1) // BLOCK, np.int32)
    cell = 0
    for block in range(cells.size):
        while starts[cell + 1] <= block * BLOCK:
            cell += 1
        cells[block] = cell
    return cells


@_compiled
def _nodes_between(cell: int, right: int, starts: I32, columns: int) -> tuple[int, int]:
    """The nodes that pixels from the stretch `cell` to the pixel `right` lie between: the first, one past the last."""
    last = cell
    while starts[last + 1] < right:
        last += 1
    return max(cell - 1, 0), min(last, columns - 1) + 1


@_compiled
def _find_lit(around: F32, upper: int, lower: int, starts: I32, lit: U8) -> None:
    """Which blocks of a row between two rows of nodes the scene's light reaches."""
    columns = starts.size - 2
    up, low = np.uint64(4 * upper + 3), np.uint64(4 * lower + 3)
    for block in range(lit.size):
        lit[block] = 0
    for k in range(np.uint64(columns)):
        if around[up + np.uint64(4) * k] > _ZERO or around[low + np.uint64(4) * k] > _ZERO:
            # a node acts on the pixels on either side of it, as far as the next one
            for block in range(starts[k] // BLOCK, (max(1, starts[k + np.uint64(2)]) - 1) // BLOCK + 1):
                lit[np.uint64(block)] = 1


@_compiled
def _mix_sides(
    sides: U32, upper: int, lower: int, first: int, last: int, v: np.float32, scale: np.float32, nodes: F32
) -> None:
    """Nodes `first` to `last` of a row between two rows of the maps."""
    up, low = np.uint64(SIDES * (upper + first)), np.uint64(SIDES * (lower + first))
    b = v * scale
    a = scale - b
    for x in range(np.uint64(SIDES * (last - first))):
        nodes[x] = a * np.float32(sides[up + x]) + b * np.float32(sides[low + x])


@_compiled
def _mix_light(
    light: F32, around: F32, upper: int, lower: int, first: int, last: int, v: np.float32, nodes: F32
) -> None:
    """The same for the scene's light, and with it 1 minus the blurred matte."""
    up, low = np.uint64(4 * (upper + first)), np.uint64(4 * (lower + first))
    rest = _ONE - v
    for x in range(np.uint64(4 * (last - first))):
        nodes[x] = rest * (light[up + x] + around[up + x]) + v * (light[low + x] + around[low + x])


@_compiled
def _find_slopes(nodes: F32, slopes: F32, channels: int, count: int) -> None:
    """From each of `count` nodes to the next one; none after the last."""
    step, last = np.uint64(channels), np.uint64(channels * (count - 1))
    for x in range(last):
        slopes[x] = nodes[x + step] - nodes[x]
    for x in range(step):
        slopes[last + x] = _ZERO


@_compiled
def _stretch(
    nodes: F32,
    slopes: F32,
    first: int,
    channels: int,
    planes: F32,
    plane: np.uint64,
    starts: I32,
    cell: int,
    left: int,
    right: int,
    width: int,
) -> None:
    """A row of nodes from `first` on, `channels` values each, as planes: bilinear, the ends repeated.

    Writes `LANES` pixels at a time, also beyond a stretch, where the next one writes anew.
    """
    scale = np.float32(starts.size - 2) / np.float32(width)
    x = left
    while x < right:
        stop = min(right, _Int(starts[cell + 1]))
        i = np.uint64(channels * (max(cell - 1, 0) - first))
        step = scale if cell > 0 else _ZERO
        t = (np.float32(x) + _HALF) * scale + _HALF - np.float32(cell) if cell > 0 else _ZERO
        to = plane + np.uint64(x - left)
        for _ in range(x, stop, LANES):
            for c in range(np.uint64(channels)):
                ramp(planes, to + c * _PLANE, nodes[i + c], slopes[i + c], t, step)
            to += np.uint64(LANES)
            t += step * np.float32(LANES)
        x = stop
        cell += 1
