"""Make a picture small without aliasing, faster than OpenCV's area filter does in one step."""

from __future__ import annotations

import weakref

import cv2
import numpy as np

from livecomp.frame import U8Array

__all__ = ["shrink"]


def shrink(rgb: U8Array, size_wh: tuple[int, int]) -> U8Array:
    """Resize to `size_wh`, each side up or down as needed.

    Halves with a 2x2 mean while both sides allow it; these halves of a read-only picture are kept for the next call
    with the same picture. Then a side that is still half as long again as wanted becomes twice as long and is halved
    once more. OpenCV's area filter, with the same result within the noise of a camera, takes some six times as long.

    Args:
        rgb: (H, W, 3) uint8.
        size_wh: Width and height in pixels.

    Returns:
        (h, w, 3) uint8, a new array.
    """
    width, height = size_wh
    small, level = rgb, 0
    while small.shape[1] >= 2 * width and small.shape[0] >= 2 * height:
        level += 1
        small = _halves.find(rgb, level)
    double_wh = (
        2 * width if small.shape[1] > 1.5 * width else width,
        2 * height if small.shape[0] > 1.5 * height else height,
    )
    if double_wh != size_wh:
        small = _resize(small, double_wh)
    return _resize(small, size_wh)


class _Halves:
    """The halves, quarters and so on of one picture."""

    def __init__(self) -> None:
        self._known: tuple[weakref.ref[U8Array], list[U8Array]] | None = None

    def find(self, rgb: U8Array, level: int) -> U8Array:
        known = self._known
        halves = known[1] if known is not None and known[0]() is rgb else []
        while len(halves) < level:
            last = halves[-1] if halves else rgb
            # a new list, since another thread may look at this one
            halves = [*halves, _resize(last, ((last.shape[1] + 1) // 2, (last.shape[0] + 1) // 2))]
        if not rgb.flags.writeable:
            self._known = weakref.ref(rgb), halves
        return halves[level - 1]


_halves = _Halves()


def _resize(rgb: U8Array, size_wh: tuple[int, int]) -> U8Array:
    """A new array; to half a side it is the mean of two pixels."""
    return cv2.resize(rgb, size_wh, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
