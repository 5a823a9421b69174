"""How OpenCV resizes, as matrices and lists of indices that a graph can hold.

Each filter acts on rows and columns apart, so what it does to one axis is a matrix: what it makes of the unit matrix.
INTER_LINEAR on 8 bits rounds in between, so its pixels and weights are given instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.composite.edges import taken_pixels
from livecomp.correction import F32Array

__all__ = ["Taps", "area_matrix", "box_matrix", "cell_indices", "column_taps", "nearest_indices", "row_taps"]


_ONE = 2048
"""What weights of INTER_LINEAR add up to, for pixels of 8 bits."""


@dataclass(frozen=True, slots=True)
class Taps:
    """Two pixels for each one that is wanted.

    Args:
        first: (wanted,) int64, index of the one pixel.
        second: (wanted,) int64, index of the other.
        weights: (2, wanted) int64, theirs, 0..2048.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weights: NDArray[np.int64]


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


def column_taps(length: int, wanted: int) -> Taps:
    """What INTER_LINEAR takes along a row of `length` 8-bit pixels for one of `wanted` pixels."""
    first, share = _positions(length, wanted)
    share[(first < 0) | (first >= length - 1)] = 0
    first = first.clip(0, length - 1)
    return Taps(first, np.minimum(first + 1, length - 1), _weights(share))


def row_taps(length: int, wanted: int) -> Taps:
    """The same along a column; at the borders the last pixel is taken twice, with both weights."""
    first, share = _positions(length, wanted)
    return Taps(first.clip(0, length - 1), (first + 1).clip(0, length - 1), _weights(share))


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


def _positions(length: int, wanted: int) -> tuple[NDArray[np.int64], F32Array]:
    """The pixel left of each wanted one's centre, and how far from it that is, in pixels."""
    at = ((np.arange(wanted) + 0.5) * (length / wanted) - 0.5).astype(np.float32)
    first = np.floor(at)
    return first.astype(np.int64), at - first


def _weights(share: F32Array) -> NDArray[np.int64]:
    return np.rint(np.stack([1 - share, share]) * np.float32(_ONE)).astype(np.int64)
