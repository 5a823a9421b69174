"""Colour transfer of means and spreads: Reinhard et al., "Color Transfer between Images", IEEE CG&A 2001.

In CIE L*a*b* instead of the paper's l-alpha-beta, and expressed as a Correction by least squares.
"""

from __future__ import annotations

import numpy as np

from livecomp.color import lab_from_rgb, rgb_from_lab
from livecomp.correction import Correction
from livecomp.frame import U8Array
from livecomp.harmonizers.fit import correction_from_pairs
from livecomp.harmonizers.statistics import moments, split

__all__ = ["ReinhardHarmonizer"]

_LEAST_SPREAD = np.float32(1.0)
_MOST_SCALE = np.float32(3.0)


class ReinhardHarmonizer:
    """Gives the person the mean and the spread of the scene, channel by channel in L*a*b*.

    Spreads under 1 (in units of L*a*b*) count as 1, and a channel is stretched or squeezed three times at most.
    """

    name = "reinhard"
    input_size = 64

    def open(self) -> None:
        """See `Harmonizer.open`."""

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        """See `Harmonizer.predict`."""
        regions = split(composite, alpha)
        if regions is None:
            return Correction.identity()
        lab = lab_from_rgb(regions.rgb)
        person_mean, person_covariance = moments(lab, regions.person)
        scene_mean, scene_covariance = moments(lab, regions.scene)
        person_spread = np.maximum(np.sqrt(np.diag(person_covariance)), _LEAST_SPREAD)
        scene_spread = np.maximum(np.sqrt(np.diag(scene_covariance)), _LEAST_SPREAD)
        scale = np.clip(scene_spread / person_spread, 1 / _MOST_SCALE, _MOST_SCALE)
        targets = rgb_from_lab(((lab - person_mean) * scale + scene_mean).astype(np.float32))
        return correction_from_pairs(regions.rgb, targets, regions.person)

    def close(self) -> None:
        """See `Harmonizer.close`."""
