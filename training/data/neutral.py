"""Scenes as they would look in neutral light, so that the person before them has a light to be judged by.

A pair with another scene takes the person as photographed for the truth. Over a sunset, a night or a green forest that
truth would say: whatever the light there, change nothing. So such scenes are first brought to the light of portraits.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.edits import encoded_light, linear_light

__all__ = ["DARK", "DIM", "neutralise"]

U8 = NDArray[np.uint8]

NORM = 6
"""Of the mean that is taken for the colour of the light: shades of grey (Finlayson and Trezzi, CIC 2004)."""

MAX_STOPS = 1.5
"""Largest change of a channel."""

DARK, DIM = 0.25, 0.5
"""A scene whose mean encoded luma is below `DARK` is brought to a draw between the two."""


def neutralise(rgb: U8, strength: float, luma: float) -> U8:
    """Take out the colour of the light, and the night.

    Args:
        rgb: (H, W, 3) uint8, encoded sRGB.
        strength: How much of the colour is taken out, 0..1.
        luma: Mean encoded luma, 0..1, to which a dark scene is brought; with `DARK` or less none is.

    Returns:
        A new picture of the same kind.
    """
    linear = linear_light(rgb.astype(np.float32) / np.float32(255))
    light = np.maximum((linear.astype(np.float64) ** NORM).mean((0, 1)) ** (1 / NORM), 1e-4)
    stops = np.clip(strength * np.log2(light.mean() / light), -MAX_STOPS, MAX_STOPS)
    encoded = encoded_light(np.clip(linear * np.float32(2**stops), 0, 1))
    mean = float(cv2.cvtColor(encoded, cv2.COLOR_RGB2GRAY).mean())
    if 0 < mean < DARK < luma:
        # an exponent keeps black black and white white, and the mean near what is asked for
        encoded = encoded ** np.float32(np.log(luma) / np.log(mean))
    return np.rint(encoded * 255).astype(np.uint8)
