"""Small maps of what surrounds the person's edge: the colours on either side of it, and the scene's light.

Computed on a small copy of the frame and sampled bilinearly, with half-pixel centres, where they are needed: at the
edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from livecomp.correction import F32Array
from livecomp.frame import U8Array

__all__ = ["EdgeMaps", "measure_edges"]

_WIDTH = 320
_SIDE_REACH = 0.012
_WRAP_REACH = 0.02


@dataclass(frozen=True, slots=True)
class EdgeMaps:
    """Maps over the whole picture; a map that was not asked for has the shape (1, 1, C) and holds zeros.

    Args:
        sides: (h, w, 8) float32: weighted sum of the person's colours nearby, 0..255, and the sum of the weights, then
            the same for the room. Their quotients are the mean colours of either side.
        wrap: (h, w, 4) float32: the scene's blurred light, 0..255, and 1 minus the blurred alpha.
    """

    sides: F32Array
    wrap: F32Array


def measure_edges(
    rgb: U8Array, alpha: U8Array, background: U8Array, *, decontaminate: bool, light_wrap: bool
) -> EdgeMaps:
    """Compute the maps that are asked for.

    Args:
        rgb: (H, W, 3) uint8, the frame.
        alpha: (H, W) uint8, its matte.
        background: (H, W, 3) uint8, the scene.
        decontaminate: Compute `sides`.
        light_wrap: Compute `wrap`.
    """
    sides, wrap = np.zeros((1, 1, 8), np.float32), np.zeros((1, 1, 4), np.float32)
    if not (decontaminate or light_wrap):
        return EdgeMaps(sides, wrap)
    height, width = alpha.shape
    small_wh = (min(width, _WIDTH), max(1, round(height * min(1.0, _WIDTH / width))))
    matte = _shrink(alpha, small_wh)[..., None] * np.float32(1 / 255)
    if decontaminate:
        colors = _shrink(rgb, small_wh)
        # The powers keep mixed pixels out of both means wherever there are pure ones nearby.
        person, room = matte**4, (1 - matte) ** 4
        sides = _blur(np.dstack([colors * person, person, colors * room, room]), _SIDE_REACH)
    if light_wrap:
        wrap = _blur(np.dstack([_shrink(background, small_wh), 1 - matte]), _WRAP_REACH)
    return EdgeMaps(sides, wrap)


def _shrink(picture: U8Array, size_wh: tuple[int, int]) -> F32Array:
    """Every n-th pixel: colours stay paired with their own alpha, and the blur that follows averages over dozens."""
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_NEAREST), np.float32)


def _blur(stack: F32Array, reach: float) -> F32Array:
    """Two box filters in a row, close to a Gaussian; `reach` is a share of the width, borders are repeated."""
    side = 2 * max(1, round(reach * stack.shape[1])) + 1
    for _ in range(2):
        stack = np.asarray(cv2.blur(stack, (side, side), borderType=cv2.BORDER_REPLICATE), np.float32)
    return np.ascontiguousarray(stack)
