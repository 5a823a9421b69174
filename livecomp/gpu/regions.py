"""Which pixels of a matte may be sure to be the person: what `HazeRemover` finds by looking at whole regions.

A graph cannot tell one region from another. So each frame's regions are found here, while nobody waits, and the next
frame is told where sure pixels may be: near the large regions of this one. A region far from them that becomes large
comes one frame later than on the CPU, and one that becomes too small goes one frame later. So it is with regions in
which somebody is found, or nobody any more.
"""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.correction import F32Array
from livecomp.frame import U8Array
from livecomp.segment.haze import Keep, large_regions, soft_reach, sure_above

__all__ = ["Regions"]

_NEVER = np.float32(2)
"""An alpha that no pixel reaches."""

_DROPPED_REACH = 2
"""How far around a region that was dropped its pixels of the next frame may lie, in pixels of the matte."""


class Regions:
    """Remembers what was sure in the frame before."""

    def __init__(self) -> None:
        self._sure: U8Array | None = None
        self._fed: F32Array | None = None

    @property
    def is_new(self) -> bool:
        """Whether nothing is known of earlier frames."""
        return self._sure is None

    def sure_above(self, shape: tuple[int, int]) -> F32Array:
        """The alpha above which pixels of the next frame are sure: (h, w) float32, over 1 where none may be."""
        return np.full(shape, sure_above(None), np.float32) if self._fed is None else self._fed

    def update(self, steadied: F32Array, keep: Keep | None = None) -> None:
        """Find the regions of a frame.

        Args:
            steadied: (h, w) float32, 0..1; left as it is.
            keep: Says which of them may stay; None for all.
        """
        sure = (steadied > sure_above(self._sure)).astype(np.uint8)
        self._sure = _kept(sure, keep)
        self._fed = _limited(sure_above(self._sure), sure, self._sure, is_known=keep is not None)

    def updated(self, steadied: F32Array, keep: Keep | None = None) -> F32Array:
        """What `sure_above` should have been for this very frame, the first one: (h, w) float32."""
        above = np.full(steadied.shape, sure_above(None), np.float32)
        sure = (steadied > above).astype(np.uint8)
        return _limited(above, sure, _kept(sure, keep), is_known=keep is not None)

    def reset(self) -> None:
        """Forget earlier frames."""
        self._sure = self._fed = None


def _kept(sure: U8Array, keep: Keep | None) -> U8Array:
    return large_regions(sure if keep is None else keep(sure))


def _limited(above: F32Array, sure: U8Array, large: U8Array, *, is_known: bool) -> F32Array:
    """`above`, but out of reach around regions that were dropped and far from large ones.

    Args:
        above: (h, w) float32.
        sure: (h, w) uint8, all regions.
        large: (h, w) uint8, those that stay.
        is_known: Whether regions have to be seen before they are shown, even if there are no others.
    """
    if is_known or large.any():
        # somebody who moves faster is seen as far as soft edges reach, twice as far, and whole a frame later
        reach = max(1, soft_reach(large.shape[1])[0] // 2)
        near = cv2.dilate(large, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        above = np.where(near > 0, above, _NEVER)
    dropped = cv2.subtract(sure, large)
    if dropped.any():
        side = 2 * _DROPPED_REACH + 1
        around = cv2.dilate(dropped, np.ones((side, side), np.uint8))
        above = np.where((around > 0) & (large == 0), _NEVER, above)
    return above.astype(np.float32, copy=False)
