"""The kernel that fills a batch of pairs: loading, scenes, changes, masks and samples, one thread per pair.

A pair of 64² takes about 0.13 ms on one core, so two cores make 15,000 a second.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from training.data.kernels import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    apply_gain,
    apply_lights,
    apply_lut,
    apply_matrix,
    autocontrast,
    luma_correlation,
    posterize,
)

__all__ = ["clear_person", "make_pairs", "region_moments", "sample_foreground"]

F32 = NDArray[np.float32]

ZERO, ONE = np.float32(0), np.float32(1)

MAX_CLIPPED = np.float32(0.04)
"""A pair of lights that pushes more than this share of the values out of range is drawn again."""

MIN_CORRELATION = np.float32(0.5)
"""So is a pair whose luma follows the photograph's less than this."""


@njit(cache=True, fastmath=True)
def _load(crop: NDArray[np.uint8], flip: bool, into: F32) -> None:
    """(S, S, C) bytes to planar floats 0..1, mirrored when asked."""
    size, channels = crop.shape[1], into.shape[0]
    scale = np.float32(1 / 255)
    for y in range(crop.shape[0]):
        for x in range(size):
            column = size - 1 - x if flip else x
            for c in range(channels):
                into[c, y, x] = np.float32(crop[y, column, c]) * scale


@njit(cache=True, fastmath=True)
def _jitter(rgb: F32, order: NDArray[np.int64], values: F32) -> None:
    """The four operations of ColorJitter in the given order; a factor of exactly 1 (hue 0) is skipped."""
    for k in range(4):
        op = order[k]
        if op == 0:
            adjust_brightness(rgb, values[0])
        elif op == 1:
            adjust_contrast(rgb, values[1])
        elif op == 2:
            adjust_saturation(rgb, values[2])
        else:
            adjust_hue(rgb, values[3])


@njit(cache=True, fastmath=True)
def _mask(alpha: F32, grown: F32, mode: int, shift: NDArray[np.int64], into: F32) -> None:
    """The mask that the composite is made with and the network sees.

    Modes: 0 the matte, 1 hard at the middle, 2 grown (no original foreground left outside), 3 shrunk, 4 shifted,
    5 blurred.
    """
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            if mode == 0:
                value = alpha[y, x]
            elif mode == 1:
                value = ONE if alpha[y, x] > np.float32(0.5) else ZERO
            elif mode == 2:
                value = grown[y, x]
            elif mode == 3:
                value = max(alpha[y, x] * np.float32(2) - ONE, ZERO)
            else:
                value = ZERO
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        yy = min(max(y + dy + (shift[0] if mode == 4 else 0), 0), height - 1)
                        xx = min(max(x + dx + (shift[1] if mode == 4 else 0), 0), width - 1)
                        near = (dx == 0) + (dy == 0)
                        value += alpha[yy, xx] * np.float32((0.0625, 0.125, 0.25)[near])
            into[y, x] = value


@njit(cache=True, fastmath=True)
def clear_person(rgb: F32, grown: F32, into: F32) -> None:
    """The background as if nobody stood before it: smoothly filled from what lies around the grown matte.

    Sums of what is known are halved in size until everything is reached, and each pixel takes the mean of the finest
    level that knows something there. What is deep inside the person is vague, and covered in any composite.

    Args:
        rgb: (3, S, S), 0..1.
        grown: (S, S), the grown matte: 0 where only the background is seen.
        into: (3, S, S), written.
    """
    size = grown.shape[0]
    sums, known = np.zeros((4, size, size), np.float32), np.zeros((size, size), np.bool_)
    for y in range(size):
        for x in range(size):
            if grown[y, x] == ZERO:
                known[y, x] = True
                sums[3, y, x] = ONE
                for c in range(3):
                    sums[c, y, x] = rgb[c, y, x]
                    into[c, y, x] = rgb[c, y, x]
    step = 1
    while step < size:
        step *= 2
        half = (sums.shape[1] + 1) // 2
        smaller = np.zeros((4, half, half), np.float32)
        for c in range(4):
            for y in range(sums.shape[1]):
                for x in range(sums.shape[2]):
                    smaller[c, y // 2, x // 2] += sums[c, y, x]
        sums = smaller
        for y in range(size):
            for x in range(size):
                if not known[y, x]:
                    weight = _between(sums[3], y, x, step)
                    # a trace of what is known is not enough for a mean
                    if weight > np.float32(0.1):
                        known[y, x] = True
                        for c in range(3):
                            into[c, y, x] = _between(sums[c], y, x, step) / weight
    for y in range(size):
        for x in range(size):
            if not known[y, x]:
                for c in range(3):
                    into[c, y, x] = sums[c, 0, 0] / sums[3, 0, 0] if sums[3, 0, 0] > ZERO else rgb[c, y, x]


@njit(cache=True, fastmath=True)
def _between(small: F32, y: int, x: int, step: int) -> np.float32:
    """A map whose cells are `step` pixels wide at a pixel, bilinearly, the borders repeated."""
    top = max((np.float32(y) + np.float32(0.5)) / np.float32(step) - np.float32(0.5), ZERO)
    left = max((np.float32(x) + np.float32(0.5)) / np.float32(step) - np.float32(0.5), ZERO)
    i, j = min(int(top), small.shape[0] - 1), min(int(left), small.shape[1] - 1)
    down, right = min(i + 1, small.shape[0] - 1), min(j + 1, small.shape[1] - 1)
    v, u = top - np.float32(i), left - np.float32(j)
    above = small[i, j] + u * (small[i, right] - small[i, j])
    below = small[down, j] + u * (small[down, right] - small[down, j])
    return np.float32(above + v * (below - above))


@njit(cache=True, fastmath=True)
def _relight(
    rgb: F32, lights: NDArray[np.int64], to_standard: F32, from_standard: F32, strength: np.float32, into: F32
) -> None:
    """Move `into`, which holds the colours of `rgb` or is it, towards those under the first fitting pair of lights."""
    cast = np.empty_like(rgb)
    for k in range(lights.shape[0]):
        share = apply_lights(rgb, cast, to_standard[lights[k, 0]], from_standard[lights[k, 1]])
        if share <= MAX_CLIPPED and luma_correlation(rgb, cast) >= MIN_CORRELATION:
            for c in range(3):
                for i in range(rgb.shape[1]):
                    into[c, i] += strength * (cast[c, i] - into[c, i])
            return


@njit(cache=True, fastmath=True)
def _one_pair(
    crop: NDArray[np.uint8],
    scene: NDArray[np.uint8],
    flags: NDArray[np.int64],
    lights: NDArray[np.int64],
    floats: F32,
    world: F32,
    lut: F32,
    matrix: F32,
    gain: F32,
    to_standard: F32,
    from_standard: F32,
    composite: F32,
    mask: F32,
    truth: F32,
) -> None:
    """One pair; `flags` and `floats` are the columns named in `training.data.augment`."""
    size = crop.shape[0]
    pixels = size * size
    loaded = np.empty((5, size, size), np.float32)
    _load(crop, flags[0] != 0, loaded)
    base, alpha, grown = loaded[:3], loaded[3], loaded[4]
    if flags[1] or flags[21]:
        room = np.empty((3, size, size), np.float32)
        if flags[1]:
            _load(scene, flags[2] != 0, room)
        else:
            clear_person(base, grown, room)
        for c in range(3):
            for y in range(size):
                for x in range(size):
                    base[c, y, x] = room[c, y, x] + alpha[y, x] * (base[c, y, x] - room[c, y, x])
    flat = base.reshape(3, pixels)
    if flags[3]:
        apply_lut(flat, world)
    if flags[20]:
        _relight(flat, lights[:1], to_standard, from_standard, floats[6], flat)
    changed = base.copy()
    moved = changed.reshape(3, pixels)
    if flags[4]:
        _relight(flat, lights[1:], to_standard, from_standard, floats[4], moved)
    if flags[5]:
        _jitter(moved, flags[8:12], floats)
        if flags[12]:
            posterize(changed, 6)
        if flags[13]:
            adjust_sharpness(changed, floats[5])
        if flags[14]:
            autocontrast(moved)
    if flags[15]:
        apply_matrix(moved, matrix)
    if flags[16]:
        apply_lut(moved, lut)
    if flags[17]:
        apply_gain(changed, gain)
    _mask(alpha, grown, flags[7], flags[18:20], mask)
    for c in range(3):
        for y in range(size):
            for x in range(size):
                inside, outside = changed[c, y, x], base[c, y, x]
                if flags[6]:
                    inside, outside = outside, inside
                truth[c, y, x] = outside
                composite[c, y, x] = outside + mask[y, x] * (inside - outside)


@njit(cache=True, fastmath=True)
def sample_foreground(mask: F32, phase: np.float32, index: NDArray[np.int64], weight: F32) -> None:
    """Pick pixels of the person evenly over the list of all of them.

    Args:
        mask: (H, W), 0..1.
        phase: 0..1, where the first one lies.
        index: (K,), written: places in the flattened picture, repeated when the person has fewer than K pixels.
        weight: (K,), written: the mask there; all zero when there is no person.
    """
    flat = mask.reshape(-1)
    places = np.empty(flat.size, np.int64)
    found = 0
    for i in range(flat.size):
        if flat[i] > np.float32(0.02):
            places[found] = i
            found += 1
    step = np.float64(found) / np.float64(index.size)
    for k in range(index.size):
        place = places[min(int((np.float64(k) + phase) * step), found - 1)] if found else 0
        index[k] = place
        weight[k] = flat[place] if found else ZERO


@njit(cache=True, fastmath=True)
def region_moments(rgb: F32, mask: F32, out: F32) -> None:
    """Mean (3), standard deviation (3) and correlations rg, rb, gb of the colours under a mask, written to `out` (9,).

    Args:
        rgb: (3, N).
        mask: (N,), 0..1.
        out: (9,), zeros when the mask is empty.
    """
    out[:] = ZERO
    area = ZERO
    sums = np.zeros(9, np.float64)
    for i in range(mask.size):
        m = mask[i]
        r, g, b = rgb[0, i], rgb[1, i], rgb[2, i]
        area += m
        sums[0] += m * r
        sums[1] += m * g
        sums[2] += m * b
        sums[3] += m * r * r
        sums[4] += m * g * g
        sums[5] += m * b * b
        sums[6] += m * r * g
        sums[7] += m * r * b
        sums[8] += m * g * b
    if area < ONE:
        return
    sums /= np.float64(area)
    for c in range(3):
        out[c] = sums[c]
        out[3 + c] = np.sqrt(max(sums[3 + c] - sums[c] * sums[c], 1e-6))
    out[6] = (sums[6] - sums[0] * sums[1]) / (out[3] * out[4] + 1e-4)
    out[7] = (sums[7] - sums[0] * sums[2]) / (out[3] * out[5] + 1e-4)
    out[8] = (sums[8] - sums[1] * sums[2]) / (out[4] * out[5] + 1e-4)


@njit(cache=True, fastmath=True, parallel=True, nogil=True)
def make_pairs(
    portraits: NDArray[np.uint8],
    scenes: NDArray[np.uint8],
    which: NDArray[np.int64],
    flags: NDArray[np.int64],
    lights: NDArray[np.int64],
    floats: F32,
    world: F32,
    lut: F32,
    matrix: F32,
    gain: F32,
    to_standard: F32,
    from_standard: F32,
    composite: F32,
    mask: F32,
    truth: F32,
    phase: F32,
    index: NDArray[np.int64],
    weight: F32,
    pixels: F32,
    moments: F32,
) -> None:
    """Fill a batch; for the arrays see `training.data.augment`.

    `pixels` is (B, 2, 3, K), written: the sampled pixels of the composite and of the truth. `moments` is (B, 9),
    written: those of the true foreground.
    """
    for n in prange(which.shape[0]):
        person = portraits[which[n, 0], which[n, 1]]
        room = scenes[which[n, 2], :, :, :3] if which[n, 3] < 0 else portraits[which[n, 2], which[n, 3], :, :, :3]
        _one_pair(
            person, room, flags[n], lights[n], floats[n], world[n], lut[n], matrix[n], gain[n],
            to_standard, from_standard, composite[n], mask[n, 0], truth[n],
        )  # fmt: skip
        sample_foreground(mask[n, 0], phase[n], index[n], weight[n])
        for c in range(3):
            before, after = composite[n, c].reshape(-1), truth[n, c].reshape(-1)
            for k in range(index.shape[1]):
                pixels[n, 0, c, k] = before[index[n, k]]
                pixels[n, 1, c, k] = after[index[n, k]]
        region_moments(truth[n].reshape(3, -1), mask[n].reshape(-1), moments[n])
