"""A Correction as one vector, in which all parameters have one measure and can be averaged together."""

from __future__ import annotations

import math

import numpy as np

from livecomp.correction import Correction, F32Array

__all__ = ["alike", "distance", "gain_part", "measure", "neutral", "stack", "unstack"]

_MATRIX = 9
_HALF, _TWO = np.float32(0.5), np.float32(2)


def alike(a: Correction, b: Correction) -> bool:
    """Whether two corrections have the same number of parameters."""
    return a.curves.shape == b.curves.shape and a.log_gain.shape == b.log_gain.shape


def stack(correction: Correction) -> F32Array:
    """All parameters, in parts of full scale: what they make of a mid tone of 0.5.

    Returns:
        (P,) float32, a new array: matrix, curves, log-gain.
    """
    return np.concatenate(
        [_HALF * correction.matrix.ravel(), correction.curves.ravel(), _HALF * correction.log_gain.ravel()]
    )


def unstack(vector: F32Array, like: Correction) -> Correction:
    """The correction of a vector.

    Args:
        vector: (P,) float32 from `stack`, or a weighted mean of such with weights that are not negative.
        like: Has the shapes wanted.
    """
    gains = vector.size - like.log_gain.size
    return Correction.unchecked(
        matrix=_TWO * vector[:_MATRIX].reshape(3, 3),
        curves=vector[_MATRIX:gains].reshape(like.curves.shape).copy(),
        log_gain=_TWO * vector[gains:].reshape(like.log_gain.shape),
    )


def gain_part(vector: F32Array, like: Correction) -> F32Array:
    """The shading in a vector, (h, w) float32, a view; half the log-gain."""
    return vector[vector.size - like.log_gain.size :].reshape(like.log_gain.shape)


def neutral(like: Correction) -> F32Array:
    """The vector of the correction that changes nothing, in the shapes of another."""
    vector = np.zeros(_MATRIX + like.curves.size + like.log_gain.size, np.float32)
    vector[:_MATRIX] = _HALF * np.eye(3, dtype=np.float32).ravel()
    vector[_MATRIX : _MATRIX + like.curves.size] = np.tile(np.linspace(0, 1, like.curves.shape[1]), 3)
    return vector


def measure(like: Correction) -> F32Array:
    """How much each parameter counts in `distance`: matrix, curves and shading one third each.

    Without it the many cells of the shading would outweigh the nine numbers of the matrix, which do most to the colour.

    Returns:
        (P,) float32, non-negative.
    """
    gains, curves = like.log_gain.size, like.curves.size
    parts = [(_MATRIX, 1 / 3), (curves, 1 / curves), (gains, 1 / gains)]
    return np.concatenate([np.full(count, share / 3, np.float32) for count, share in parts])


def distance(a: F32Array, b: F32Array, weights: F32Array) -> float:
    """How far apart two vectors are: root mean square change of mid tones, in parts of full scale.

    Args:
        a: (P,) from `stack`.
        b: Likewise.
        weights: (P,) from `measure`.
    """
    change = a - b
    return math.sqrt(float((change * weights) @ change))
