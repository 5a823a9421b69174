"""The loops of the noise filter, compiled by numba; one thread. Pictures are flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled

__all__ = ["BLOCK", "NOBODY", "average", "survey"]

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

BLOCK = 64
"""Values that share a start in the table of offsets; a loop of that length becomes SIMD."""

NOBODY = np.int16(-1)
"""Stands for the value of a place where the person is not."""

# fastmath: nothing here makes a NaN, as what goes in is 8-bit, or finite and bounded.
_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")

_Int: Any = np.int64
_ZERO, _ONE, _TOP = np.float32(0), np.float32(1), np.float32(255)
_SURE = np.uint8(250)


@_compiled
def average(
    rgb: U8,
    past: U8,
    out: U8,
    row: np.uint64,
    box: tuple[int, int, int, int],
    most: np.float32,
    still: np.float32,
    moved: np.float32,
    calm: np.float32,
    lively: np.float32,
    offsets: F32,
    shift: np.uint64,
    block: np.uint64,
) -> None:
    """Mix what was shown before into a part of a picture, where the two hardly differ; the rest is copied.

    Args:
        rgb: (N,) uint8, the picture.
        past: (N,) uint8, what became of the one before.
        out: (N,) uint8, written.
        row: Values in a row of the picture.
        box: What is mixed: first and one past the last row, first and one past the last value in each of them. To both
            sides of a row less than `block` values more are.
        most: Weight of the past where nothing differs, 0..1.
        still: Difference of a value up to which the past counts fully, levels.
        moved: Difference from which on it counts nothing.
        calm: Mean difference over `block` values up to which it counts fully.
        lively: Mean difference from which on it counts nothing.
        offsets: (2 ** n + `BLOCK`,) float32, spread over 0..1 but below 1: added before rounding down, so that the
            mean over many values, and of one over time, has no bias.
        shift: One more for each picture.
        block: `BLOCK`; told here, as the compiler would unroll loops of a length that it knows, and find no SIMD.
    """
    top, bottom, left, right = box
    slope, mean_slope = _ONE / (moved - still), _ONE / (lively - calm)
    turn, size = np.uint64(offsets.size) - block - np.uint64(1), np.uint64(rgb.size)
    done, whole = np.uint64(0), size // block * block
    for y in range(np.uint64(top), np.uint64(bottom)):
        begin = max(done, (y * row + np.uint64(left)) // block * block)
        end = min(whole, (y * row + np.uint64(right) + block - np.uint64(1)) // block * block)
        for at in range(done, begin):
            out[at] = rgb[at]
        for first in range(begin, end, block):
            start = (first // block * np.uint64(389) + shift) & turn
            apart = _ZERO
            for k in range(block):
                apart += abs(np.float32(past[first + k]) - np.float32(rgb[first + k]))
            weight = most * max(_ZERO, min(_ONE, mean_slope * (lively - apart / np.float32(block))))
            for k in range(block):
                out[first + k] = _mixed(
                    rgb[first + k], past[first + k], weight, weight * slope, moved, offsets[start + k]
                )
        done = max(begin, end)
    for at in range(done, size):
        out[at] = rgb[at]


@_compiled
def _mixed(
    now: np.uint8, past: np.uint8, most: np.float32, slope: np.float32, moved: np.float32, offset: np.float32
) -> np.uint8:
    value = np.float32(now)
    difference = np.float32(past) - value
    weight = max(_ZERO, min(most, slope * (moved - abs(difference))))
    return np.uint8(np.int32(value + weight * difference + offset))


@_compiled
def survey(
    rgb: U8,
    size_wh: tuple[int, int],
    alpha: U8,
    alpha_wh: tuple[int, int],
    side: int,
    matrix: F32,
    curves: F32,
    log_gain: F32,
    before: I16,
    changes: I64,
) -> tuple[float, float, tuple[int, int, int, int]]:
    """What a correction does to a level of noise, and how much a person changes from picture to picture.

    Args:
        rgb: (H * W * 3,) uint8.
        size_wh: Its W and H.
        alpha: (h * w,) uint8 over the same picture, 255 = person.
        alpha_wh: Its w and h.
        side: The picture is looked at in so many places in each direction.
        matrix: (3, 3) float32 of the correction.
        curves: (3, N) float32, 0..1.
        log_gain: (h, w) float32.
        before: (side * side * 3,) int16, the values seen last, or `NOBODY`; written.
        changes: (256,) int64, scratch.

    Returns:
        The mean square of what becomes of one level in each channel, 1 where nobody is; the mean change of those half
        of the values that change least, in levels, -1 where none can be compared; and first and one past the last of
        the places where the person is, also in part, downwards and across.
    """
    top, bottom, left, right = side, 0, side, 0
    changes[:] = 0
    energy, people, pairs = 0.0, 0, 0
    last = curves.shape[1] - 1
    for j in range(side):
        for i in range(side):
            to = 3 * (j * side + i)
            u, v = _middle(i, side, alpha_wh[0]), _middle(j, side, alpha_wh[1])
            if alpha[v * alpha_wh[0] + u] > 0:
                top, bottom, left, right = min(top, j), j + 1, min(left, i), max(right, i + 1)
            if alpha[v * alpha_wh[0] + u] < _SURE:
                before[to : to + 3] = NOBODY
                continue
            at = 3 * (_middle(j, side, size_wh[1]) * size_wh[0] + _middle(i, side, size_wh[0]))
            gain = np.exp(log_gain[_middle(j, side, log_gain.shape[0]), _middle(i, side, log_gain.shape[1])])
            people += 1
            for c in range(3):
                mixed, reached = _ZERO, _ZERO
                for k in range(3):
                    mixed += matrix[c, k] * np.float32(rgb[at + k])
                    reached += matrix[c, k] * matrix[c, k]
                place = min(max(mixed / _TOP, _ZERO), _ONE) * np.float32(last)
                node = min(_Int(place), last - 1)
                steep = (curves[c, node + 1] - curves[c, node]) * np.float32(last) * gain
                energy += float(steep * steep * reached)
                now = np.int16(rgb[at + c])
                if before[to + c] != NOBODY:
                    changes[abs(_Int(now) - _Int(before[to + c]))] += 1
                    pairs += 1
                before[to + c] = now
    return energy / (3 * people) if people else 1.0, _lower_mean(changes, pairs), (top, bottom, left, right)


@_compiled
def _middle(index: int, count: int, length: int) -> int:
    """The place in the middle of part `index` of `count`."""
    return (2 * index + 1) * length // (2 * count)


@_compiled
def _lower_mean(counts: I64, total: int) -> float:
    """The mean of the lower half of all values, given how often each occurs; -1 of fewer than two."""
    wanted = total // 2
    if wanted == 0:
        return -1.0
    left, gathered = wanted, 0
    for value in range(counts.size):
        taken = min(left, counts[value])
        gathered += taken * value
        left -= taken
        if left == 0:
            break
    return gathered / wanted
