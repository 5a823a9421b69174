"""Linear Monge-Kantorovich colour transfer.

Pitié and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer", CVMP 2007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livecomp.correction import Correction
from livecomp.frame import U8Array
from livecomp.harmonizers.fit import correction_from_affine
from livecomp.harmonizers.statistics import moments, split

__all__ = ["MklHarmonizer"]

F64Array = NDArray[np.float64]

_NOISE = 1e-4
_MOST_STRETCH = 3.0


class MklHarmonizer:
    """Gives the person the mean and the covariance of the scene, with the least total change of colours.

    ``T = Σp^-1/2 (Σp^1/2 Σs Σp^1/2)^1/2 Σp^-1/2``; a variance of 1e-4 is added to both sides, and no direction of the
    colour space is stretched or squeezed more than three times.
    """

    name = "mkl"
    input_size = 64

    def open(self) -> None:
        """See `Harmonizer.open`."""

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        """See `Harmonizer.predict`."""
        regions = split(composite, alpha)
        if regions is None:
            return Correction.identity()
        person_mean, person_covariance = moments(regions.rgb, regions.person)
        scene_mean, scene_covariance = moments(regions.rgb, regions.scene)
        noise: F64Array = _NOISE * np.eye(3)
        root = _power(person_covariance + noise, 0.5)
        inverse_root = _power(person_covariance + noise, -0.5)
        transfer = inverse_root @ _power(root @ (scene_covariance + noise) @ root, 0.5) @ inverse_root
        values, vectors = np.linalg.eigh((transfer + transfer.T) / 2)
        limited = (vectors * np.clip(values, 1 / _MOST_STRETCH, _MOST_STRETCH)) @ vectors.T
        offset = scene_mean - limited @ person_mean
        colors = regions.rgb[regions.person > 0]
        return correction_from_affine(limited.astype(np.float32), offset.astype(np.float32), colors)

    def close(self) -> None:
        """See `Harmonizer.close`."""


def _power(symmetric: F64Array, exponent: float) -> F64Array:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T)
