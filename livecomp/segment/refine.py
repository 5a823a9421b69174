"""Refine a small matte to full size: its edge is moved to the edge that the colours of the picture show.

A colour guided filter whose coefficients are fitted on a small copy of the picture and applied at full size, and only
where the small matte is undecided. Levels that are folded into the coefficients pull the filter's grey haze to 0 and 1.
"""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.correction import F32Array
from livecomp.frame import U8Array, freeze
from livecomp.segment.kernels import MIXED, apply_coefficients, classify_cells, fit_coefficients
from livecomp.segment.shrink import shrink

__all__ = ["CELL", "EPS", "LEVELS", "RADIUS", "SIDE", "GuidedRefiner"]

CELL = 8
SIDE, RADIUS, EPS, LEVELS = 320, 3, 2e-3, (0.1, 0.9)
"""Defaults of the refiner.

A camera's picture has been compressed, and its colours come in blocks some levels apart. With an `EPS` of 1e-4, which
on composites is better by 2 % of SAD, by 1 % on compressed ones, the filter took those for edges: hair before a wall
of nearly its colour had an outline of blocks that moved with every frame, and the warping error of that video was 1.13
times its own instead of 1.09.
"""


class GuidedRefiner:
    """The tiled colour guided filter.

    Args:
        side: Longer side of the picture on which coefficients are fitted, in pixels; smaller pictures keep their size.
        radius: Of the filter's windows on that picture, in pixels, 1..3: an edge can move by twice as much.
        eps: Regularisation, in squared units of 0..1 colour: contrasts under its root do not guide.
        levels: Alpha that becomes 0 and alpha that becomes 1.
    """

    def __init__(
        self, side: int = SIDE, radius: int = RADIUS, eps: float = EPS, levels: tuple[float, float] = LEVELS
    ) -> None:
        self._side = side
        self._radius = radius
        self._eps = np.float32(eps)
        self._low, self._high = np.float32(levels[0]), np.float32(levels[1])

    def warm_up(self) -> None:
        """Compile the kernels, seconds the first time on a machine, or load them from numba's cache."""
        self.refine(np.zeros((2, 2), np.float32), freeze(np.zeros((2, 2, 3), np.uint8)))

    def refine(self, matte: F32Array, rgb: U8Array) -> U8Array:
        """The matte at the picture's size.

        Args:
            matte: (h, w) float32, 0..1; left as it is.
            rgb: (H, W, 3) uint8 sRGB, C-contiguous, read-only.

        Returns:
            A new (H, W) uint8 array, 255 = person.
        """
        height, width = rgb.shape[:2]
        scale = min(1.0, self._side / max(height, width))
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(matte, size_wh, interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)
        kinds = classify_cells(small, CELL, self._low, self._high)
        coefficients = np.zeros((size_wh[1], size_wh[0], 4), np.float32)
        mixed = kinds == MIXED
        if mixed.any():
            # one cell around the mixed ones is what two windows and the interpolation reach
            part = tuple(
                slice(max(0, int(cells[0]) - 1) * CELL, (int(cells[-1]) + 2) * CELL)
                for cells in (np.flatnonzero(mixed.any(axis=1)), np.flatnonzero(mixed.any(axis=0)))
            )
            guide = np.ascontiguousarray(shrink(rgb, size_wh)[part])
            matted = np.ascontiguousarray(small[part])
            coefficients[part] = fit_coefficients(guide, matted, self._radius, self._eps, self._low, self._high)
        return np.asarray(apply_coefficients(rgb, coefficients, kinds, CELL), np.uint8)
