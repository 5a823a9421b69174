"""What the bands of a frame share, compiled by numba: NumPy's small steps find cold caches between two frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled

__all__ = ["prepare_curves", "share_rows"]

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_compiled = compiled(nogil=True, error_model="numpy")

_SAMPLES = 48
_PER_PIXEL, _PER_PERSON, _PER_MIXED = 1, 4, 10
"""What a pixel takes, and what it takes more where the person is and at the edge: to share rows out fairly."""

_MOST_MATRIX = np.float32(1e4)
"""Beyond it, sums could overflow to values for which the compiled loop has no index."""

_STRAIGHT = np.float32(1e-6)
"""A curve that is nowhere farther from the diagonal changes no 8-bit value."""

_ZERO, _ONE, _TOP = np.float32(0), np.float32(1), np.float32(255)


@_compiled
def prepare_curves(numbers: F32, nodes: int, matrix: F32, tables: F32) -> tuple[bool, bool]:
    """Matrix and curves as `livecomp.composite.kernels.compose_band` takes them.

    Args:
        numbers: (9 + 3 * nodes + M,) float32: the values of a correction's matrix, curves and log-gain.
        nodes: Of a curve, at least 2.
        matrix: (9,) float32, written: from 0..255 to positions on the curves.
        tables: (6 * N,) float32, N at least `nodes`, written: for each curve its nodes, 0..255, and from each the way
            to the next; zeros beyond them.

    Returns:
        Whether matrix and curves change anything, and whether the log-gain does.
    """
    colored, shaded = False, False
    for k in range(9):
        colored |= numbers[k] != (_ONE if k % 4 == 0 else _ZERO)
        matrix[k] = min(max(numbers[k], -_MOST_MATRIX), _MOST_MATRIX) * np.float32((nodes - 1) / 255)
    spacing = tables.size // 6
    tables[:] = _ZERO
    for curve in range(3):
        start, to = 9 + curve * nodes, 2 * curve * spacing
        for k in range(nodes):
            colored |= abs(numbers[start + k] - np.float32(k / (nodes - 1))) > _STRAIGHT
            tables[to + k] = min(max(numbers[start + k], _ZERO), _ONE) * _TOP
        for k in range(nodes - 1):
            tables[to + spacing + k] = tables[to + k + 1] - tables[to + k]
    for k in range(9 + 3 * nodes, numbers.size):
        shaded |= numbers[k] != _ZERO
    return colored, shaded


@_compiled
def share_rows(alpha: U8, width: int, height: int, edges: NDArray[np.int64]) -> None:
    """Rows where bands begin, and where the last ends, such that each has about the same work.

    Args:
        alpha: (height * width,) uint8, the matte.
        width: Of the picture.
        height: Of the picture.
        edges: (bands + 1,) int64, written: from 0 to `height`, rising.
    """
    bands = edges.size - 1
    down, across = max(1, height // _SAMPLES), max(1, width // _SAMPLES)
    work = np.empty((height + down - 1) // down, np.int64)
    total = 0
    for k in range(work.size):
        for at in range(k * down * width, k * down * width + width, across):
            level = alpha[at]
            total += _PER_PIXEL + (_PER_PERSON if level > 0 else 0) + (_PER_MIXED if 0 < level < 255 else 0)
        work[k] = total
    edges[0], edges[bands] = 0, height
    row = 0
    for band in range(1, bands):
        while work[row] * bands < total * band:
            row += 1
        edges[band] = row * down
