"""The one hot loop: correct, wrap and blend every pixel of a band of rows, in one pass over memory.

Compiled by numba, without its own threads: the caller gives each thread a band of rows. Each row is taken apart into
planes of float32 that stay in the cache; the passes over them are plain loops that the compiler turns into SIMD, and
only the few mixed pixels at the edge take a branch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled

__all__ = ["ENCODE_STEPS", "FEW", "LUT_STEPS", "compose_band"]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

LUT_STEPS = 4096
"""Entries of a tone curve: at the steepest curve allowed, 0 to 1 between two nodes of 32, a step is one 8-bit level."""

ENCODE_STEPS = 4096
"""Entries of the table from the square root of linear light back to encoded values."""

FEW = 1e-3
"""Weight of a pixel's own colour in the mean colours of either side: what remains where neither is near."""

# fastmath: nothing here makes a NaN, as what goes in is 8-bit, or finite and bounded.
_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")

_ONE = np.float32(1)
_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_TOP = np.float32(255)
_FEW = np.float32(FEW)
_LUT_TOP = np.float32(LUT_STEPS - 1)
_BLOCK = 16
_STRIDE = 32
_PIECE = 512
_STRIDE = 32
_PIECE = 512
_ENCODE_TOP = np.float32(ENCODE_STEPS - 1)


@_compiled
def compose_band(
    rgb: U8,
    alpha: U8,
    background: U8,
    out: U8,
    top: int,
    bottom: int,
    colored: bool,
    matrix: F32,
    curves: F32,
    log_gain: F32,
    shaded: bool,
    person: F32,
    room: F32,
    decontaminate: bool,
    wrap: F32,
    light_wrap: np.float32,
    linear: F32,
    encode: F32,
    linear_light: bool,
) -> None:
    """Fill rows `top` to `bottom` of `out`.

    Args:
        rgb: (H, 3 W) uint8, the frame, channels interleaved; a flat row lets the compiler use SIMD loads.
        alpha: (H, W) uint8, its matte.
        background: (H, 3 W) uint8, the scene.
        out: (H, 3 W) uint8, written.
        top: First row.
        bottom: One past the last row.
        colored: Whether `matrix` and `curves` are used.
        matrix: (3, 3) float32, from 0..255 to positions in `curves`.
        curves: (3, LUT_STEPS) float32, values 0..255.
        log_gain: (h, w) float32.
        shaded: Whether `log_gain` is used.
        person: See `EdgeMaps`.
        room: See `EdgeMaps`.
        decontaminate: Whether `person` and `room` are used.
        wrap: See `EdgeMaps`.
        light_wrap: Strength of the wrap; 0 leaves `wrap` unused.
        linear: (256,) float32, linear light 0..1 of each 8-bit value.
        encode: (ENCODE_STEPS,) float32, encoded value 0..255 by the square root of linear light.
        linear_light: Blend in linear light, or on encoded values.
    """
    height, width = alpha.shape
    planes = np.empty((5, _PIECE), np.float32)
    red, green, blue, opacity, gains = planes[0], planes[1], planes[2], planes[3], planes[4]
    steps = np.empty((3, _PIECE), np.int32)
    nodes = np.empty(log_gain.shape[1], np.float32)
    near, far, light = (
        np.empty(person[0].size, np.float32),
        np.empty(room[0].size, np.float32),
        np.empty(wrap[0].size, np.float32),
    )
    starts = _starts(width, wrap.shape[1])
    for y in range(top, bottom):
        begin, end = _span(alpha[y])
        _copy(background[y, : 3 * begin], out[y, : 3 * begin])
        _copy(background[y, 3 * end :], out[y, 3 * end :])
        if begin == end:
            continue
        if decontaminate:
            v0, v1, v = _place(y, height, person.shape[0])
            _between(person[v0].reshape(-1), person[v1].reshape(-1), v, near)
            _between(room[v0].reshape(-1), room[v1].reshape(-1), v, far)
        if shaded:
            v0, v1, v = _place(y, height, log_gain.shape[0])
            _between(log_gain[v0], log_gain[v1], v, nodes)
        if light_wrap > _ZERO:
            v0, v1, v = _place(y, height, wrap.shape[0])
            _between(wrap[v0].reshape(-1), wrap[v1].reshape(-1), v, light)
        for left in range(begin, end, _PIECE):
            right = min(left + _PIECE, end)
            count = right - left
            scene = background[y, 3 * left : 3 * right]
            _load(rgb[y, 3 * left : 3 * right], alpha[y, left:right], red, green, blue, opacity, count)
            if decontaminate:
                _decontaminate(red, green, blue, opacity, alpha[y, left:right], near, far, left, width, count)
            if colored:
                _mix(red, green, blue, matrix, steps[0], steps[1], steps[2], count)
                _look_up(red, curves[0], steps[0], count)
                _look_up(green, curves[1], steps[1], count)
                _look_up(blue, curves[2], steps[2], count)
            if shaded:
                _spread_gains(nodes, gains, left, width, count)
                _shade(red, green, blue, gains, count)
            if light_wrap > _ZERO:
                _wrap(red, green, blue, light, starts, light_wrap, left, width, count)
            if linear_light:
                _blend_linear(red, green, blue, opacity, scene, linear, encode, count)
            _store(red, green, blue, opacity, scene, out[y, 3 * left : 3 * right], count)


@_compiled
def _copy(source: U8, target: U8) -> None:
    """Counting from 0: a loop that starts elsewhere is not turned into SIMD, and takes 30 times as long."""
    for x in range(source.shape[0]):
        target[x] = source[x]


@_compiled
def _between(upper: F32, lower: F32, v: np.float32, to: F32) -> None:
    for x in range(to.shape[0]):
        to[x] = upper[x] + v * (lower[x] - upper[x])


@_compiled
def _load(rgb: U8, alpha: U8, red: F32, green: F32, blue: F32, opacity: F32, count: int) -> None:
    for x in range(count):
        red[x] = np.float32(rgb[3 * x])
        green[x] = np.float32(rgb[3 * x + 1])
        blue[x] = np.float32(rgb[3 * x + 2])
        opacity[x] = np.float32(alpha[x]) * np.float32(1 / 255)


@_compiled
def _mix(red: F32, green: F32, blue: F32, matrix: F32, to_red: I32, to_green: I32, to_blue: I32, count: int) -> None:
    """The matrix, giving positions in the curves' tables."""
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    for x in range(count):
        r, g, b = red[x], green[x], blue[x]
        to_red[x] = np.int32(min(max(m00 * r + m01 * g + m02 * b, _ZERO), _LUT_TOP) + _HALF)
        to_green[x] = np.int32(min(max(m10 * r + m11 * g + m12 * b, _ZERO), _LUT_TOP) + _HALF)
        to_blue[x] = np.int32(min(max(m20 * r + m21 * g + m22 * b, _ZERO), _LUT_TOP) + _HALF)


@_compiled
def _look_up(values: F32, curve: F32, steps: I32, count: int) -> None:
    for x in range(count):
        values[x] = curve[np.uint32(steps[x])]


@_compiled
def _shade(red: F32, green: F32, blue: F32, gains: F32, count: int) -> None:
    for x in range(count):
        gain = gains[x]
        red[x] = min(red[x] * gain, _TOP)
        green[x] = min(green[x] * gain, _TOP)
        blue[x] = min(blue[x] * gain, _TOP)


@_compiled
def _store(red: F32, green: F32, blue: F32, opacity: F32, background: U8, out: U8, count: int) -> None:
    """Blend on encoded values; exact where the opacity is 0 or 1."""
    for x in range(count):
        a = opacity[x]
        rest = _ONE - a
        out[3 * x] = np.uint8(np.int32(a * red[x] + rest * np.float32(background[3 * x]) + _HALF))
        out[3 * x + 1] = np.uint8(np.int32(a * green[x] + rest * np.float32(background[3 * x + 1]) + _HALF))
        out[3 * x + 2] = np.uint8(np.int32(a * blue[x] + rest * np.float32(background[3 * x + 2]) + _HALF))


@_compiled
def _decontaminate(
    red: F32,
    green: F32,
    blue: F32,
    opacity: F32,
    alpha: U8,
    person: F32,
    room: F32,
    left: int,
    width: int,
    count: int,
) -> None:
    """Step 1 in `reference`, in mixed pixels only.

    `alpha` is that of the pixels, `person` and `room` are the maps at this row, four values for each column.
    """
    last = person.shape[0] // 4 - 1
    scale = np.float32(last + 1) / np.float32(width)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        if stop - start == _BLOCK and not _any_mixed(alpha, start):
            continue
        for x in range(start, stop):
            a = opacity[x]
            if a <= _ZERO or a >= _ONE:
                continue
            position = min(max((np.float32(left + x) + _HALF) * scale - _HALF, _ZERO), np.float32(last))
            first = int(position)
            t = position - np.float32(first)
            i, j = np.uint32(4 * first), np.uint32(4 * min(first + 1, last))
            near = _ONE / (person[i + 3] + t * (person[j + 3] - person[i + 3]) + _FEW)
            far = _ONE / (room[i + 3] + t * (room[j + 3] - room[i + 3]) + _FEW)
            red[x] = _cleaned(red[x], a, t, person[i], person[j], near, room[i], room[j], far)
            green[x] = _cleaned(green[x], a, t, person[i + 1], person[j + 1], near, room[i + 1], room[j + 1], far)
            blue[x] = _cleaned(blue[x], a, t, person[i + 2], person[j + 2], near, room[i + 2], room[j + 2], far)


@_compiled
def _cleaned(
    value: np.float32,
    a: np.float32,
    t: np.float32,
    near0: np.float32,
    near1: np.float32,
    per_near: np.float32,
    far0: np.float32,
    far1: np.float32,
    per_far: np.float32,
) -> np.float32:
    """A channel of a mixed pixel without the room, from the weighted sums of either side at two columns."""
    person = (near0 + t * (near1 - near0) + _FEW * value) * per_near
    room = (far0 + t * (far1 - far0) + _FEW * value) * per_far
    return np.float32(min(max(person + a * (value - a * person - (_ONE - a) * room), _ZERO), _TOP))


# No slices and no tuples of arrays in the loop over cells: each costs numba two atomic operations.
@_compiled
def _wrap(
    red: F32,
    green: F32,
    blue: F32,
    light: F32,
    starts: I32,
    strength: np.float32,
    left: int,
    width: int,
    count: int,
) -> None:
    """Step 3 in `reference`; whole cells of the map whose weight is 0 are passed over.

    `light` is the map at this row, four values for each column, and `starts` says where its cells begin.
    """
    columns = light.shape[0] // 4
    scale = np.float32(columns) / np.float32(width)
    cell = max(0, min(columns, int((np.float32(left) + _HALF) * scale - _HALF)))
    while starts[cell + 1] <= left:
        cell += 1
    x = 0
    while x < count:
        i, j = np.uint32(4 * max(cell - 1, 0)), np.uint32(4 * min(cell, columns - 1))
        end = min(count, starts[cell + 1] - left)
        if light[i + 3] > _ZERO or light[j + 3] > _ZERO:
            t = (np.float32(left + x) + _HALF) * scale + _HALF - np.float32(cell)
            weight, more = strength * light[i + 3], strength * (light[j + 3] - light[i + 3])
            r, g, b = light[i], light[i + 1], light[i + 2]
            dr, dg, db = light[j] - r, light[j + 1] - g, light[j + 2] - b
            for k in range(np.uint32(x), np.uint32(end)):
                w = weight + t * more
                red[k] += w * max(r + t * dr - red[k], _ZERO)
                green[k] += w * max(g + t * dg - green[k], _ZERO)
                blue[k] += w * max(b + t * db - blue[k], _ZERO)
                t += scale
        x = end
        cell += 1


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
def _blend_linear(
    red: F32, green: F32, blue: F32, opacity: F32, background: U8, linear: F32, encode: F32, count: int
) -> None:
    """Blend mixed pixels in linear light, and leave them opaque for `_store`."""
    for x in range(count):
        a = opacity[x]
        if a <= _ZERO or a >= _ONE:
            continue
        red[x] = _mixed_light(red[x], a, linear[background[3 * x]], linear, encode)
        green[x] = _mixed_light(green[x], a, linear[background[3 * x + 1]], linear, encode)
        blue[x] = _mixed_light(blue[x], a, linear[background[3 * x + 2]], linear, encode)
        opacity[x] = _ONE


@_compiled
def _mixed_light(value: np.float32, a: np.float32, scene: np.float32, linear: F32, encode: F32) -> np.float32:
    first = min(int(value), 254)
    light = linear[first] + (value - np.float32(first)) * (linear[first + 1] - linear[first])
    return np.float32(encode[int(np.sqrt(a * light + (_ONE - a) * scene) * _ENCODE_TOP + _HALF)])


@_compiled
def _span(row: U8) -> tuple[int, int]:
    """First pixel of a row that is not 0, and one past the last; (0, 0) when there is none."""
    width = row.shape[0]
    left = 0
    while left + _STRIDE <= width and not _any(row, left):
        left += _STRIDE
    while left < width and row[left] == 0:
        left += 1
    if left == width:
        return 0, 0
    right = width
    while right - _STRIDE >= left and not _any(row, right - _STRIDE):
        right -= _STRIDE
    while row[right - 1] == 0:
        right -= 1
    return left, right


@_compiled
def _any(row: U8, start: int) -> bool:
    """Whether one of the `_STRIDE` pixels from `start` on is not 0; without a branch, so that it becomes SIMD."""
    found = np.uint8(0)
    for x in range(np.uint32(_STRIDE)):
        found |= row[np.uint32(start) + x]
    return bool(found != 0)


@_compiled
def _any_mixed(row: U8, start: int) -> bool:
    """Whether one of the `_BLOCK` pixels from `start` on is neither 0 nor 255; without a branch, as above."""
    found = np.uint8(0)
    for x in range(np.uint32(_BLOCK)):
        # only 0 and 255 become 0 or 1
        found |= np.uint8(row[np.uint32(start) + x] + np.uint8(1)) & np.uint8(254)
    return bool(found != 0)


@_compiled
def _spread_gains(nodes: F32, gains: F32, left: int, width: int, count: int) -> None:
    """The factor for each pixel of a row: exp of the interpolated log-gain, as a 4th power of a short series."""
    columns = nodes.shape[0]
    x = 0
    while x < count:
        first, second, u, step, end = _cell(left, x, width, columns, count)
        t = np.float32(0.25) * (nodes[first] + u * (nodes[second] - nodes[first]))
        slope = np.float32(0.25) * step * (nodes[second] - nodes[first])
        piece = gains[x:end]
        for i in range(end - x):
            s = t + slope * np.float32(np.int32(i))
            series = _ONE + s * (_ONE + s * (_HALF + s * (np.float32(1 / 6) + s * np.float32(1 / 24))))
            square = series * series
            piece[i] = square * square
        x = end


@_compiled
def _cell(left: int, x: int, width: int, columns: int, count: int) -> tuple[int, int, np.float32, np.float32, int]:
    """The stretch of a row, from pixel `left + x` on, that lies between the same two nodes of a small map.

    Returns:
        The two nodes, the weight of the second at `x`, how much it grows with each pixel, and the end of the stretch.
    """
    scale = np.float32(columns) / np.float32(width)
    position = (np.float32(left + x) + _HALF) * scale - _HALF
    if position < _ZERO:
        first, second, u, step, border = 0, 0, _ZERO, _ZERO, _HALF
    elif position >= np.float32(columns - 1):
        return columns - 1, columns - 1, _ZERO, _ZERO, count
    else:
        first = int(position)
        second, u, step, border = first + 1, position - np.float32(first), scale, np.float32(first + 1) + _HALF
    end = int(np.ceil(border / scale - _HALF)) - left
    return first, second, u, step, min(count, max(x + 1, end))


@_compiled
def _place(index: int, length: int, small: int) -> tuple[int, int, np.float32]:
    """Where pixel `index` of `length` falls among `small` nodes: two neighbours and the weight of the second."""
    position = (np.float32(index) + _HALF) * np.float32(small) / np.float32(length) - _HALF
    position = min(max(position, _ZERO), np.float32(small - 1))
    first = int(position)
    second = min(first + 1, small - 1)
    return first, second, position - np.float32(first)
