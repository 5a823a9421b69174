"""A test source: a person-like shape walks before a wall of one colour, and every frame carries its number.

The wall's colour serves as a canary: it must never reach an output where nobody stands. The true matte is known.
"""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np

from livecomp.capture import SourceInfo
from livecomp.frame import Frame, U8Array, freeze

__all__ = ["ID_BITS", "SyntheticSource", "read_id"]

ID_BITS = 16
"""Bits of the frame number, drawn as black and white cells on the shape's chest."""

_SKIN = (205, 160, 135)
_SHIRT = (60, 90, 140)


class SyntheticSource:
    """Deterministic frames with known mattes.

    Args:
        size_wh: Width and height in pixels.
        fps: Frames per second.
        count: Number of frames.
        wall: RGB of the room behind the shape.
    """

    def __init__(
        self,
        size_wh: tuple[int, int] = (640, 360),
        *,
        fps: Fraction = Fraction(30),
        count: int = 90,
        wall: tuple[int, int, int] = (255, 0, 255),
    ) -> None:
        self._size_wh = size_wh
        self._fps = fps
        self._count = count
        self._wall = wall
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`."""
        return SourceInfo("synthetic", self._size_wh, self._fps, 1 / self._fps, self._count)

    def open(self) -> None:
        """See `Source.open`."""
        self._next = 0

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._next >= self._count:
            return None
        index, self._next = self._next, self._next + 1
        width, height = self._size_wh
        rgb = np.full((height, width, 3), self._wall, np.uint8)
        alpha = self.true_alpha(index)
        rgb[alpha > 0] = _SHIRT
        head, radius = self._head(index)
        cv2.circle(rgb, head, radius, _SKIN, -1)
        x, y, cell = _id_place(self._size_wh)
        for bit in range(ID_BITS):
            left = x + bit * cell
            rgb[y : y + cell, left : left + cell] = 255 if index >> bit & 1 else 0
        return Frame(freeze(rgb), round(index * 1_000_000_000 / self._fps))

    def true_alpha(self, index: int) -> U8Array:
        """The matte of frame `index`: (H, W) uint8, 0 or 255."""
        width, height = self._size_wh
        alpha = np.zeros((height, width), np.uint8)
        (x, y), radius = self._head(index)
        cv2.circle(alpha, (x, y), radius, 255, -1)
        cv2.ellipse(alpha, (x, height), (2 * radius, height - y - radius // 2), 0, 180, 360, 255, -1)
        return alpha

    def close(self) -> None:
        """See `Source.close`."""

    def _head(self, index: int) -> tuple[tuple[int, int], int]:
        width, height = self._size_wh
        phase = 2 * np.pi * index / 60
        radius = max(1, height // 6)
        return (round(width * 0.5 + 0.75 * radius * np.sin(phase)), round(height * 0.32)), radius


def read_id(rgb: U8Array) -> int:
    """The number that `SyntheticSource` drew into a frame; it survives compositing, since the shape always covers it.

    Args:
        rgb: (H, W, 3) uint8, at the source's own size.
    """
    height, width = rgb.shape[:2]
    x, y, cell = _id_place((width, height))
    middle = y + cell // 2
    return sum(1 << bit for bit in range(ID_BITS) if rgb[middle, x + bit * cell + cell // 2].mean() > 127)


def _id_place(size_wh: tuple[int, int]) -> tuple[int, int, int]:
    """Left and top of the first cell, and the side of a cell, in pixels."""
    cell = max(1, size_wh[1] // 60)
    return size_wh[0] // 2 - ID_BITS * cell // 2, round(size_wh[1] * 0.75), cell
