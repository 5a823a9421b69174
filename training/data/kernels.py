"""Colour operations on small planar pictures, compiled by numba, and the kernel that makes a whole batch of pairs.

Pictures are (3, N) or (3, H, W) float32, encoded sRGB 0..1, RGB. The operations follow torchvision's ColorJitter,
RandomPosterize, RandomAdjustSharpness and RandomAutocontrast (the recipe of PHNet, arXiv 2402.17561, section 3.2) in
float, without the rounding to 8 bits in between. One picture of 64² with every operation takes about 0.2 ms.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "adjust_sharpness",
    "apply_gain",
    "apply_lights",
    "apply_lut",
    "apply_matrix",
    "autocontrast",
    "luma_correlation",
    "make_pairs",
    "posterize",
    "region_moments",
    "sample_foreground",
]

F32 = NDArray[np.float32]

RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
ZERO, ONE, SIX = np.float32(0), np.float32(1), np.float32(6)
BYTE = np.float32(255)

MAX_CLIPPED = np.float32(0.04)
"""A pair of lights that pushes more than this share of the values out of range is drawn again."""

MIN_CORRELATION = np.float32(0.5)
"""So is a pair whose luma follows the photograph's less than this."""


@njit(cache=True, fastmath=True, inline="always")
def _clip(value: np.float32) -> np.float32:
    return min(max(value, ZERO), ONE)


@njit(cache=True, fastmath=True)
def adjust_brightness(rgb: F32, factor: np.float32) -> None:
    """Multiply and clip, in place."""
    flat = rgb.reshape(-1)
    for i in range(flat.size):
        flat[i] = _clip(flat[i] * factor)


@njit(cache=True, fastmath=True)
def adjust_contrast(rgb: F32, factor: np.float32) -> None:
    """Away from (factor > 1) or towards the mean of the grey picture, in place; `rgb` is (3, N)."""
    total = np.float32(0)
    for i in range(rgb.shape[1]):
        total += RED * rgb[0, i] + GREEN * rgb[1, i] + BLUE * rgb[2, i]
    base = (ONE - factor) * total / np.float32(rgb.shape[1])
    flat = rgb.reshape(-1)
    for i in range(flat.size):
        flat[i] = _clip(flat[i] * factor + base)


@njit(cache=True, fastmath=True)
def adjust_saturation(rgb: F32, factor: np.float32) -> None:
    """Away from or towards the grey of each pixel, in place; `rgb` is (3, N)."""
    rest = ONE - factor
    for i in range(rgb.shape[1]):
        r, g, b = rgb[0, i], rgb[1, i], rgb[2, i]
        grey = rest * (RED * r + GREEN * g + BLUE * b)
        rgb[0, i] = _clip(r * factor + grey)
        rgb[1, i] = _clip(g * factor + grey)
        rgb[2, i] = _clip(b * factor + grey)


@njit(cache=True, fastmath=True, inline="always")
def _hue_channel(n: np.float32, hue: np.float32, value: np.float32, chroma: np.float32) -> np.float32:
    k = n + hue
    k = k - SIX if k >= SIX else k
    return value - chroma * max(ZERO, min(k, np.float32(4) - k, ONE))


@njit(cache=True, fastmath=True)
def adjust_hue(rgb: F32, shift: np.float32) -> None:
    """Turn the hue of HSV by `shift` turns, -0.5..0.5, in place; `rgb` is (3, N)."""
    offset = SIX * (ONE + shift)
    for i in range(rgb.shape[1]):
        r, g, b = rgb[0, i], rgb[1, i], rgb[2, i]
        value = max(r, g, b)
        chroma = value - min(r, g, b)
        safe = ONE / max(chroma, np.float32(1e-6))
        hue = (g - b) * safe
        hue = hue if value == r else (np.float32(2) + (b - r) * safe if value == g else np.float32(4) + (r - g) * safe)
        hue = hue + offset
        hue = hue - SIX if hue >= SIX else hue
        hue = hue - SIX if hue >= SIX else hue
        rgb[0, i] = _hue_channel(np.float32(5), hue, value, chroma)
        rgb[1, i] = _hue_channel(np.float32(3), hue, value, chroma)
        rgb[2, i] = _hue_channel(np.float32(1), hue, value, chroma)


@njit(cache=True, fastmath=True)
def posterize(rgb: F32, bits: int) -> None:
    """Keep the upper `bits` of 8, in place."""
    step = np.float32(1 << (8 - bits))
    flat = rgb.reshape(-1)
    for i in range(flat.size):
        flat[i] = np.floor((flat[i] * BYTE + np.float32(0.01)) / step) * step / BYTE


@njit(cache=True, fastmath=True)
def adjust_sharpness(rgb: F32, factor: np.float32) -> None:
    """Away from (factor > 1) or towards a 3x3 smoothed picture, in place; borders stay; `rgb` is (3, H, W)."""
    height, width = rgb.shape[1], rgb.shape[2]
    source = rgb.copy()
    rest = (ONE - factor) / np.float32(13)
    for c in range(3):
        for y in range(1, height - 1):
            up, row, down, out = source[c, y - 1], source[c, y], source[c, y + 1], rgb[c, y]
            for x in range(1, width - 1):
                total = up[x - 1] + up[x] + up[x + 1] + row[x - 1] + row[x + 1] + down[x - 1] + down[x] + down[x + 1]
                out[x] = _clip(row[x] * factor + (total + np.float32(5) * row[x]) * rest)


@njit(cache=True, fastmath=True)
def autocontrast(rgb: F32) -> None:
    """Stretch each channel so that its smallest value becomes 0 and its largest 1, in place; `rgb` is (3, N)."""
    for c in range(3):
        low, high = np.float32(2), np.float32(-1)
        for i in range(rgb.shape[1]):
            low = min(low, rgb[c, i])
            high = max(high, rgb[c, i])
        if high - low < np.float32(1 / 255):
            continue
        scale = ONE / (high - low)
        for i in range(rgb.shape[1]):
            rgb[c, i] = _clip((rgb[c, i] - low) * scale)


@njit(cache=True, fastmath=True)
def apply_matrix(rgb: F32, matrix: F32) -> None:
    """A 3x3 matrix on each pixel, then clip, in place; `rgb` is (3, N)."""
    for i in range(rgb.shape[1]):
        r, g, b = rgb[0, i], rgb[1, i], rgb[2, i]
        rgb[0, i] = _clip(matrix[0, 0] * r + matrix[0, 1] * g + matrix[0, 2] * b)
        rgb[1, i] = _clip(matrix[1, 0] * r + matrix[1, 1] * g + matrix[1, 2] * b)
        rgb[2, i] = _clip(matrix[2, 0] * r + matrix[2, 1] * g + matrix[2, 2] * b)


@njit(cache=True, fastmath=True)
def apply_lut(rgb: F32, lut: F32) -> None:
    """A curve for each channel, linear between nodes spread evenly over 0..1, in place.

    Args:
        rgb: (3, N).
        lut: (3, K).
    """
    last = lut.shape[1] - 1
    for c in range(3):
        for i in range(rgb.shape[1]):
            place = rgb[c, i] * np.float32(last)
            k = min(int(place), last - 1)
            t = place - np.float32(k)
            rgb[c, i] = _clip(lut[c, k] + t * (lut[c, k + 1] - lut[c, k]))


@njit(cache=True, fastmath=True)
def apply_lights(source: F32, into: F32, to_standard: F32, from_standard: F32) -> np.float32:
    """Bring a picture to standard light and from there to another, by the polynomial maps of ccHarmony.

    Args:
        source: (3, N), 0..1.
        into: (3, N), written.
        to_standard: (3, 11) over the features ``r g b rg rb gb r² g² b² rgb 1`` of values 0..255.
        from_standard: Likewise.

    Returns:
        Share of the final values that had to be clipped, 0..1.
    """
    clipped = 0
    for i in range(source.shape[1]):
        r, g, b = source[0, i] * BYTE, source[1, i] * BYTE, source[2, i] * BYTE
        rg, rb, gb, rr, gg, bb, rgb = r * g, r * b, g * b, r * r, g * g, b * b, r * g * b
        for c in range(3):
            m = to_standard[c]
            into[c, i] = min(
                max(
                    m[0] * r + m[1] * g + m[2] * b + m[3] * rg + m[4] * rb + m[5] * gb
                    + m[6] * rr + m[7] * gg + m[8] * bb + m[9] * rgb + m[10],
                    ZERO,
                ),
                BYTE,
            )  # fmt: skip
        r, g, b = into[0, i], into[1, i], into[2, i]
        rg, rb, gb, rr, gg, bb, rgb = r * g, r * b, g * b, r * r, g * g, b * b, r * g * b
        for c in range(3):
            m = from_standard[c]
            value = (
                m[0] * r + m[1] * g + m[2] * b + m[3] * rg + m[4] * rb + m[5] * gb
                + m[6] * rr + m[7] * gg + m[8] * bb + m[9] * rgb + m[10]
            ) / BYTE  # fmt: skip
            clipped += 1 if (value > np.float32(1.02)) or (value < np.float32(-0.02)) else 0
            into[c, i] = _clip(value)
    return np.float32(clipped) / np.float32(3 * source.shape[1])


@njit(cache=True, fastmath=True)
def luma_correlation(before: F32, after: F32) -> np.float32:
    """Correlation of the luma of two (3, N) pictures: low where a polynomial folds over and shows a negative."""
    count = np.float32(before.shape[1])
    sx, sy, sxx, syy, sxy = ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(before.shape[1]):
        x = RED * before[0, i] + GREEN * before[1, i] + BLUE * before[2, i]
        y = RED * after[0, i] + GREEN * after[1, i] + BLUE * after[2, i]
        sx += x
        sy += y
        sxx += x * x
        syy += y * y
        sxy += x * y
    sx, sy = sx / count, sy / count
    spread = max((sxx / count - sx * sx) * (syy / count - sy * sy), np.float32(1e-10))
    return np.float32((sxy / count - sx * sy) / np.sqrt(spread))


@njit(cache=True, fastmath=True)
def apply_gain(rgb: F32, gain: F32) -> None:
    """Multiply by a small gain map stretched bilinearly (half-pixel centres, repeated borders), clip, in place.

    Args:
        rgb: (3, H, W).
        gain: (h, w), factors.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    rows, columns = gain.shape
    line = np.empty(columns, np.float32)
    for y in range(height):
        v = min(max((np.float32(y) + np.float32(0.5)) * rows / height - np.float32(0.5), ZERO), np.float32(rows - 1))
        j = min(int(v), rows - 2)
        t = np.float32(v - j)
        for x in range(columns):
            line[x] = gain[j, x] + t * (gain[j + 1, x] - gain[j, x])
        for x in range(width):
            u = (np.float32(x) + np.float32(0.5)) * columns / width - np.float32(0.5)
            u = min(max(u, ZERO), np.float32(columns - 1))
            k = min(int(u), columns - 2)
            s = np.float32(u - k)
            factor = line[k] + s * (line[k + 1] - line[k])
            for c in range(3):
                rgb[c, y, x] = _clip(rgb[c, y, x] * factor)


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
                value = _clip(alpha[y, x] * np.float32(2) - ONE)
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
    if flags[1]:
        room = np.empty((3, size, size), np.float32)
        _load(scene, flags[2] != 0, room)
        for c in range(3):
            for y in range(size):
                for x in range(size):
                    base[c, y, x] = room[c, y, x] + alpha[y, x] * (base[c, y, x] - room[c, y, x])
    flat = base.reshape(3, pixels)
    if flags[3]:
        apply_lut(flat, world)
    changed = base.copy()
    moved = changed.reshape(3, pixels)
    if flags[4]:
        cast = np.empty((3, pixels), np.float32)
        strength = floats[4]
        for k in range(lights.shape[0]):
            share = apply_lights(flat, cast, to_standard[lights[k, 0]], from_standard[lights[k, 1]])
            if share <= MAX_CLIPPED and luma_correlation(flat, cast) >= MIN_CORRELATION:
                break
            if k == lights.shape[0] - 1:
                strength = ZERO
        for c in range(3):
            for i in range(pixels):
                moved[c, i] += strength * (cast[c, i] - moved[c, i])
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
