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
_ENCODE_TOP = np.float32(ENCODE_STEPS - 1)


@_compiled
def compose_band(
    rgb: U8,
    alpha: U8,
    background: U8,
    out: U8,
    top: int,
    bottom: int,
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
    red, green, blue = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    opacity, gains = np.empty(width, np.float32), np.empty(width, np.float32)
    steps = np.empty((3, width), np.int32)
    nodes = np.empty(log_gain.shape[1], np.float32)
    for y in range(top, bottom):
        left, right = _span(alpha[y])
        out[y, : 3 * left] = background[y, : 3 * left]
        out[y, 3 * right :] = background[y, 3 * right :]
        if left == right:
            continue
        count = right - left
        scene = background[y, 3 * left : 3 * right]
        _load(rgb[y, 3 * left : 3 * right], alpha[y, left:right], red, green, blue, opacity, count)
        if decontaminate:
            v0, v1, v = _place(y, height, person.shape[0])
            near, far = (person[v0], person[v1]), (room[v0], room[v1])
            _decontaminate(red, green, blue, opacity, near, far, v, left, width, count)
        _mix(red, green, blue, matrix, steps[0], steps[1], steps[2], count)
        _look_up(red, curves[0], steps[0], count)
        _look_up(green, curves[1], steps[1], count)
        _look_up(blue, curves[2], steps[2], count)
        if shaded:
            v0, v1, v = _place(y, height, log_gain.shape[0])
            for i in range(nodes.shape[0]):
                nodes[i] = log_gain[v0, i] + v * (log_gain[v1, i] - log_gain[v0, i])
            _spread_gains(nodes, gains, left, width, count)
            _shade(red, green, blue, gains, count)
        if light_wrap > _ZERO:
            v0, v1, v = _place(y, height, wrap.shape[0])
            _wrap(red, green, blue, wrap[v0], wrap[v1], v, light_wrap, left, width, count)
        if linear_light:
            _blend_linear(red, green, blue, opacity, scene, linear, encode, count)
        _store(red, green, blue, opacity, scene, out[y, 3 * left : 3 * right], count)


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
    person: tuple[F32, F32],
    room: tuple[F32, F32],
    v: np.float32,
    left: int,
    width: int,
    count: int,
) -> None:
    """Step 1 in `reference`, in mixed pixels only; of `person` and `room` come the rows around this one."""
    for x in range(count):
        a = opacity[x]
        if a <= _ZERO or a >= _ONE:
            continue
        first, second, u = _place(left + x, width, person[0].shape[0])
        near_weight = _sample(person[0], person[1], v, first, second, u, 3) + _FEW
        far_weight = _sample(room[0], room[1], v, first, second, u, 3) + _FEW
        for channel, values in enumerate((red, green, blue)):
            value = values[x]
            near = (_sample(person[0], person[1], v, first, second, u, channel) + _FEW * value) / near_weight
            far = (_sample(room[0], room[1], v, first, second, u, channel) + _FEW * value) / far_weight
            values[x] = min(max(near + a * (value - a * near - (_ONE - a) * far), _ZERO), _TOP)


@_compiled
def _wrap(
    red: F32,
    green: F32,
    blue: F32,
    upper: F32,
    lower: F32,
    v: np.float32,
    strength: np.float32,
    left: int,
    width: int,
    count: int,
) -> None:
    """Step 3 in `reference`; whole cells of the map whose weight is 0 are passed over."""
    columns = upper.shape[0]
    x = 0
    while x < count:
        first, second, u, step, end = _cell(left, x, width, columns, count)
        weight0 = strength * (upper[first, 3] + v * (lower[first, 3] - upper[first, 3]))
        weight1 = strength * (upper[second, 3] + v * (lower[second, 3] - upper[second, 3]))
        if weight0 > _ZERO or weight1 > _ZERO:
            for channel, values in enumerate((red, green, blue)):
                light0 = upper[first, channel] + v * (lower[first, channel] - upper[first, channel])
                light1 = upper[second, channel] + v * (lower[second, channel] - upper[second, channel])
                piece = values[x:end]
                for i in range(end - x):
                    t = u + step * np.float32(np.int32(i))
                    light = light0 + t * (light1 - light0)
                    piece[i] += (weight0 + t * (weight1 - weight0)) * max(light - piece[i], _ZERO)
        x = end


@_compiled
def _blend_linear(
    red: F32, green: F32, blue: F32, opacity: F32, background: U8, linear: F32, encode: F32, count: int
) -> None:
    """Blend mixed pixels in linear light, and leave them opaque for `_store`."""
    for x in range(count):
        a = opacity[x]
        if a <= _ZERO or a >= _ONE:
            continue
        for channel, values in enumerate((red, green, blue)):
            value = values[x]
            first = min(int(value), 254)
            light = linear[first] + (value - np.float32(first)) * (linear[first + 1] - linear[first])
            mixed = a * light + (_ONE - a) * linear[background[3 * x + channel]]
            values[x] = encode[int(np.sqrt(mixed) * _ENCODE_TOP + _HALF)]
        opacity[x] = _ONE


@_compiled
def _span(row: U8) -> tuple[int, int]:
    """First pixel of a row that is not 0, and one past the last; (0, 0) when there is none."""
    width = row.shape[0]
    left = 0
    while left < width and row[left] == 0:
        left += 1
    if left == width:
        return 0, 0
    right = width
    while row[right - 1] == 0:
        right -= 1
    return left, right


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


@_compiled
def _sample(upper: F32, lower: F32, v: np.float32, first: int, second: int, u: np.float32, channel: int) -> np.float32:
    above = upper[first, channel] + u * (upper[second, channel] - upper[first, channel])
    below = lower[first, channel] + u * (lower[second, channel] - lower[first, channel])
    return np.float32(above + v * (below - above))
