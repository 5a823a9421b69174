"""Refuse mattes that cannot be true, so that a failing model never shows the room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livecomp.correction import F32Array
from livecomp.errors import MatteError
from livecomp.frame import U8Array

__all__ = ["MatteCheck"]

_FULL = 0.97
"""Coverage from which on the room is as good as shown."""

_NEARLY_FULL = 0.75
"""Coverage that a person who comes close to the lens has passed before."""

_MAX_UNDECIDED = 0.5
"""Share of pixels between 0.1 and 0.9. On 171 portraits and four clips the selfie networks stay below 0.3."""

_MIN_SPREAD = 0.02
"""Range of values under which a matte says the same everywhere."""

_STILL = 2.0
"""Mean absolute difference of pictures, in 8-bit levels, that noise and a moving mouth stay under."""

_STATISTICS_SIDE = 256
_THUMBNAIL_SIDE = 48


class MatteCheck:
    """Judges raw mattes, one after the other, before anything is done with them.

    Refused: anything but a finite (h, w) float32 array in 0..1; the same half-transparent value everywhere; a matte
    without decided pixels; a matte that takes everything for a person when nobody was near that just before; a matte
    equal to the last to the bit though the picture is another (a stalled model). An empty matte is fine: nobody is
    there, and nothing of the room shows.

    Args:
        can_stall: Whether to refuse the same matte for another picture.
    """

    def __init__(self, *, can_stall: bool = True) -> None:
        self._can_stall = can_stall
        self._coverage = 0.0
        self._matte: F32Array | None = None
        self._thumbnail: NDArray[np.int16] | None = None
        self._has_stalled = False

    def check(self, matte: object, rgb: U8Array) -> F32Array:
        """Judge the matte of one picture.

        Args:
            matte: What the model gave.
            rgb: (H, W, 3) uint8, the picture it was given.

        Returns:
            The matte, the very same array: (h, w) float32, 0..1.

        Raises:
            MatteError: It is refused; the message says why.
        """
        valid = _check_values(matte)
        self._check_coverage(valid)
        if self._can_stall:
            self._check_fresh(valid, rgb)
        return valid

    def reset(self) -> None:
        """Forget earlier mattes, but for whether the model has stalled: it has no more sense in another scene."""
        self._coverage = 0.0

    def _check_coverage(self, matte: F32Array) -> None:
        step = tuple(max(1, side // _STATISTICS_SIDE) for side in matte.shape)
        sample = matte[:: step[0], :: step[1]]
        low, high = float(sample.min()), float(sample.max())
        if high - low < _MIN_SPREAD and low > 0.1 and high < 0.9:
            raise MatteError(f"the matte is {sample.mean():.2f} everywhere: expected a person and a background")
        undecided = float(((sample > np.float32(0.1)) & (sample < np.float32(0.9))).mean())
        if undecided > _MAX_UNDECIDED:
            raise MatteError(
                f"{undecided:.0%} of the matte is neither person nor background: expected at most {_MAX_UNDECIDED:.0%}"
            )
        # not the mean: what is almost opaque is refined to opaque, and a matte of 0.92 everywhere would show everything
        coverage = float((sample > np.float32(0.5)).mean())
        if coverage > _FULL and self._coverage < _NEARLY_FULL:
            raise MatteError(
                f"the matte takes {coverage:.0%} of the picture for a person, and {self._coverage:.0%} just before: "
                "expected a background that is seen; move away from the lens, or choose another segmentation model"
            )
        self._coverage = coverage

    def _check_fresh(self, matte: F32Array, rgb: U8Array) -> None:
        height, width = rgb.shape[:2]
        thumbnail = rgb[:: max(1, height // _THUMBNAIL_SIDE), :: max(1, width // _THUMBNAIL_SIDE), 1].astype(np.int16)
        past, first = self._matte, self._thumbnail
        if past is not None and first is not None and matte.any() and np.array_equal(matte, past):
            another = thumbnail.shape != first.shape or float(np.abs(thumbnail - first).mean()) > _STILL
            self._has_stalled = self._has_stalled or another
            if self._has_stalled:
                raise MatteError("the matte is the one of the picture before: the segmentation model has stalled")
        else:
            # of the first picture that had this matte: who moves slowly changes little from one picture to the next
            self._matte, self._thumbnail, self._has_stalled = matte.copy(), thumbnail, False


def _check_values(matte: object) -> F32Array:
    if not isinstance(matte, np.ndarray) or matte.dtype != np.float32 or matte.ndim != 2 or not matte.size:
        got = f"{matte.dtype} {matte.shape}" if isinstance(matte, np.ndarray) else type(matte).__name__
        raise MatteError(f"the segmentation model gave {got}: expected a non-empty float32 array of shape (h, w)")
    low, high = float(matte.min()), float(matte.max())
    # written so that NaN, which both min and max hand on, is refused
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise MatteError(f"the segmentation model gave values from {low} to {high}: expected finite ones in 0..1")
    return matte
