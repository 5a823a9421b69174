"""Conversions between colour spaces; pictures are gamma-encoded sRGB everywhere else.

sRGB after IEC 61966-2-1; CIE L*a*b* with the D65 white of sRGB.
"""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.correction import F32Array

__all__ = ["encoded_from_linear", "lab_from_rgb", "linear_from_encoded", "rgb_from_lab"]


def linear_from_encoded(encoded: F32Array) -> F32Array:
    """Linear light from gamma-encoded sRGB.

    Args:
        encoded: float32 of any shape, 0..1.

    Returns:
        A new float32 array of that shape, 0..1.
    """
    low = encoded / np.float32(12.92)
    high = ((np.maximum(encoded, 0) + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(encoded <= np.float32(0.04045), low, high).astype(np.float32)


def encoded_from_linear(linear: F32Array) -> F32Array:
    """Gamma-encoded sRGB from linear light; the inverse of `linear_from_encoded`."""
    low = linear * np.float32(12.92)
    high = np.float32(1.055) * np.maximum(linear, 0) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= np.float32(0.0031308), low, high).astype(np.float32)


def lab_from_rgb(rgb: F32Array) -> F32Array:
    """L*a*b* from gamma-encoded sRGB.

    Args:
        rgb: (..., 3) float32, 0..1.

    Returns:
        (..., 3) float32: L* in 0..100, a* and b* in about -110..110.
    """
    flat = np.ascontiguousarray(rgb, np.float32).reshape(1, -1, 3)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2Lab), np.float32).reshape(rgb.shape)


def rgb_from_lab(lab: F32Array) -> F32Array:
    """Gamma-encoded sRGB from L*a*b*, clipped to 0..1; the inverse of `lab_from_rgb` inside the gamut."""
    flat = np.ascontiguousarray(lab, np.float32).reshape(1, -1, 3)
    return np.asarray(np.clip(cv2.cvtColor(flat, cv2.COLOR_Lab2RGB), 0, 1), np.float32).reshape(lab.shape)
