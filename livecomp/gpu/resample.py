"""How OpenCV resizes, as matrices and lists of indices that a graph can hold.

Each filter acts on rows and columns apart, so what it does to one axis is a matrix: what it makes of the unit matrix.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.composite.edges import taken_pixels
from livecomp.correction import F32Array

__all__ = ["area_matrix", "box_matrix", "cell_indices", "nearest_indices", "shrink_plan"]


@cache
def nearest_indices(length: int, wanted: int) -> NDArray[np.int64]:
    """Which pixels of a row of `length` INTER_NEAREST takes for one of `wanted` pixels: (wanted,) int64."""
    indices = taken_pixels(length, wanted).astype(np.int64)
    indices.flags.writeable = False
    return indices


def area_matrix(length: int, wanted: int) -> F32Array:
    """INTER_AREA from `length` pixels to fewer: (wanted, length) float32."""
    return _matrix(length, wanted, cv2.INTER_AREA)


def box_matrix(length: int, side: int) -> F32Array:
    """OpenCV's blur along one axis with its usual borders, mirrored around the last pixel: (length, length) float32."""
    unit = np.eye(length, dtype=np.float32)
    return np.asarray(cv2.blur(unit, (1, side)), np.float32)


def shrink_plan(size_wh: tuple[int, int], wanted_wh: tuple[int, int]) -> tuple[int, F32Array, F32Array]:
    """What `livecomp.segment.shrink` does, but for the rounding in between.

    Args:
        size_wh: Width and height of the picture.
        wanted_wh: Width and height of the result.

    Returns:
        How often both sides are halved first, each a mean of 2x2 pixels; then the matrices for what is left,
        (h, H') for the columns and (W', w) for the rows.
    """
    (width, height), (wanted_width, wanted_height) = size_wh, wanted_wh
    halves = 0
    while width >= 2 * wanted_width and height >= 2 * wanted_height and width % 2 == 0 and height % 2 == 0:
        width, height, halves = width // 2, height // 2, halves + 1
    down, across = np.eye(height, dtype=np.float32), np.eye(width, dtype=np.float32)
    while width >= 2 * wanted_width and height >= 2 * wanted_height:
        width, height = (width + 1) // 2, (height + 1) // 2
        down, across = _linear(down, height), _linear(across, width)
    if height > 1.5 * wanted_height:
        down = _linear(down, 2 * wanted_height)
    if width > 1.5 * wanted_width:
        across = _linear(across, 2 * wanted_width)
    return halves, _linear(down, wanted_height), np.ascontiguousarray(_linear(across, wanted_width).T)


def cell_indices(length: int, small: int, cell: int) -> NDArray[np.int64]:
    """The cell of each pixel of a row, as `livecomp.segment.kernels.apply_coefficients` divides them.

    Args:
        length: Pixels of the row.
        small: Pixels of the small picture's row.
        cell: Side of a cell in small pixels.

    Returns:
        (length,) int64.
    """
    at = (np.arange(length) + 0.5) * small / length
    return np.minimum(at.astype(np.int64) // cell, (small + cell - 1) // cell - 1)


def _matrix(length: int, wanted: int, interpolation: int) -> F32Array:
    unit = np.eye(length, dtype=np.float32)
    return np.asarray(cv2.resize(unit, (length, wanted), interpolation=interpolation), np.float32)


def _linear(matrix: F32Array, wanted: int) -> F32Array:
    """One more bilinear step after those of a matrix."""
    if matrix.shape[0] == wanted:
        return matrix
    return np.asarray(cv2.resize(matrix, (matrix.shape[1], wanted), interpolation=cv2.INTER_LINEAR), np.float32)
