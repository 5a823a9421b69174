"""Where the person moves, seen from their mattes, so that their shading moves along and does not stay on the wall."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from livecomp.compiled import compiled
from livecomp.correction import F32Array
from livecomp.frame import U8Array, flat

__all__ = ["MatteMotion", "carried"]

_SIDE = 32
_FARTHEST = 1.0  # cells of the small matte: what one linear step can find
_TURNS = 1
_TOLERATED = 4.0  # squared misfits, in medians, that still count by half
_LEAST_EDGE = 0.04
_LEAST_MISFIT = 4e-4  # squared; what noise does to the alpha of a small cell
_LEAST_SLOPE = 0.1  # squared slopes below which a matte has no edge to hold on to

# compiled: between two frames the caches forget, and then a dozen calls of numpy take almost three times as long.
# fastmath: nothing here makes a NaN
_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")
_Float: Any = np.float32


class MatteMotion:
    """Follows how a person's outline shifts between pictures.

    One linear least-squares step (Lucas and Kanade, IJCAI 1981) between coarse mattes, repeated with the less weight on
    an edge the worse it fits: so a waving hand, which would pull a centroid or a box along, does not count. Scale and
    turning are left out: shading is a matter of seconds, and a new prediction knows them.

    Args:
        least: Shift below which nothing is reported but gathered, parts of the picture.
    """

    def __init__(self, least: float = 0.0025) -> None:
        self._least = least
        self._before: F32Array | None = None
        self.area = 0.0
        """Part of the picture that is person, 0..1, in the matte given last."""

    def update(self, alpha: U8Array) -> tuple[float, float]:
        """How far the person has moved since the last shift reported.

        Args:
            alpha: (H, W) uint8, 255 = person.

        Returns:
            Rightwards in parts of the width, and downwards in parts of the height; (0, 0) while it is small.
        """
        small = np.empty((_SIDE, _SIDE), np.float32)
        self.area = _shrink(flat(alpha), alpha.shape[1], alpha.shape[0], small)
        before = self._before
        if before is None:
            self._before = small
            return 0.0, 0.0
        right, down = _shift(before, small)
        if max(abs(right), abs(down)) < self._least:
            return 0.0, 0.0
        self._before = small
        return right, down

    def reset(self) -> None:
        """Forget the matte before."""
        self._before = None


@_compiled
def _shrink(alpha: U8Array, width: int, height: int, small: F32Array) -> float:
    """Write a matte's blurred thumbnail, 0..1, from four samples a cell; returns their mean."""
    cells = np.empty((_SIDE, _SIDE), np.float32)
    total = 0
    for y in range(_SIDE):
        upper, lower = 2 * y * height // (2 * _SIDE) * width, (2 * y + 1) * height // (2 * _SIDE) * width
        for x in range(_SIDE):
            left, right = 2 * x * width // (2 * _SIDE), (2 * x + 1) * width // (2 * _SIDE)
            four = int(alpha[upper + left]) + int(alpha[upper + right])
            four += int(alpha[lower + left]) + int(alpha[lower + right])
            cells[y, x] = four
            total += four
    scale = _Float(1 / (4 * 9 * 255))
    for y in range(_SIDE):
        above, below = abs(y - 1), min(y + 1, 2 * _SIDE - 3 - y)
        for x in range(_SIDE):
            left, right = abs(x - 1), min(x + 1, 2 * _SIDE - 3 - x)
            nine = cells[above, left] + cells[above, x] + cells[above, right]
            nine += cells[y, left] + cells[y, x] + cells[y, right]
            nine += cells[below, left] + cells[below, x] + cells[below, right]
            small[y, x] = scale * nine
    return total / (4 * _SIDE * _SIDE * 255)


@_compiled
def _shift(before: F32Array, after: F32Array) -> tuple[float, float]:
    """The shift, rightwards and downwards in parts of the picture, that most of the outline has made."""
    slopes_x, slopes_y, changes = np.empty((3, _SIDE * _SIDE), np.float32)
    edges = 0
    for y in range(1, _SIDE - 1):
        for x in range(1, _SIDE - 1):
            slope_x = before[y, x + 1] + after[y, x + 1] - before[y, x - 1] - after[y, x - 1]
            slope_y = before[y + 1, x] + after[y + 1, x] - before[y - 1, x] - after[y - 1, x]
            if abs(slope_x) + abs(slope_y) > 4 * _LEAST_EDGE:
                slopes_x[edges], slopes_y[edges] = _Float(0.25) * slope_x, _Float(0.25) * slope_y
                changes[edges] = before[y, x] - after[y, x]
                edges += 1
    weights = np.ones(edges, np.float32)
    squares = np.empty(edges, np.float32)
    right, down = 0.0, 0.0
    for turn in range(_TURNS + 1 if edges else 0):
        xx, xy, yy, along_x, along_y = _LEAST_SLOPE, 0.0, _LEAST_SLOPE, 0.0, 0.0
        for i in range(edges):
            weighted_x, weighted_y = weights[i] * slopes_x[i], weights[i] * slopes_y[i]
            xx += weighted_x * slopes_x[i]
            xy += weighted_x * slopes_y[i]
            yy += weighted_y * slopes_y[i]
            along_x += weighted_x * changes[i]
            along_y += weighted_y * changes[i]
        scale = 1 / (xx * yy - xy * xy)
        right, down = (yy * along_x - xy * along_y) * scale, (xx * along_y - xy * along_x) * scale
        if turn < _TURNS:
            for i in range(edges):
                misfit = changes[i] - right * slopes_x[i] - down * slopes_y[i]
                squares[i] = misfit * misfit
            usual = max(_TOLERATED * np.median(squares), _LEAST_MISFIT)
            for i in range(edges):
                weights[i] = 1 / (1 + squares[i] / usual)
    right, down = min(max(right, -_FARTHEST), _FARTHEST), min(max(down, -_FARTHEST), _FARTHEST)
    return right / _SIDE, down / _SIDE


def carried(log_gain: F32Array, right: float, down: float) -> F32Array:
    """A grid of log-gains whose pattern has moved; its borders are repeated.

    Args:
        log_gain: (h, w) float32 over the whole picture.
        right: Rightwards, parts of the width.
        down: Downwards, parts of the height.

    Returns:
        A new array of the same shape, within the extremes of the one given.
    """
    height, width = log_gain.shape
    matrix = np.array([[1, 0, -right * width], [0, 1, -down * height]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(log_gain, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
