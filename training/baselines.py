"""What a network has to beat: nothing at all, Reinhard's transfer in two colour spaces, the linear optimal transport.

All bring the statistics of the person to those of the background, on encoded sRGB floats 0..1. They are kept apart from
the runtime's, which apply to frames: here they are yardsticks in tables.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["BASELINES", "identity", "mkl", "reinhard_lab", "reinhard_rgb"]

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]

EPSILON = 1e-6

MIN_PIXELS = 16
"""Regions smaller than this have no statistics; the composite is returned as it is."""


def _regions(picture: F32Array, mask: F32Array) -> tuple[F64Array, F64Array] | None:
    """Pixels (n, 3) of person and background, split at one half; None when one of them is nearly empty."""
    inside = mask > 0.5
    person, background = picture[inside].astype(np.float64), picture[~inside].astype(np.float64)
    return None if min(len(person), len(background)) < MIN_PIXELS else (person, background)


def _match_moments(picture: F32Array, mask: F32Array) -> F32Array:
    """Each channel brought from the person's mean and spread to the background's."""
    regions = _regions(picture, mask)
    if regions is None:
        return picture.copy()
    person, background = regions
    scale = background.std(0) / np.maximum(person.std(0), EPSILON)
    return np.asarray((picture - person.mean(0)) * scale + background.mean(0), np.float32)


def identity(composite: F32Array, mask: F32Array) -> F32Array:
    """The composite as it is."""
    del mask
    return composite.copy()


def reinhard_rgb(composite: F32Array, mask: F32Array) -> F32Array:
    """Mean and spread of R, G and B (after Reinhard et al. 2001, whose space is lαβ).

    Args:
        composite: (H, W, 3) float32, encoded sRGB, 0..1.
        mask: (H, W) float32, 1 = person.

    Returns:
        The whole picture transformed, like `composite`; to be blended by the caller.
    """
    return np.clip(_match_moments(composite, mask), 0, 1)


def reinhard_lab(composite: F32Array, mask: F32Array) -> F32Array:
    """Mean and spread of L*, a* and b*; arguments as for `reinhard_rgb`."""
    if _regions(composite, mask) is None:
        return composite.copy()
    lab = _match_moments(np.asarray(cv2.cvtColor(composite, cv2.COLOR_RGB2LAB), np.float32), mask)
    return np.asarray(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1), np.float32)


def _root(matrix: F64Array) -> tuple[F64Array, F64Array]:
    """Square root of a symmetric positive matrix, and its inverse."""
    values, vectors = np.linalg.eigh(matrix)
    roots = np.sqrt(np.maximum(values, EPSILON))
    return vectors * roots @ vectors.T, vectors / roots @ vectors.T


def mkl(composite: F32Array, mask: F32Array) -> F32Array:
    """Linear Monge-Kantorovich transfer: the least move that gives the background's mean and covariance.

    ``A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2`` with the covariances A of the person and B of the background (Pitié and
    Kokaram 2007, eq 10). Arguments as for `reinhard_rgb`.
    """
    regions = _regions(composite, mask)
    if regions is None:
        return composite.copy()
    person, background = regions
    root, inverse = _root(np.cov(person.T))
    middle, _ = _root(root @ np.cov(background.T) @ root)
    transform = inverse @ middle @ inverse
    out = (composite - person.mean(0)) @ transform.T + background.mean(0)
    return np.asarray(np.clip(out, 0, 1), np.float32)


BASELINES: dict[str, Callable[[F32Array, F32Array], F32Array]] = {
    "composite": identity,
    "reinhard_rgb": reinhard_rgb,
    "reinhard_lab": reinhard_lab,
    "mkl": mkl,
}
"""By the name in tables; "composite" is doing nothing."""
