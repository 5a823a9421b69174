"""Small maps of what surrounds the person's edge: the colours on either side of it, and the scene's light.

Computed on a small copy of the frame and sampled bilinearly, with half-pixel centres, where they are needed: at the
edge.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.correction import F32Array
from livecomp.frame import U8Array

__all__ = [
    "LEAST_WRAP",
    "OF_PERSON",
    "OF_ROOM",
    "SIDE_REACH",
    "WEIGHT_TOP",
    "WIDTH",
    "WRAP_REACH",
    "EdgeMaps",
    "box_side",
    "measure_edges",
    "scene_light",
    "small_size",
    "taken_pixels",
]

WIDTH = 160
"""Columns of the maps. With 240, mixed pixels differ by half a level on average, at a tenth more time."""

SIDE_REACH = 0.012
WRAP_REACH = 0.02
LEAST_WRAP = 1 / 1024

WEIGHT_TOP = 2047
"""The weight of a pure pixel, in whole numbers: 255 times it, summed by two boxes of 9 by 9, fits into 32 bits."""

_OPAQUE = np.arange(256, dtype=np.float32) / np.float32(255)
# The powers keep mixed pixels out of both means wherever there are pure ones nearby.
OF_PERSON, OF_ROOM = (np.round(opaque**4 * WEIGHT_TOP) / np.float32(WEIGHT_TOP) for opaque in (_OPAQUE, 1 - _OPAQUE))


@dataclass(frozen=True, slots=True)
class EdgeMaps:
    """Maps over the whole picture; a map that was not asked for has the shape (1, 1, 4) and holds zeros.

    Args:
        person: (h, w, 4) float32: weighted sum of the person's colours nearby, 0..255, and the sum of the weights; the
            quotient is their mean colour.
        room: (h, w, 4) float32: the same for the room.
        wrap: (h, w, 4) float32: the scene's blurred light, 0..255, and 1 minus the blurred alpha.
    """

    person: F32Array
    room: F32Array
    wrap: F32Array


def measure_edges(
    rgb: U8Array, alpha: U8Array, background: U8Array, *, decontaminate: bool, light_wrap: bool
) -> EdgeMaps:
    """Compute the maps that are asked for.

    Args:
        rgb: (H, W, 3) uint8, the frame.
        alpha: (H, W) uint8, its matte.
        background: (H, W, 3) uint8, the scene; what is computed of one that is read-only is kept for the next frame.
        decontaminate: Compute `person` and `room`.
        light_wrap: Compute `wrap`.
    """
    person, room, wrap = (np.zeros((1, 1, 4), np.float32) for _ in range(3))
    if not (decontaminate or light_wrap):
        return EdgeMaps(person, room, wrap)
    small_wh = small_size((alpha.shape[1], alpha.shape[0]))
    matte = _thin_out(alpha, small_wh)
    if decontaminate:
        colors = cv2.split(_thin_out(rgb, small_wh))
        person = _blur(_weighted(colors, cv2.LUT(matte, OF_PERSON)), SIDE_REACH)
        room = _blur(_weighted(colors, cv2.LUT(matte, OF_ROOM)), SIDE_REACH)
    if light_wrap:
        around = _blur(cv2.LUT(matte, 1 - _OPAQUE), WRAP_REACH)
        # what rounding leaves inside the person is nothing, and can be passed over
        around = np.where(around < LEAST_WRAP, np.float32(0), around)
        wrap = scene_light(background, small_wh).copy()
        wrap[..., 3] = around
    return EdgeMaps(person, room, wrap)


def small_size(size_wh: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the maps for a picture of `size_wh`."""
    width, height = size_wh
    return min(width, WIDTH), max(1, round(height * min(1.0, WIDTH / width)))


def box_side(reach: float, width: int) -> int:
    """Side in pixels of the box filters on maps of `width` pixels; `reach` is a share of the width."""
    return 2 * max(1, round(reach * width)) + 1


class _SceneLight:
    """The blurred scene of the frame before; a picture stays the same for a whole call."""

    def __init__(self) -> None:
        self._known: tuple[weakref.ref[U8Array], F32Array] | None = None

    def find(self, background: U8Array, size_wh: tuple[int, int]) -> F32Array:
        known = self._known
        if known is not None and known[0]() is background:
            return known[1]
        small = np.zeros((size_wh[1], size_wh[0], 4), np.float32)
        small[..., :3] = _thin_out(background, size_wh)
        light = _blur(small, WRAP_REACH)
        self._known = None if background.flags.writeable else (weakref.ref(background), light)
        return light


_scene_light = _SceneLight()


def scene_light(background: U8Array, size_wh: tuple[int, int]) -> F32Array:
    """The blurred scene: (h, w, 4) float32, 0..255, the fourth value 0.

    Args:
        background: (H, W, 3) uint8, the scene; what is computed of one that is read-only is kept for the next frame.
        size_wh: Width and height of the maps, as `small_size` says.
    """
    return _scene_light.find(background, size_wh)


@cache
def taken_pixels(length: int, wanted: int) -> NDArray[np.int32]:
    """Which pixels of a row of `length` are taken for one of `wanted` pixels: (wanted,) int32, read-only."""
    row = np.arange(length, dtype=np.float32)[None]
    taken = np.asarray(cv2.resize(row, (wanted, 1), interpolation=cv2.INTER_NEAREST)[0], np.int32)
    taken.flags.writeable = False
    return taken


def _thin_out(picture: U8Array, size_wh: tuple[int, int]) -> U8Array:
    """Every n-th pixel: colours stay paired with their own alpha, and the blur that follows averages over dozens."""
    return np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_NEAREST), np.uint8)


def _weighted(colors: Sequence[cv2.typing.MatLike], weight: cv2.typing.MatLike) -> F32Array:
    """(h, w, 4): colours times weight, and weight. OpenCV's filters are twice as fast on 4 channels as on 8."""
    planes = [cv2.multiply(color, weight, dtype=cv2.CV_32F) for color in colors]
    return np.asarray(cv2.merge([*planes, weight]), np.float32)


def _blur(stack: cv2.typing.MatLike, reach: float) -> F32Array:
    """Two box filters in a row, close to a Gaussian; `reach` is a share of the width, borders are repeated."""
    side = box_side(reach, stack.shape[1])
    for _ in range(2):
        stack = cv2.blur(stack, (side, side), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(stack, np.float32)
