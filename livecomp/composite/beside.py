"""Before and after in one picture, for people to judge by: the plain composite beside the harmonized one."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import Composite, U8Array, freeze

__all__ = ["beside", "beside_size"]

_GAP = 4


def beside_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of what `beside` makes of two pictures of `size_wh`."""
    return 2 * size_wh[0] + _GAP, size_wh[1]


def beside(plain: Composite, harmonized: Composite) -> Composite:
    """Two composites of one size, labelled, with a thin gap between them.

    The left one is the person pasted into the scene without any correction; the room is in neither.
    """
    width, height = plain.size_wh
    total_width, _ = beside_size(plain.size_wh)
    rgb = np.full((height, total_width, 3), 255, np.uint8)
    rgb[:, :width] = plain.rgb
    rgb[:, width + _GAP :] = harmonized.rgb
    if height >= 120:
        _label(rgb, "plain", 0)
        _label(rgb, "harmonized", width + _GAP)
    return Composite(freeze(rgb), harmonized.pts_ns, kind=harmonized.kind)


def _label(rgb: U8Array, text: str, left: int) -> None:
    scale = rgb.shape[0] / 900
    thickness = max(1, round(2 * scale))
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    # of a text with ascenders and descenders, so that all labels are equally high
    (_, height), baseline = cv2.getTextSize("hp", cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = height
    box = rgb[: height + baseline + 2 * margin, left : left + width + 2 * margin]
    box //= 3
    origin = (left + margin, margin + height)
    cv2.putText(rgb, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thickness, cv2.LINE_AA)
