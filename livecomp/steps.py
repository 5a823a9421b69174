"""Notice a step of light: a lamp that is switched on changes everything by the same factor, what moves does not."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled
from livecomp.correction import F32Array
from livecomp.frame import U8Array, flat

__all__ = ["StepDetector"]

_SIDE = 24
_PIXELS = _SIDE * _SIDE
_BLACK = 8
"""Added to each value: where there is hardly any light, noise is no change of it."""
_LOGS = np.log(np.arange(256, dtype=np.float32) + np.float32(_BLACK))
_PERSON = 220
_LEAST_PIXELS = 16
_REMEMBERED = 16
_LEAST_REMEMBERED = 4
"""Changes without which nobody knows what is usual."""

# compiled, which takes a quarter off where the caches have forgotten everything between two frames, else a third
_compiled = compiled(nogil=True, error_model="numpy")


class _Look(NamedTuple):
    """A thumbnail: logarithms of its values, (3, n), and which of its pixels are the person, (n,) bool."""

    logs: F32Array
    is_person: NDArray[np.bool_]


class StepDetector:
    """Compares small thumbnails of consecutive pictures, pixel by pixel.

    The change of light is the median of the pixels' log-ratios in the channel where it is largest. It is a step when it
    is large, when most pixels agree on it, and when it stands out of what it was of late: what moves changes some
    pixels in either direction, and a scene that flickers does so all the time. Measured on four webcam clips, changes
    stay below 0.034; a lamp gives 0.44.

    Args:
        least: Change of light, in natural logarithms of encoded values, that a step exceeds.
        spreads: Likewise, in median absolute deviations of the pixels.
        flutter: Likewise, in medians of the changes before it.
    """

    def __init__(self, least: float = 0.06, spreads: float = 2.0, flutter: float = 5.0) -> None:
        self._least = least
        self._spreads = spreads
        self._flutter = flutter
        self._previous: _Look | None = None
        self._changes: deque[float] = deque(maxlen=_REMEMBERED)

    def is_step(self, rgb: U8Array, alpha: U8Array | None = None) -> bool:
        """Whether the light is another than in the picture before; False for the first.

        Args:
            rgb: (H, W, 3) uint8, sRGB.
            alpha: (h, w) uint8, 255 = person: only the light on the person counts, where they were in both pictures. A
                recent matte will do. Without it, the whole picture counts.
        """
        previous, self._previous = self._previous, _look(rgb, alpha)
        if previous is None:
            return False
        pixels, change, spread = _compare(*previous, *self._previous)
        if pixels < _LEAST_PIXELS:
            return False
        usual = float(np.median(self._changes)) if len(self._changes) >= _LEAST_REMEMBERED else np.inf
        self._changes.append(change)
        return bool(change > max(self._least, self._spreads * spread, self._flutter * usual))

    def reset(self) -> None:
        """Forget the pictures before."""
        self._previous = None
        self._changes.clear()


def _look(rgb: U8Array, alpha: U8Array | None) -> _Look:
    look = _Look(np.empty((3, _PIXELS), np.float32), np.ones(_PIXELS, np.bool_))
    _take_logs(flat(rgb), rgb.shape[1], rgb.shape[0], _LOGS, look.logs)
    if alpha is not None:
        _find_person(flat(alpha), alpha.shape[1], alpha.shape[0], look.is_person)
    return look


@_compiled
def _take_logs(rgb: U8Array, width: int, height: int, table: F32Array, logs: F32Array) -> None:
    """Write the logarithms of a thumbnail, each of its values the mean of four samples."""
    for i in range(_PIXELS):
        y, x = 2 * (i // _SIDE), 2 * (i % _SIDE)
        upper, lower = y * height // (2 * _SIDE) * width, (y + 1) * height // (2 * _SIDE) * width
        left, right = x * width // (2 * _SIDE), (x + 1) * width // (2 * _SIDE)
        for channel in range(3):
            four = 2 + int(rgb[3 * (upper + left) + channel]) + int(rgb[3 * (upper + right) + channel])
            four += int(rgb[3 * (lower + left) + channel]) + int(rgb[3 * (lower + right) + channel])
            logs[channel, i] = table[four // 4]


@_compiled
def _find_person(alpha: U8Array, width: int, height: int, is_person: NDArray[np.bool_]) -> None:
    """Write where the mean of the same four samples of a matte is that of a person."""
    for i in range(_PIXELS):
        y, x = 2 * (i // _SIDE), 2 * (i % _SIDE)
        upper, lower = y * height // (2 * _SIDE) * width, (y + 1) * height // (2 * _SIDE) * width
        left, right = x * width // (2 * _SIDE), (x + 1) * width // (2 * _SIDE)
        four = int(alpha[upper + left]) + int(alpha[upper + right])
        is_person[i] = four + int(alpha[lower + left]) + int(alpha[lower + right]) >= 4 * _PERSON


@_compiled
def _compare(
    logs_before: F32Array, was_person: NDArray[np.bool_], logs: F32Array, is_person: NDArray[np.bool_]
) -> tuple[int, float, float]:
    """What happened to the person between two thumbnails.

    Returns:
        In how many pixels they were both times; in the channel where it is largest, the absolute median change of the
        logarithm; and the median deviation from it.
    """
    ratios = np.empty((3, _PIXELS), np.float32)
    pixels = 0
    for i in range(_PIXELS):
        if was_person[i] and is_person[i]:
            for channel in range(3):
                ratios[channel, pixels] = logs[channel, i] - logs_before[channel, i]
            pixels += 1
    change, spread = 0.0, 0.0
    if pixels:
        for channel in range(3):
            median: Any = np.median(ratios[channel, :pixels])
            if abs(median) > change:
                change, spread = abs(median), float(np.median(np.abs(ratios[channel, :pixels] - median)))
    return pixels, change, spread
