"""The picture shown in place of a frame that must not be shown."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import Composite, freeze

__all__ = ["make_slate"]

_PAPER = (36, 38, 43)
_INK = (200, 203, 210)


def make_slate(size_wh: tuple[int, int], pts_ns: int, text: str = "one moment") -> Composite:
    """A plain dark picture with a short text; made of nothing from the room.

    Args:
        size_wh: Width and height in pixels.
        pts_ns: Time of the frame it stands for, in nanoseconds.
        text: A few ASCII words; left out where the picture is too small for them.
    """
    width, height = size_wh
    rgb = np.full((height, width, 3), _PAPER, np.uint8)
    scale = height / 400
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    if text_width < width and height >= 90:
        origin = ((width - text_width) // 2, (height + text_height) // 2)
        cv2.putText(rgb, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 2, cv2.LINE_AA)
    return Composite(freeze(rgb), pts_ns, kind="slate")
