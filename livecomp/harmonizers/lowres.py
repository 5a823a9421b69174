"""The small square composite that harmonizers look at, made without ever blending at full size."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import U8Array

__all__ = ["ROUNDING", "fine_size", "make_input"]

_SAMPLES = 256
_MOST_OVERSAMPLE, _LEAST_OVERSAMPLE = 4, 2

ROUNDING = 0.5 + 1 / 1024
"""Added before a mean is rounded down. Many means are halves, and sums in float32 lie on either side of them."""


def make_input(rgb: U8Array, background: U8Array, alpha: U8Array, size: int) -> tuple[U8Array, U8Array]:
    """Squash a frame over a background into a square.

    The pictures are first thinned out to a few samples for each result pixel, blended there, and then averaged; so the
    person's colours keep their own alphas, and the work does not grow with the frame.

    Args:
        rgb: (H, W, 3) uint8 sRGB, the frame.
        background: (H, W, 3) uint8 sRGB, the scene.
        alpha: (H, W) uint8, 255 = person.
        size: Side of the square in pixels.

    Returns:
        The composite, (size, size, 3) uint8, and its alpha, (size, size) uint8.
    """
    fine_wh = fine_size((alpha.shape[1], alpha.shape[0]), size)
    person, scene, matte = (
        np.asarray(cv2.resize(picture, fine_wh, interpolation=cv2.INTER_NEAREST), np.uint8)
        for picture in (rgb, background, alpha)
    )
    weight = cv2.merge([matte, matte, matte])
    mixed = cv2.add(
        cv2.multiply(person, weight, scale=1 / 255), cv2.multiply(scene, cv2.bitwise_not(weight), scale=1 / 255)
    )
    return _averaged(np.asarray(mixed, np.uint8), size), _averaged(matte, size)


def _averaged(picture: U8Array, size: int) -> U8Array:
    """(h, w) or (h, w, 3) uint8 squashed to `size` by `size` pixels, halves rounded up."""
    square = (size, size)
    if picture.shape[:2] == (2 * size, 2 * size):  # in whole numbers, which is exact
        return np.asarray(cv2.resize(picture, square, interpolation=cv2.INTER_AREA), np.uint8)
    means = cv2.resize(picture.astype(np.float32), square, interpolation=cv2.INTER_AREA)
    return np.asarray(means + np.float32(ROUNDING), np.uint8)


def fine_size(size_wh: tuple[int, int], size: int) -> tuple[int, int]:
    """Width and height to which pictures of `size_wh` are thinned out before a square of `size` is averaged.

    Never less than `size`: what is smaller is repeated, since OpenCV's means of areas are none where a side grows.
    """
    fine = size * min(max(_SAMPLES // size, _LEAST_OVERSAMPLE), _MOST_OVERSAMPLE)
    return max(size, min(size_wh[0], fine)), max(size, min(size_wh[1], fine))
