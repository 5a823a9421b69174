"""Where the person moves, seen from their mattes, so that their shading moves along and does not stay on the wall."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.correction import F32Array
from livecomp.frame import U8Array

__all__ = ["MatteMotion", "carried"]

_SAMPLES = 64
_SIDE = 32
_FARTHEST = 1.0  # cells of the small matte: what one linear step can find
_TURNS = 1
_TOLERATED = 4.0  # squared misfits, in medians, that still count by half
_LEAST_EDGE = 0.04
_LEAST_MISFIT = 4e-4  # squared; what noise does to the alpha of a small cell
_LEAST_SLOPE = 0.1  # squared slopes below which a matte has no edge to hold on to


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
        sampled = cv2.resize(alpha, (_SAMPLES, _SAMPLES), interpolation=cv2.INTER_NEAREST)
        self.area = float(cv2.mean(sampled)[0]) / 255
        small = cv2.resize(sampled, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        small = np.asarray(cv2.blur(small, (3, 3)) * np.float32(1 / 255), np.float32)
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


def _shift(before: F32Array, after: F32Array) -> tuple[float, float]:
    """The shift, rightwards and downwards in parts of the picture, that most of the outline has made."""
    between = (before + after) * np.float32(0.5)
    slope_x = (between[1:-1, 2:] - between[1:-1, :-2]).ravel() * np.float32(0.5)
    slope_y = (between[2:, 1:-1] - between[:-2, 1:-1]).ravel() * np.float32(0.5)
    change = (before - after)[1:-1, 1:-1].ravel()
    edge = np.flatnonzero(np.abs(slope_x) + np.abs(slope_y) > _LEAST_EDGE)
    if not len(edge):
        return 0.0, 0.0
    slopes, change = np.stack([slope_x[edge], slope_y[edge]]), change[edge]
    weighted, x, y = slopes, 0.0, 0.0
    for turn in range(_TURNS + 1):
        (xx, xy), (_, yy) = (weighted @ slopes.T).tolist()
        along_x, along_y = (weighted @ change).tolist()
        xx, yy = xx + _LEAST_SLOPE, yy + _LEAST_SLOPE
        scale = 1 / (xx * yy - xy * xy)
        x, y = (yy * along_x - xy * along_y) * scale, (xx * along_y - xy * along_x) * scale
        if turn < _TURNS:
            misfit = change - np.float32(x) * slopes[0] - np.float32(y) * slopes[1]
            misfit *= misfit
            usual = max(_TOLERATED * float(np.median(misfit)), _LEAST_MISFIT)
            weighted = slopes / (1 + misfit / np.float32(usual))
    return min(max(x, -_FARTHEST), _FARTHEST) / _SIDE, min(max(y, -_FARTHEST), _FARTHEST) / _SIDE


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
