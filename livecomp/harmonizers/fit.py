"""Express colour transfers as Corrections: an affine map exactly, any other map by least squares."""

from __future__ import annotations

import numpy as np

from livecomp.correction import CURVE_NODES, GAIN_SIZE, Correction, F32Array

__all__ = ["correction_from_affine", "correction_from_pairs"]

_RIDGE = 1e-3
_SMOOTHNESS = 1e-2


def correction_from_affine(linear: F32Array, offset: F32Array, colors: F32Array) -> Correction:
    """The correction ``rgb -> linear @ rgb + offset``, exact inside 0..1 for the given colours, but for two things.

    A `Correction` has no offset and clips between matrix and curves; so each row of the matrix is scaled down until the
    colours fit, and the curve scales up again and adds the offset. A channel that is below 0 before the offset is added
    counts as 0, as in a few saturated colours, and a curve that meets 0 or 1 between two nodes is a little off there.

    Args:
        linear: (3, 3) float32.
        offset: (3,) float32.
        colors: (N, 3) float32, 0..1, the colours that it will be applied to.
    """
    scale = np.maximum((colors @ linear.T).max(axis=0), np.float32(0.05))
    nodes = np.linspace(0, 1, CURVE_NODES, dtype=np.float32)
    curves = np.clip(nodes * scale[:, None] + offset[:, None], 0, 1)
    return Correction(
        matrix=(linear / scale[:, None]).astype(np.float32),
        curves=curves.astype(np.float32),
        log_gain=np.zeros((GAIN_SIZE, GAIN_SIZE), np.float32),
    )


def correction_from_pairs(colors: F32Array, targets: F32Array, weights: F32Array) -> Correction:
    """The matrix and curves that lead from some colours to others, in the least-squares sense.

    First the affine map, drawn slightly to the identity; then, channel by channel, the curve on top of it, drawn to a
    smooth one and made monotone.

    Args:
        colors: (N, 3) float32, 0..1.
        targets: (N, 3) float32, 0..1.
        weights: (N,) float32, not negative, of positive sum.
    """
    root = np.sqrt(weights / weights.sum())[:, None]
    inputs = np.hstack([colors, np.ones((len(colors), 1), np.float32)]) * root
    change = (targets - colors) * root
    normal = inputs.T @ inputs + np.diag(np.array([_RIDGE] * 3 + [0], np.float32))
    affine = np.linalg.solve(normal, inputs.T @ change)
    rough = correction_from_affine((affine[:3].T + np.eye(3)).astype(np.float32), affine[3].astype(np.float32), colors)
    mixed = np.clip(colors @ rough.matrix.T, 0, 1)
    curves = [_fit_curve(mixed[:, c], targets[:, c], weights, rough.curves[c]) for c in range(3)]
    return Correction(rough.matrix, np.asarray(curves, np.float32), rough.log_gain)


def _fit_curve(values: F32Array, targets: F32Array, weights: F32Array, start: F32Array) -> F32Array:
    """Nodes of a piecewise-linear curve near `start`: weighted least squares with a penalty on bends of the change."""
    count = len(start)
    position = values * (count - 1)
    first = np.minimum(position.astype(np.intp), count - 2)
    share = position - first
    design = np.zeros((len(values), count), np.float32)
    rows = np.arange(len(values))
    design[rows, first] = 1 - share
    design[rows, first + 1] = share
    weighted = design * (weights / weights.sum())[:, None]
    bends = np.diff(np.eye(count), 2, axis=0)
    normal = weighted.T @ design + _SMOOTHNESS * bends.T @ bends + 1e-6 * np.eye(count)
    change = np.linalg.solve(normal, weighted.T @ (targets - design @ start))
    return np.clip(np.maximum.accumulate(start + change), 0, 1).astype(np.float32)
