"""Notice a cut: when consecutive pictures have nothing to do with one another, filters must start anew."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import U8Array

__all__ = ["CutDetector"]

_SIDE = 16


class CutDetector:
    """Compares small thumbnails of consecutive pictures.

    Two measures must agree, so that neither motion nor a lamp that is switched on counts as a cut: the mean absolute
    difference of the thumbnails, and their correlation after removing mean and spread.

    Args:
        difference: Mean absolute difference that a cut exceeds, in 8-bit levels.
        correlation: Correlation that a cut stays under, -1..1.
    """

    def __init__(self, difference: float = 24.0, correlation: float = 0.5) -> None:
        self._difference = difference
        self._correlation = correlation
        self._previous: np.ndarray[tuple[int, int, int], np.dtype[np.float32]] | None = None

    def is_cut(self, rgb: U8Array) -> bool:
        """Whether `rgb`, (H, W, 3) uint8, starts a new scene; False for the first picture."""
        small = rgb[:: max(1, rgb.shape[0] // 64), :: max(1, rgb.shape[1] // 64)]
        thumbnail = cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        previous, self._previous = self._previous, thumbnail
        if previous is None or float(np.abs(thumbnail - previous).mean()) <= self._difference:
            return False
        a, b = thumbnail - thumbnail.mean(), previous - previous.mean()
        spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
        return spread < 1e-6 or float((a * b).sum()) / spread < self._correlation

    def reset(self) -> None:
        """Forget the picture before."""
        self._previous = None
