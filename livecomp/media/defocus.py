"""A scene out of focus, as a lens shows what lies far behind a person."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import U8Array, freeze

__all__ = ["defocused"]

_MOST = 0.03
"""Radius of the largest disc, as a share of the picture's height."""

_RADIUS = 2.5
"""Pixels of a radius above which a smaller picture is blurred in its place."""


def defocused(rgb: U8Array, amount: float) -> U8Array:
    """Spread each point over a disc, so that small lamps become round spots, and no brightness is lost.

    Values are squared meanwhile, which is close to light.

    Args:
        rgb: (H, W, 3) uint8 sRGB.
        amount: 0 leaves the picture as it is; at 1 the radius of the disc is 3 % of the height.

    Returns:
        (H, W, 3) uint8 sRGB, read-only; `rgb` itself where nothing is to be done.
    """
    height, width = rgb.shape[:2]
    radius = amount * _MOST * height
    if radius <= 0:
        return freeze(rgb)
    light = np.square(rgb, dtype=np.float32)
    scale = max(1.0, radius / _RADIUS)
    if scale > 1:
        radius = _RADIUS
        small_wh = (max(1, round(width / scale)), max(1, round(height / scale)))
        light = np.asarray(cv2.resize(light, small_wh, interpolation=cv2.INTER_AREA), np.float32)
    light = np.asarray(cv2.filter2D(light, -1, _disc(radius), borderType=cv2.BORDER_REPLICATE), np.float32)
    spread = cv2.convertScaleAbs(cv2.sqrt(light))
    return freeze(np.asarray(cv2.resize(spread, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8))


def _disc(radius: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The mean over a disc with a soft rim: (n, n) float32, n odd."""
    reach = int(np.ceil(radius))
    along = np.arange(-reach, reach + 1, dtype=np.float32)
    disc = np.clip(radius + 0.5 - np.hypot(along[:, None], along), 0, 1).astype(np.float32)
    return np.asarray(disc / disc.sum(), np.float32)
