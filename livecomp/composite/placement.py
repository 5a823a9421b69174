"""Where the person stands in the scene: the camera's picture and its matte, scaled and moved after segmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from livecomp.correction import Correction
from livecomp.frame import Frame, U8Array, freeze

__all__ = ["AS_FILMED", "Placement"]


@dataclass(frozen=True, slots=True)
class Placement:
    """How large the person is in the scene, and where.

    The camera's picture keeps its shape. Its lower edge, where it cuts the person off, is never lifted above that of
    the scene; made larger, it keeps its upper edge, where the head is.

    Args:
        size: 1 as filmed, 0.5 half as large; above 0.
        right: How far to the right of where they were filmed, in widths of the picture; negative to the left.
        down: How far lower, in heights of the picture; negative higher.
    """

    size: float = 1.0
    right: float = 0.0
    down: float = 0.0

    @property
    def is_as_filmed(self) -> bool:
        """Whether nothing is scaled or moved."""
        return self.size == 1 and self.right == 0 and self._top == 0

    @property
    def _left(self) -> float:
        return 0.5 + self.right - self.size / 2

    @property
    def _top(self) -> float:
        return max(self.down + max(1 - self.size, 0), 1 - self.size)

    def place(self, frame: Frame) -> Frame:
        """The frame as it lies over the scene; the very same one where nothing is moved.

        Args:
            frame: With its matte.

        Returns:
            A frame of the same size. Outside of the camera's picture alpha is 0, and the colours at its border go on.

        Raises:
            MatteError: The frame has no matte.
        """
        alpha = frame.require_alpha()
        if self.is_as_filmed:
            return frame
        width, height = frame.size_wh
        columns, rows = _overlap(self._left, self.size, width), _overlap(self._top, self.size, height)
        if columns is None or rows is None:  # out of sight
            return replace(frame, alpha=freeze(np.zeros_like(alpha)))
        to_wh = (columns.end - columns.start, rows.end - rows.start)
        margins = (rows.start, height - rows.end, columns.start, width - columns.end)

        def placed(picture: U8Array, border: int) -> U8Array:
            seen = picture[rows.first : rows.last, columns.first : columns.last]
            return freeze(np.asarray(cv2.copyMakeBorder(_scaled(seen, to_wh), *margins, border, value=0), np.uint8))

        return replace(frame, rgb=placed(frame.rgb, cv2.BORDER_REPLICATE), alpha=placed(alpha, cv2.BORDER_CONSTANT))

    def as_filmed(self, correction: Correction) -> Correction:
        """What a correction of the placed frame does to the camera's picture: its shading, moved back."""
        if self.is_as_filmed:
            return correction
        rows, columns = correction.log_gain.shape
        back = np.array(
            [
                [self.size, 0, self._left * columns + (self.size - 1) / 2],
                [0, self.size, self._top * rows + (self.size - 1) / 2],
            ]
        )
        log_gain = cv2.warpAffine(
            np.array(correction.log_gain),
            back,
            (columns, rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return replace(correction, log_gain=np.asarray(log_gain, np.float32))


AS_FILMED = Placement()
"""Nothing is scaled or moved."""


@dataclass(frozen=True, slots=True)
class _Overlap:
    """Along one axis, the pixels of the scene that a scaled picture covers, and those of the picture they show."""

    start: int
    end: int
    first: int
    last: int


def _scaled(picture: U8Array, size_wh: tuple[int, int]) -> U8Array:
    """The picture at another size.

    Down to one half, where it averages four pixels, linear interpolation leaves none out; below, the picture is halved
    before. At 0.3 and 1080 lines that takes 1.3 ms, and averaging over areas of any size 8.6 ms (one thread of Zen 5).
    """
    while picture.shape[1] >= 2 * size_wh[0] and picture.shape[0] >= 2 * size_wh[1]:
        half_wh = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = np.asarray(cv2.resize(picture, half_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)


def _overlap(begin: float, size: float, length: int) -> _Overlap | None:
    """What is in sight of a picture that begins at a share of the scene's length; None where nothing is."""
    start, end = max(0, round(begin * length)), min(length, round((begin + size) * length))
    if end <= start:
        return None
    first = min(max(round((start - begin * length) / size), 0), length - 1)
    last = max(min(round((end - begin * length) / size), length), first + 1)
    return _Overlap(start, end, first, last)
