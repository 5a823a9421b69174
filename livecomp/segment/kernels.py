"""The loops of the refiner and the chroma key, compiled by numba; one thread, no scratch kept between calls.

The refiner is a colour guided filter (He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, eq 19-21) in its fast
form (He and Sun, arXiv 1505.00996): coefficients are fitted on a small picture and applied on the full one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled

__all__ = ["apply_coefficients", "classify_cells", "fit_coefficients", "key_chroma"]

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

EMPTY, FULL, MIXED = np.uint8(0), np.uint8(1), np.uint8(2)
_CHANNELS = 16
_PLANES = 4
ZERO, ONE, HALF, TOP = np.float32(0), np.float32(1), np.float32(0.5), np.float32(255)


@compiled()
def classify_cells(matte: F32, cell: int, low: np.float32, high: np.float32) -> U8:
    """Which cells need the filter.

    Args:
        matte: (h, w) float32.
        cell: Side of a cell in pixels; at least the reach of the filter.
        low: A neighbourhood nowhere above it is empty.
        high: A neighbourhood nowhere below it is full.

    Returns:
        (ceil(h / cell), ceil(w / cell)) uint8: EMPTY, FULL or MIXED, judged over the cell and its eight neighbours.
    """
    height, width = matte.shape
    rows, columns = (height + cell - 1) // cell, (width + cell - 1) // cell
    least = np.full((rows, columns), np.float32(2))
    most = np.full((rows, columns), np.float32(-1))
    for y in range(height):
        for x in range(width):
            value = matte[y, x]
            j, i = y // cell, x // cell
            least[j, i] = min(least[j, i], value)
            most[j, i] = max(most[j, i], value)
    kinds = np.empty((rows, columns), np.uint8)
    for j in range(rows):
        for i in range(columns):
            low_here, high_here = np.float32(2), np.float32(-1)
            for v in range(max(0, j - 1), min(rows, j + 2)):
                for u in range(max(0, i - 1), min(columns, i + 2)):
                    low_here = min(low_here, least[v, u])
                    high_here = max(high_here, most[v, u])
            kinds[j, i] = EMPTY if high_here <= low else FULL if low_here >= high else MIXED
    return kinds


@compiled(fastmath=True)
def _box_columns(source: F32, y: int, radius: int, sums: F32) -> None:
    """Sum the rows y - radius .. y + radius, repeated at the borders, of (h, w, c) into (w, c)."""
    last = source.shape[0] - 1
    flat = sums.reshape(-1)
    flat[:] = ZERO
    for v in range(y - radius, y + radius + 1):
        row = source[min(max(v, 0), last)].reshape(-1)
        for k in range(flat.size):
            flat[k] += row[k]


@compiled(fastmath=True)
def fit_coefficients(guide: U8, matte: F32, radius: int, eps: np.float32, low: np.float32, high: np.float32) -> F32:
    """The averaged linear coefficients of the matte in the colours of the guide, with the levels folded in.

    Args:
        guide: (h, w, 3) uint8.
        matte: (h, w) float32, 0..1.
        radius: Of the windows, in pixels.
        eps: Regularisation, in squared units of 0..1 colour.
        low: Alpha that becomes 0.
        high: Alpha that becomes 1.

    Returns:
        (h, w, 4) float32: factors of red, green and blue in 0..255, and offset, for an alpha of 0..255.
    """
    height, width = matte.shape
    products = np.zeros((height, width, _CHANNELS), np.float32)
    for y in range(height):
        for x in range(width):
            r = np.float32(guide[y, x, 0]) / TOP - HALF
            g = np.float32(guide[y, x, 1]) / TOP - HALF
            b = np.float32(guide[y, x, 2]) / TOP - HALF
            p = matte[y, x]
            to = products[y, x]
            to[0], to[1], to[2], to[3] = r, g, b, p
            to[4], to[5], to[6] = r * r, g * g, b * b
            to[7], to[8], to[9] = r * g, r * b, g * b
            to[10], to[11], to[12] = r * p, g * p, b * p
    area = np.float32(1) / np.float32((2 * radius + 1) ** 2)
    stretch = ONE / (high - low)
    fitted = np.empty((height, width, _PLANES), np.float32)
    sums = np.empty((width, _CHANNELS), np.float32)
    window = np.empty(_CHANNELS, np.float32)
    for y in range(height):
        _box_columns(products, y, radius, sums)
        window[:] = ZERO
        for u in range(-radius, radius + 1):
            column = sums[min(max(u, 0), width - 1)]
            for k in range(_CHANNELS):
                window[k] += column[k]
        for x in range(width):
            mr, mg, mb, mp = window[0] * area, window[1] * area, window[2] * area, window[3] * area
            rr, gg, bb = (
                window[4] * area - mr * mr + eps,
                window[5] * area - mg * mg + eps,
                window[6] * area - mb * mb + eps,
            )
            rg, rb, gb = window[7] * area - mr * mg, window[8] * area - mr * mb, window[9] * area - mg * mb
            pr, pg, pb = window[10] * area - mr * mp, window[11] * area - mg * mp, window[12] * area - mb * mp
            # inverse of the symmetric matrix by cofactors
            i00, i01, i02 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
            i11, i12, i22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
            scale = stretch / (rr * i00 + rg * i01 + rb * i02)
            ar = (i00 * pr + i01 * pg + i02 * pb) * scale
            ag = (i01 * pr + i11 * pg + i12 * pb) * scale
            ab = (i02 * pr + i12 * pg + i22 * pb) * scale
            to = fitted[y, x]
            to[0], to[1], to[2] = ar, ag, ab
            to[3] = (mp - low) * stretch - ar * mr - ag * mg - ab * mb
            leaving, entering = sums[max(x - radius, 0)], sums[min(x + radius + 1, width - 1)]
            for k in range(_CHANNELS):
                window[k] += entering[k] - leaving[k]
    averaged = np.empty((height, width, _PLANES), np.float32)
    sums4 = np.empty((width, _PLANES), np.float32)
    window4 = np.empty(_PLANES, np.float32)
    for y in range(height):
        _box_columns(fitted, y, radius, sums4)
        window4[:] = ZERO
        for u in range(-radius, radius + 1):
            column = sums4[min(max(u, 0), width - 1)]
            for k in range(_PLANES):
                window4[k] += column[k]
        for x in range(width):
            to = averaged[y, x]
            # the guide was centred on one half, and alpha grows from 0..1 to 0..255
            ar, ag, ab = window4[0] * area, window4[1] * area, window4[2] * area
            to[0], to[1], to[2] = ar, ag, ab
            to[3] = TOP * (window4[3] * area - HALF * (ar + ag + ab))
            leaving, entering = sums4[max(x - radius, 0)], sums4[min(x + radius + 1, width - 1)]
            for k in range(_PLANES):
                window4[k] += entering[k] - leaving[k]
    return averaged


@compiled(fastmath=True)
def apply_coefficients(rgb: U8, coefficients: F32, kinds: U8, cell: int) -> U8:
    """Alpha of the full picture: constant in decided cells, from colour and interpolated coefficients in the others.

    Args:
        rgb: (H, W, 3) uint8.
        coefficients: (h, w, 4) float32 of `fit_coefficients`.
        kinds: What `classify_cells` says of the small matte.
        cell: Side of a cell in small pixels.

    Returns:
        A new (H, W) uint8 array.
    """
    height, width = rgb.shape[:2]
    small_height, small_width = coefficients.shape[:2]
    rows, columns = kinds.shape
    alpha = np.empty((height, width), np.uint8)
    left, right = np.empty(width, np.int32), np.empty(width, np.int32)
    share = np.empty(width, np.float32)
    for x in range(width):
        at = min(max((x + 0.5) * small_width / width - 0.5, 0.0), small_width - 1.0)
        left[x] = min(int(at), max(small_width - 2, 0))
        right[x] = min(left[x] + 1, small_width - 1)
        share[x] = at - left[x]
    starts = np.empty(columns + 1, np.int64)
    for i in range(columns + 1):
        starts[i] = min(width, (i * cell * width + small_width - 1) // small_width)
    x0, x1 = _mixed_columns(kinds, starts)
    # Two rows of coefficients at full width, even and odd ones: many rows of the picture lie between them.
    wide = np.zeros((2 * _PLANES, width), np.float32)
    known = np.full(2, -1, np.int64)
    for y in range(height):
        at = min(max((y + 0.5) * small_height / height - 0.5, 0.0), small_height - 1.0)
        top = min(int(at), max(small_height - 2, 0))
        down = np.float32(at - top)
        j = min(int((y + 0.5) * small_height / height) // cell, rows - 1)
        for v in range(top, top + 2):
            if known[v % 2] != v and x0 < x1:
                known[v % 2] = v
                k = v % 2 * _PLANES
                _widen(
                    coefficients[min(v, small_height - 1)],
                    left[x0:x1],
                    right[x0:x1],
                    share[x0:x1],
                    wide[k, x0:x1],
                    wide[k + 1, x0:x1],
                    wide[k + 2, x0:x1],
                    wide[k + 3, x0:x1],
                )
        # the weight of the even row
        even = ONE - down if top % 2 == 0 else down
        i = 0
        while i < columns:
            kind, first = kinds[j, i], i
            while i < columns and kinds[j, i] == kind:
                i += 1
            a, b = starts[first], starts[i]
            if b <= a:
                continue
            if kind != MIXED:
                alpha[y, a:b] = np.uint8(255) if kind == FULL else np.uint8(0)
                continue
            _apply_run(
                rgb[y, a:b].reshape(-1),
                even,
                wide[0, a:b],
                wide[1, a:b],
                wide[2, a:b],
                wide[3, a:b],
                wide[4, a:b],
                wide[5, a:b],
                wide[6, a:b],
                wide[7, a:b],
                alpha[y, a:b],
            )
    return alpha


@compiled()
def _mixed_columns(kinds: U8, starts: I64) -> tuple[int, int]:
    """First pixel and one past the last of all mixed cells; (0, 0) when there are none."""
    first, last = kinds.shape[1], -1
    for j in range(kinds.shape[0]):
        for i in range(kinds.shape[1]):
            if kinds[j, i] == MIXED:
                first, last = min(first, i), max(last, i)
    if last < 0:
        return 0, 0
    return int(starts[first]), int(starts[last + 1])


@compiled(fastmath=True)
def _widen(coefficients: F32, left: I32, right: I32, share: F32, red: F32, green: F32, blue: F32, offset: F32) -> None:
    """A row of (w, 4) coefficients, interpolated for each pixel of the picture."""
    for x in range(share.shape[0]):
        u, v, t = np.uint32(left[x]), np.uint32(right[x]), share[x]
        red[x] = coefficients[u, 0] + t * (coefficients[v, 0] - coefficients[u, 0])
        green[x] = coefficients[u, 1] + t * (coefficients[v, 1] - coefficients[u, 1])
        blue[x] = coefficients[u, 2] + t * (coefficients[v, 2] - coefficients[u, 2])
        offset[x] = coefficients[u, 3] + t * (coefficients[v, 3] - coefficients[u, 3])


# One dimension each, counted from 0: so the compiler makes SIMD of it.
@compiled(fastmath=True)
def _apply_run(
    rgb: U8,
    even: np.float32,
    red0: F32,
    green0: F32,
    blue0: F32,
    offset0: F32,
    red1: F32,
    green1: F32,
    blue1: F32,
    offset1: F32,
    alpha: U8,
) -> None:
    odd = ONE - even
    for x in range(alpha.shape[0]):
        value = even * offset0[x] + odd * offset1[x]
        value += (even * red0[x] + odd * red1[x]) * np.float32(rgb[3 * x])
        value += (even * green0[x] + odd * green1[x]) * np.float32(rgb[3 * x + 1])
        value += (even * blue0[x] + odd * blue1[x]) * np.float32(rgb[3 * x + 2])
        alpha[x] = np.uint8(np.int32(min(max(value + HALF, ZERO), TOP)))


@compiled(fastmath=True)
def key_chroma(rgb: U8, key_cb: np.float32, key_cr: np.float32, tolerance: np.float32, softness: np.float32) -> F32:
    """Alpha by the distance from a key colour in the chroma plane of YCbCr, BT.601.

    Args:
        rgb: (H, W, 3) uint8.
        key_cb: Of the key, ±0.5.
        key_cr: Of the key, ±0.5.
        tolerance: Distance up to which alpha is 0.
        softness: Distance over which it rises to 1.

    Returns:
        A new (H, W) float32 array, 0..1.
    """
    height, width = rgb.shape[:2]
    matte = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            r = np.float32(rgb[y, x, 0]) / TOP
            g = np.float32(rgb[y, x, 1]) / TOP
            b = np.float32(rgb[y, x, 2]) / TOP
            luma = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b
            cb = np.float32(0.564) * (b - luma) - key_cb
            cr = np.float32(0.713) * (r - luma) - key_cr
            matte[y, x] = min(max((np.sqrt(cb * cb + cr * cr) - tolerance) / softness, ZERO), ONE)
    return matte
