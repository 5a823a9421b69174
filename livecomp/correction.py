"""The `Correction`: what a harmonizer says about the person's colour and shading, independent of resolution.

It is small, so it can be smoothed over time as parameters, weakened by the user and applied once, at full size.
The form follows PIH (arXiv 2303.00157, section 3.1: curves and a low-frequency shading map) with three changes: a 3x3
colour matrix before the curves, monotone curves that start at identity, and a symmetric log-gain, which can brighten as
well as darken.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.errors import ContractError

__all__ = ["CURVE_NODES", "GAIN_SIZE", "MAX_LOG_GAIN", "Correction", "F32Array"]

F32Array = NDArray[np.float32]

CURVE_NODES = 32
"""Nodes of each curve; node i stands at i / (CURVE_NODES - 1), so that identity is exact at both ends."""

GAIN_SIZE = 16
"""Height and width of the log-gain grid that harmonizers give."""

MAX_LOG_GAIN = 1.0
"""Largest log-gain, natural logarithm: a factor between 0.37 and 2.7 on encoded values."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Colour matrix, then curves, then shading; all act on gamma-encoded sRGB in 0..1.

    ``out = clip(clip(curves)(clip(matrix @ rgb)) * exp(log_gain))``

    Args:
        matrix: (3, 3) float32, maps an RGB column vector to an RGB column vector.
        curves: (3, N) float32, N >= 2, values at the nodes ``i / (N - 1)``, linear in between; each row non-decreasing;
            values outside 0..1 count as 0 or 1.
        log_gain: (h, w) float32, natural logarithm, within ±`MAX_LOG_GAIN`; stretched over the whole picture with
            half-pixel centres and repeated borders (``cv2.INTER_LINEAR``).

    Raises:
        ContractError: A shape, dtype or range is wrong, a value is not finite, or a curve falls.
    """

    matrix: F32Array
    curves: F32Array
    log_gain: F32Array

    def __post_init__(self) -> None:
        for name, expected in (("matrix", "(3, 3)"), ("curves", "(3, N >= 2)"), ("log_gain", "(h, w)")):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != 2 or not array.size:
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise ContractError(f"Correction.{name}: expected float32 {expected}, received {got}")
            if not np.isfinite(array).all():
                raise ContractError(f"Correction.{name}: expected finite values, received {array}")
            array.flags.writeable = False
        if self.matrix.shape != (3, 3):
            raise ContractError(f"Correction.matrix: expected (3, 3), received {self.matrix.shape}")
        if self.curves.shape[0] != 3 or self.curves.shape[1] < 2:
            raise ContractError(f"Correction.curves: expected (3, N >= 2), received {self.curves.shape}")
        fall = float(np.diff(self.curves, axis=1).min())
        if fall < -1e-5:
            raise ContractError(f"Correction.curves: expected non-decreasing rows, received a step of {fall:.6f}")
        peak = float(np.abs(self.log_gain).max())
        if peak > MAX_LOG_GAIN + 1e-5:
            raise ContractError(f"Correction.log_gain: expected values within ±{MAX_LOG_GAIN}, received {peak:.3f}")

    @classmethod
    def unchecked(cls, matrix: F32Array, curves: F32Array, log_gain: F32Array) -> Correction:
        """One that is known to be valid, such as a mean of valid ones: for every frame of a call, the checks cost.

        The arrays are made read-only.
        """
        correction = object.__new__(cls)
        for name, array in (("matrix", matrix), ("curves", curves), ("log_gain", log_gain)):
            array.flags.writeable = False
            object.__setattr__(correction, name, array)
        return correction

    @classmethod
    def identity(cls, nodes: int = CURVE_NODES, gain_size: int = GAIN_SIZE) -> Correction:
        """The correction that changes nothing."""
        return cls(
            matrix=np.eye(3, dtype=np.float32),
            curves=np.tile(np.linspace(0, 1, nodes, dtype=np.float32), (3, 1)),
            log_gain=np.zeros((gain_size, gain_size), np.float32),
        )

    def lerp(self, other: Correction, t: float) -> Correction:
        """The way from this correction (t = 0) to `other` (t = 1), parameter by parameter.

        Raises:
            ContractError: The two differ in curve nodes or grid size.
        """
        if self.curves.shape != other.curves.shape or self.log_gain.shape != other.log_gain.shape:
            raise ContractError(
                f"Correction.lerp: expected curves {self.curves.shape} and log_gain {self.log_gain.shape}, "
                f"received {other.curves.shape} and {other.log_gain.shape}"
            )
        a, b = np.float32(1 - t), np.float32(t)
        return Correction(
            matrix=a * self.matrix + b * other.matrix,
            curves=a * self.curves + b * other.curves,
            log_gain=a * self.log_gain + b * other.log_gain,
        )

    def with_strength(self, color: float, shading: float) -> Correction:
        """Weakened towards identity: 0 changes nothing, 1 is the whole correction.

        Args:
            color: Strength of matrix and curves, 0..1.
            shading: Strength of the log-gain, 0..1.
        """
        if color == 1 and shading == 1:
            return self
        neutral = Correction.identity(self.curves.shape[1])
        c = np.float32(color)
        return Correction(
            matrix=neutral.matrix + c * (self.matrix - neutral.matrix),
            curves=neutral.curves + c * (self.curves - neutral.curves),
            log_gain=np.float32(shading) * self.log_gain,
        )

    def apply(self, rgb: F32Array) -> F32Array:
        """The reference: correct every pixel of a picture in float, slowly and plainly.

        Args:
            rgb: (H, W, 3) float32, gamma-encoded sRGB, 0..1.

        Returns:
            A new (H, W, 3) float32 array, 0..1.
        """
        height, width = rgb.shape[:2]
        mixed = np.clip(rgb @ self.matrix.T, 0, 1)
        nodes = np.linspace(0, 1, self.curves.shape[1])
        curved = np.stack([np.interp(mixed[..., c], nodes, np.clip(self.curves[c], 0, 1)) for c in range(3)], axis=-1)
        log_gain = cv2.resize(self.log_gain, (width, height), interpolation=cv2.INTER_LINEAR)
        shaded = curved * np.exp(log_gain)[..., None]
        return np.asarray(np.clip(shaded, 0, 1), np.float32)
