"""Weighted colour statistics of the person and of the scene around them, which the classical transfers need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from livecomp.correction import F32Array
from livecomp.frame import U8Array

__all__ = ["Regions", "moments", "split"]

_LEAST_PIXELS = 8.0


@dataclass(frozen=True, slots=True)
class Regions:
    """The pixels of a small composite, once as a list, with the weight each has as person and as scene.

    Args:
        rgb: (N, 3) float32, 0..1.
        person: (N,) float32, 0..1.
        scene: (N,) float32, 0..1.
    """

    rgb: F32Array
    person: F32Array
    scene: F32Array


def split(composite: U8Array, alpha: U8Array) -> Regions | None:
    """Weigh the pixels; None when there is no person or no scene to speak of.

    Args:
        composite: (S, S, 3) uint8 sRGB.
        alpha: (S, S) uint8, 255 = person.
    """
    person = alpha.reshape(-1).astype(np.float32) / np.float32(255)
    scene = 1 - person
    if person.sum() < _LEAST_PIXELS or scene.sum() < _LEAST_PIXELS:
        return None
    return Regions(composite.reshape(-1, 3).astype(np.float32) / np.float32(255), person, scene)


def moments(colors: F32Array, weights: F32Array) -> tuple[F32Array, F32Array]:
    """Weighted mean (3,) and covariance (3, 3) of colours (N, 3)."""
    total = weights.sum()
    mean = (weights @ colors) / total
    centered = colors - mean
    covariance = (centered * weights[:, None]).T @ centered / total
    return mean.astype(np.float32), covariance.astype(np.float32)
