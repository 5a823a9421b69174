"""The passes of the hot loop over a stretch of pixels, which lies in planes of float32 that stay in the cache.

Plain loops without a branch, that the compiler turns into SIMD. For that all planes are in one array, `PLANE` values
from one another, as no pass may write where it reads; places are unsigned, as signed ones may count from the end. In
all of them `planes` is that array, (PLANES * SPACING,) float32; `at` the first pixel in the flat pictures, of which
`rgb`, (H * W * 3,) uint8, is the frame, `alpha`, (H * W,), its matte, and `out` what is written; `to` the first pixel
in the planes; and `count` how many there are. For `matrix`, `curves`, `last` and `spacing` see
`livecomp.composite.curves`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled
from livecomp.composite.curves import GROUP, correct_bytes, correct_planes
from livecomp.composite.lanes import LANES
from livecomp.composite.surround import SIDES

__all__ = [
    "ENCODE_STEPS",
    "FEW",
    "GAIN",
    "LIGHT",
    "NEAR_AND_FAR",
    "PIECE",
    "PLANE",
    "PLANES",
    "SPACING",
    "correct_again",
    "correct_frame",
    "correct_rest",
    "decontaminate_edge",
    "load",
    "shade",
    "store",
    "store_blended",
    "store_linear",
    "whole_groups",
    "wrap_light",
]

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

ENCODE_STEPS = 4096
"""Entries of the table from the square root of linear light back to encoded values."""

FEW = 1e-3
"""Weight of a pixel's own colour in the mean colours of either side: what remains where neither is near."""

PIECE = 512
"""Pixels that are worked on at a time, at most."""

SPACING = PIECE + 2 * LANES
"""Pixels from one plane to the next: a stretch, and what `livecomp.composite.nodes.stretch` writes beyond it."""

PLANES = 8 + SIDES
"""Red, green, blue, gain; the light's red, green, blue and weight; and the two sides of the edge."""

PLANE = np.uint64(SPACING)
GAIN, LIGHT, NEAR_AND_FAR = (np.uint64(k) * PLANE for k in (3, 4, 8))

# fastmath: nothing here makes a NaN, as what goes in is 8-bit, or finite and bounded.
_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")

_ONE = np.float32(1)
_HALF = np.float32(0.5)
_ZERO = np.float32(0)
_TOP = np.float32(255)
_PER_LEVEL = np.float32(1 / 255)
_FEW = np.float32(FEW)
_ENCODE_TOP = np.float32(ENCODE_STEPS - 1)
_U1, _U2, _U3 = np.uint64(1), np.uint64(2), np.uint64(3)
_GREEN, _BLUE = PLANE, _U2 * PLANE


@_compiled
def load(rgb: U8, planes: F32, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    """Pixels of the frame as they are."""
    start = _U3 * at
    for x in range(count):
        i = start + _U3 * x
        planes[to + x] = np.float32(rgb[i])
        planes[_GREEN + to + x] = np.float32(rgb[i + _U1])
        planes[_BLUE + to + x] = np.float32(rgb[i + _U2])


@_compiled
def whole_groups(rgb: U8, at: np.uint64, count: np.uint64) -> np.uint64:
    """How many pixels from `at` on to correct in groups: the last group may go on beyond a row, not the picture."""
    group = np.uint64(GROUP)
    whole = (count + group - _U1) // group * group
    return whole if _U3 * (at + whole) <= np.uint64(rgb.size) else count // group * group


@_compiled
def correct_frame(
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
        correct_bytes(rgb, _U3 * (at + x), planes, x, PLANE, matrix, curves, last, spacing)


@_compiled
def correct_rest(
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
    correct_bytes(rest, np.uint64(0), planes, to, PLANE, matrix, curves, last, spacing)


@_compiled
def correct_again(
    planes: F32, to: np.uint64, count: np.uint64, matrix: F32, curves: F32, last: np.uint64, spacing: np.uint64
) -> None:
    """Matrix and curves for what lies in the planes."""
    for x in range(to, to + count, np.uint64(GROUP)):
        correct_planes(planes, x, planes, x, PLANE, matrix, curves, last, spacing)


@_compiled
def shade(planes: F32, count: np.uint64) -> None:
    """Times exp of the log-gain, as a 4th power of a short series."""
    for x in range(count):
        s = np.float32(0.25) * planes[GAIN + x]
        series = _ONE + s * (_ONE + s * (_HALF + s * (np.float32(1 / 6) + s * np.float32(1 / 24))))
        square = series * series
        gain = square * square
        planes[x] = min(planes[x] * gain, _TOP)
        planes[_GREEN + x] = min(planes[_GREEN + x] * gain, _TOP)
        planes[_BLUE + x] = min(planes[_BLUE + x] * gain, _TOP)


@_compiled
def store(planes: F32, out: U8, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    """Pixels of the person alone."""
    start = _U3 * at
    for x in range(count):
        i = start + _U3 * x
        out[i] = np.uint8(np.int32(planes[to + x] + _HALF))
        out[i + _U1] = np.uint8(np.int32(planes[_GREEN + to + x] + _HALF))
        out[i + _U2] = np.uint8(np.int32(planes[_BLUE + to + x] + _HALF))


@_compiled
def store_blended(planes: F32, alpha: U8, out: U8, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
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
def decontaminate_edge(planes: F32, alpha: U8, at: np.uint64, to: np.uint64, count: np.uint64) -> None:
    """Step 1 in `reference`, in mixed pixels."""
    for k in range(count):
        a = np.float32(alpha[at + k]) * _PER_LEVEL
        x = to + k
        s = NEAR_AND_FAR + x
        near = _ONE / (planes[s + _U3 * PLANE] + _FEW)
        far = _ONE / (planes[s + np.uint64(7) * PLANE] + _FEW)
        r, g, b = planes[x], planes[_GREEN + x], planes[_BLUE + x]
        red = _cleaned(r, a, planes[s], near, planes[s + np.uint64(4) * PLANE], far)
        green = _cleaned(g, a, planes[s + PLANE], near, planes[s + np.uint64(5) * PLANE], far)
        blue = _cleaned(b, a, planes[s + _U2 * PLANE], near, planes[s + np.uint64(6) * PLANE], far)
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
def wrap_light(planes: F32, strength: np.float32, to: np.uint64, count: np.uint64) -> None:
    """Step 3 in `reference`."""
    for k in range(count):
        x = to + k
        weight = strength * planes[LIGHT + _U3 * PLANE + x]
        r, g, b = planes[x], planes[_GREEN + x], planes[_BLUE + x]
        planes[x] = r + weight * max(planes[LIGHT + x] - r, _ZERO)
        planes[_GREEN + x] = g + weight * max(planes[LIGHT + PLANE + x] - g, _ZERO)
        planes[_BLUE + x] = b + weight * max(planes[LIGHT + _U2 * PLANE + x] - b, _ZERO)


@_compiled
def store_linear(
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
            value = planes[c * PLANE + to + k]
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
