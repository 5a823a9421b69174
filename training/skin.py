"""Where the skin of a face probably is, and how dark it is: for scores by skin tone and for the skin-tone guard.

No face detector is used. A region counts as face skin when it lies in the upper part of the matte, well inside it, and
has a colour that skin takes in photographs; beards, sunglasses and beige shirts make errors, so groups are indicative.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["SKIN_GROUPS", "face_skin", "ita_degrees", "skin_group"]

F32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

SKIN_GROUPS = (("light", 41.0), ("intermediate", 19.0), ("tan", -10.0), ("dark", -90.0))
"""Names and lower ends of the individual typology angle in degrees, lightest first; the limits of Chardon et al. 1991
(41, 28, 10, -30) merged to four groups."""

UNKNOWN = "unknown"

HEAD_SHARE = 0.5
"""The face is looked for in this share of the matte's height, from its top."""

HUE_DEGREES = (15.0, 80.0)
"""Hue angles of L*a*b* that skin takes."""

CHROMA = (6.0, 50.0)
"""Chroma of L*a*b* that skin takes."""

LIGHTNESS = (22.0, 95.0)
"""Lightness of L*a*b* that lit skin takes in photographs."""

MIN_PIXELS = 60
"""Fewer skin pixels than this in a picture of 256² give no group."""


def face_skin(rgb: F32Array, matte: F32Array) -> BoolArray:
    """Pixels that are probably the skin of the face.

    Args:
        rgb: (H, W, 3) float32, encoded sRGB, 0..1, the photograph before any change of colour.
        matte: (H, W) float32, 1 = person.

    Returns:
        (H, W) bool.
    """
    rows = np.flatnonzero((matte > 0.5).any(1))
    region = np.zeros(matte.shape, np.bool_)
    if not len(rows):
        return region
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    region[top : top + max(1, round((bottom - top) * HEAD_SHARE))] = True
    reach = max(1, round(0.015 * min(matte.shape)))
    inner = cv2.erode(matte, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0.9
    light, a, b = np.moveaxis(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), 2, 0)
    hue, chroma = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
    colored = (hue > HUE_DEGREES[0]) & (hue < HUE_DEGREES[1]) & (chroma > CHROMA[0]) & (chroma < CHROMA[1])
    return np.asarray(region & inner & colored & (light > LIGHTNESS[0]) & (light < LIGHTNESS[1]), np.bool_)


def ita_degrees(rgb: F32Array, skin: BoolArray) -> float | None:
    """Individual typology angle ``atan((L* - 50) / b*)`` of the median skin colour; None with too few pixels."""
    if skin.sum() < MIN_PIXELS * skin.size / 256**2:
        return None
    light, _, b = np.median(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[skin], axis=0)
    return math.degrees(math.atan2(float(light) - 50, max(float(b), 1e-3)))


def skin_group(rgb: F32Array, matte: F32Array) -> str:
    """Name of the group of `SKIN_GROUPS` of the face in a photograph, or "unknown"."""
    angle = ita_degrees(rgb, face_skin(rgb, matte))
    if angle is None:
        return UNKNOWN
    return next((name for name, low in SKIN_GROUPS if angle > low), SKIN_GROUPS[-1][0])
