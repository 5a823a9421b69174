"""The small square composite that harmonizers look at, made without ever blending at full size."""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import U8Array

__all__ = ["fine_size", "make_input"]

_SAMPLES = 256
_MOST_OVERSAMPLE, _LEAST_OVERSAMPLE = 4, 2


def make_input(rgb: U8Array, background: U8Array, alpha: U8Array, size: int) -> tuple[U8Array, U8Array]:
    """Squash a frame over a background into a square.

    The pictures are first thinned out to a few samples for each result pixel, blended there, and then averaged; so the
    person's colours keep their own alphas, and the work does not grow with the frame. Of a small frame some pixels are
    taken twice: with whole numbers of samples means come out alike wherever they are computed.

    Args:
        rgb: (H, W, 3) uint8 sRGB, the frame.
        background: (H, W, 3) uint8 sRGB, the scene.
        alpha: (H, W) uint8, 255 = person.
        size: Side of the square in pixels.

    Returns:
        The composite, (size, size, 3) uint8, and its alpha, (size, size) uint8.
    """
    fine = fine_size(size)
    person, scene, matte = (
        np.asarray(cv2.resize(picture, (fine, fine), interpolation=cv2.INTER_NEAREST), np.uint8)
        for picture in (rgb, background, alpha)
    )
    weight = cv2.merge([matte, matte, matte])
    mixed = cv2.add(
        cv2.multiply(person, weight, scale=1 / 255), cv2.multiply(scene, cv2.bitwise_not(weight), scale=1 / 255)
    )
    square = (size, size)
    small = cv2.resize(mixed, square, interpolation=cv2.INTER_AREA)
    small_alpha = cv2.resize(matte, square, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), np.asarray(small_alpha, np.uint8)


def fine_size(size: int) -> int:
    """Side of the square to which pictures are thinned out before one of `size` is averaged: a multiple of it."""
    return size * min(max(_SAMPLES // size, _LEAST_OVERSAMPLE), _MOST_OVERSAMPLE)
