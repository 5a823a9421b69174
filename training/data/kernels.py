"""Colour operations on small planar pictures, compiled by numba.

Pictures are (3, N) or (3, H, W) float32, encoded sRGB 0..1, RGB. The operations follow torchvision's ColorJitter,
RandomPosterize, RandomAdjustSharpness and RandomAutocontrast (the recipe of PHNet, arXiv 2402.17561, section 3.2) in
float, without the rounding to 8 bits in between. One picture of 64² with every operation takes about 0.2 ms.
"""

from __future__ import annotations

import numpy as np
from numba import njit
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
    "posterize",
]

F32 = NDArray[np.float32]

RED, GREEN, BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
ZERO, ONE, SIX = np.float32(0), np.float32(1), np.float32(6)
BYTE = np.float32(255)


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
