"""A correction as plain arrays in numpy, for fits and scores; the runtime's `Correction` in all but the checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CURVE_NODES", "GAIN_SIZE", "MAX_LOG_GAIN", "Parameters", "positions"]

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]

CURVE_NODES = 32
GAIN_SIZE = 16
MAX_LOG_GAIN = 1.0
"""Bound of the log-gain, natural logarithm, as in the runtime."""


def positions(cells: int, size: int) -> F64Array:
    """Where each of `size` pixels lies between the centres of `cells` cells, borders repeated."""
    return np.clip((np.arange(size) + 0.5) * cells / size - 0.5, 0, cells - 1)


def _stretch(cells: int, size: int) -> F64Array:
    """(size, cells) matrix of bilinear weights."""
    position = positions(cells, size)
    low = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    fraction = position - low
    weights = np.zeros((size, cells))
    weights[np.arange(size), low] = 1 - fraction
    weights[np.arange(size), np.minimum(low + 1, cells - 1)] += fraction
    return weights


@dataclass(frozen=True, eq=False)
class Parameters:
    """A correction as plain arrays.

    Args:
        matrix: (3, 3), maps an RGB column vector to an RGB column vector.
        curves: (3, N), values at i / (N - 1), non-decreasing; values outside 0..1 count as 0 or 1.
        log_gain: (h, w), natural logarithm.
    """

    matrix: F64Array
    curves: F64Array
    log_gain: F64Array

    @classmethod
    def identity(cls) -> Parameters:
        """The correction that changes nothing."""
        curves = np.tile(np.linspace(0, 1, CURVE_NODES), (3, 1))
        return cls(np.eye(3), curves, np.zeros((GAIN_SIZE, GAIN_SIZE)))

    def apply(self, rgb: F32Array) -> F32Array:
        """Correct every pixel of a picture.

        Args:
            rgb: (H, W, 3) float32, encoded sRGB, 0..1.

        Returns:
            A new (H, W, 3) float32 array, 0..1.
        """
        height, width = rgb.shape[:2]
        mixed = np.clip(rgb.reshape(-1, 3) @ self.matrix.T.astype(np.float32), 0, 1)
        nodes = np.linspace(0, 1, self.curves.shape[1])
        curves = np.clip(self.curves, 0, 1)
        curved = np.stack([np.interp(mixed[:, c], nodes, curves[c]) for c in range(3)], axis=1)
        rows = _stretch(self.log_gain.shape[0], height)
        columns = _stretch(self.log_gain.shape[1], width)
        gain = np.exp(rows @ self.log_gain @ columns.T).reshape(-1, 1)
        out: F32Array = np.clip(curved * gain, 0, 1).astype(np.float32).reshape(rgb.shape)
        return out
