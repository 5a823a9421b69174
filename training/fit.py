"""Least-squares fit of matrix, curves and gain to a pair of pictures.

It turns a network with dense output, PHNet, into the parameters that can be smoothed over time and applied at full
size, and it gives the oracle: the best that any predictor of such parameters can reach. The form is that of the
runtime, ``clip(clip(curves)(clip(matrix @ rgb)) * exp(log_gain))`` on gamma-encoded sRGB, curves with node i at i / 31,
the gain stretched bilinearly with half-pixel centres.

Colour and gain are fitted in turn. For colour, each channel is one non-negative least-squares problem in the increments
of its curve, which therefore is monotone, together with a damped Gauss-Newton step of its row of the matrix. For the
gain, a Gauss-Newton step is one sparse system over its grid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from training.parameters import GAIN_SIZE, MAX_LOG_GAIN, Parameters, positions

__all__ = ["Fit", "FitOptions", "fit_parameters"]

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]
IntArray = NDArray[np.intp]

START_DAMPING = 1e-3
"""Levenberg-Marquardt damping of the matrix; lowered after each round that helps, raised after one that does not."""

MIN_PIXELS = 16
"""Fewer foreground pixels than this are no basis for a fit: the identity is returned."""


@dataclass(frozen=True)
class FitOptions:
    """How the fit is done. Weights are relative to the mean squared error on 0..1.

    Args:
        max_pixels: Foreground pixels used at most, on a regular raster.
        rounds: Times that the three parts are fitted in turn.
        use_matrix: Whether the matrix is fitted, or stays the identity.
        use_curves: Likewise.
        use_gain: Likewise.
        matrix_ridge: Pull of the matrix towards its start.
        curve_smoothness: Weight of the squared second differences of the node values.
        curve_ridge: Pull of the node values towards the identity.
        gain_smoothness: Weight of the squared differences of neighbouring log-gains.
        gain_ridge: Pull of the log-gains towards zero.
    """

    max_pixels: int = 12_000
    rounds: int = 8
    use_matrix: bool = True
    use_curves: bool = True
    use_gain: bool = True
    matrix_ridge: float = 1e-5
    curve_smoothness: float = 2e-4
    curve_ridge: float = 1e-6
    gain_smoothness: float = 2e-6
    gain_ridge: float = 1e-7


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found, and what the form loses: distances between fit and target, in the foreground.

    Args:
        parameters: The correction.
        fmse: ``Σ M·d² / (3·ΣM)`` on 0..255, over the pixels used.
        psnr: From `fmse`, peak 255, dB; infinite when nothing is lost.
        pixels: Foreground pixels used.
    """

    parameters: Parameters
    fmse: float
    psnr: float
    pixels: int


@dataclass(frozen=True, eq=False)
class _Samples:
    """Foreground pixels: colours (n, 3) of both pictures, weights (n,) of sum 1, and the four gain cells around."""

    source: F64Array
    target: F64Array
    weight: F64Array
    cells: IntArray
    shares: F64Array


def _sample(composite: F32Array, target: F32Array, mask: F32Array, max_pixels: int) -> _Samples:
    height, width = mask.shape
    step = max(1, int(np.ceil(np.sqrt(np.count_nonzero(mask > 0.5) / max_pixels))))
    rows, columns = np.nonzero(mask[step // 2 :: step, step // 2 :: step] > 0.5)
    rows, columns = rows * step + step // 2, columns * step + step // 2
    y, x = positions(GAIN_SIZE, height)[rows], positions(GAIN_SIZE, width)[columns]
    y0, x0 = np.minimum(y.astype(np.intp), GAIN_SIZE - 2), np.minimum(x.astype(np.intp), GAIN_SIZE - 2)
    fy, fx = y - y0, x - x0
    first = y0 * GAIN_SIZE + x0
    weight = mask[rows, columns].astype(np.float64)
    return _Samples(
        source=composite[rows, columns].astype(np.float64),
        target=target[rows, columns].astype(np.float64),
        weight=weight / max(float(weight.sum()), 1e-9),
        cells=np.stack([first, first + 1, first + GAIN_SIZE, first + GAIN_SIZE + 1], axis=1),
        shares=np.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], axis=1),
    )


def _gain(samples: _Samples, log_gain: F64Array) -> F64Array:
    """(n,) factors of the samples."""
    return np.asarray(np.exp((log_gain.ravel()[samples.cells] * samples.shares).sum(1)))


def _curve(curve: F64Array, mixed: F64Array) -> tuple[F64Array, F64Array]:
    """Values (n,) and slopes (n,) of one curve; the slope is zero where the matrix leaves 0..1."""
    scaled = np.clip(mixed, 0, 1) * (len(curve) - 1)
    low = np.minimum(scaled.astype(np.intp), len(curve) - 2)
    rise = curve[low + 1] - curve[low]
    slope = rise * (len(curve) - 1) * ((mixed >= 0) & (mixed <= 1))
    return curve[low] + rise * (scaled - low), slope


def _curves(samples: _Samples, parameters: Parameters) -> tuple[F64Array, F64Array]:
    """Values and slopes (n, 3) of the samples after matrix and curves."""
    mixed = samples.source @ parameters.matrix.T
    pairs = [_curve(parameters.curves[c], mixed[:, c]) for c in range(3)]
    return np.stack([p[0] for p in pairs], axis=1), np.stack([p[1] for p in pairs], axis=1)


def _live(output: F64Array, target: F64Array) -> F64Array:
    """1 where the error counts; 0 where output and target are both at or beyond the same end of the range."""
    return (~(((output >= 1) & (target >= 1)) | ((output <= 0) & (target <= 0)))).astype(np.float64)


def _error(samples: _Samples, parameters: Parameters) -> float:
    """Weighted mean squared error of the fit, 0..1."""
    curved, _ = _curves(samples, parameters)
    output = np.clip(curved * _gain(samples, parameters.log_gain)[:, None], 0, 1)
    return float((np.square(output - samples.target).mean(1) * samples.weight).sum())


def _hat_products(low: IntArray, high: F64Array, values: F64Array, nodes: int) -> F64Array:
    """(nodes,) sums of `values` over the samples, shared between the two nodes each lies between."""
    sums = np.zeros(nodes)
    sums[:-1] += np.bincount(low, values * (1 - high), nodes - 1)
    sums[1:] += np.bincount(low, values * high, nodes - 1)
    return sums


def _hat_squares(low: IntArray, high: F64Array, values: F64Array, nodes: int) -> F64Array:
    """(nodes, nodes) tridiagonal Gram matrix of the nodes' hat functions, weighted by `values`."""
    square = np.zeros((nodes, nodes))
    index = np.arange(nodes - 1)
    cross = np.bincount(low, values * high * (1 - high), nodes - 1)
    square[index, index] += np.bincount(low, values * (1 - high) ** 2, nodes - 1)
    square[index + 1, index + 1] += np.bincount(low, values * high**2, nodes - 1)
    square[index, index + 1] += cross
    square[index + 1, index] += cross
    return square


def _fit_matrix(samples: _Samples, parameters: Parameters, damping: float) -> Parameters:
    """One Gauss-Newton step for each row, the curves held."""
    curved, slope = _curves(samples, parameters)
    gain = _gain(samples, parameters.log_gain)[:, None]
    residual = samples.target - curved * gain
    live = _live(curved * gain, samples.target)
    matrix = parameters.matrix.copy()
    for c in range(3):
        jacobian = samples.source * (slope[:, c : c + 1] * gain)
        weighted = jacobian * (samples.weight * live[:, c])[:, None]
        left = weighted.T @ jacobian + damping * np.eye(3)
        matrix[c] += np.linalg.solve(left, weighted.T @ residual[:, c])
    return replace(parameters, matrix=matrix)


def _fit_color(samples: _Samples, parameters: Parameters, options: FitOptions, damping: float) -> Parameters:
    """The best non-decreasing curves, and with them one Gauss-Newton step of the matrix.

    Together, since one can undo much of the other: in turn they would need many more rounds. The unknowns of a channel
    are how far its curve ends below 1 and falls from node to node towards 0, none of them negative, and the change of
    its row, as a difference of two non-negative numbers each.
    """
    nodes = parameters.curves.shape[1]
    second = np.diff(np.eye(nodes), n=2, axis=0)
    prior = options.curve_smoothness * second.T @ second + options.curve_ridge * np.eye(nodes)
    identity = np.linspace(0, 1, nodes)
    rows = 3 if options.use_matrix else 0
    # unknowns (change of row: up, down; falls) to (change of row, node values minus 1)
    unfold = np.zeros((rows + nodes, 2 * rows + nodes))
    unfold[:rows, :rows], unfold[:rows, rows : 2 * rows] = np.eye(rows), -np.eye(rows)
    unfold[rows:, 2 * rows :] = -np.triu(np.ones((nodes, nodes)))
    start = np.concatenate([np.zeros(rows), np.ones(nodes)])

    gain = _gain(samples, parameters.log_gain)
    mixed = samples.source @ parameters.matrix.T
    scaled = np.clip(mixed, 0, 1) * (nodes - 1)
    curved, slope = _curves(samples, parameters)
    live = _live(curved * gain[:, None], samples.target)
    matrix, curves = parameters.matrix.copy(), parameters.curves.copy()
    for c in range(3):
        low = np.minimum(scaled[:, c].astype(np.intp), nodes - 2)
        high = scaled[:, c] - low
        weight = samples.weight * live[:, c]
        left = np.zeros((rows + nodes, rows + nodes))
        right = np.zeros(rows + nodes)
        left[rows:, rows:] = prior + _hat_squares(low, high, weight * gain * gain, nodes)
        right[rows:] = prior @ identity + _hat_products(low, high, weight * gain * samples.target[:, c], nodes)
        if rows:
            jacobian = samples.source * (slope[:, c] * gain)[:, None]
            weighted = jacobian * weight[:, None]
            left[:3, :3] = weighted.T @ jacobian + damping * np.eye(3)
            right[:3] = weighted.T @ samples.target[:, c]
            for k in range(3):
                left[k, 3:] = left[3:, k] = _hat_products(low, high, weighted[:, k] * gain, nodes)
        factor = np.linalg.cholesky(left)
        unknown, _ = nnls(factor.T @ unfold, np.linalg.solve(factor, right) - factor.T @ start)
        solved = start + unfold @ unknown
        matrix[c] += solved[:rows] if rows else 0
        curves[c] = np.clip(solved[rows:], 0, 1)
    return replace(parameters, matrix=matrix, curves=curves)


def _gain_system(options: FitOptions) -> F64Array:
    """Quadratic form of the priors on the log-gain: neighbouring cells alike, and near zero."""
    difference = np.diff(np.eye(GAIN_SIZE), axis=0)
    line = difference.T @ difference
    plane = np.kron(line, np.eye(GAIN_SIZE)) + np.kron(np.eye(GAIN_SIZE), line)
    return options.gain_smoothness * plane + options.gain_ridge * np.eye(GAIN_SIZE**2)


def _fit_gain(samples: _Samples, parameters: Parameters, prior: F64Array) -> Parameters:
    """One Gauss-Newton step for the log-gain of all cells, then the bound."""
    size = GAIN_SIZE**2
    curved, _ = _curves(samples, parameters)
    output = curved * _gain(samples, parameters.log_gain)[:, None]
    counted = output * _live(output, samples.target)
    square = samples.weight * (counted * output).sum(1)
    product = samples.weight * (counted * (samples.target - output)).sum(1)
    left = prior.ravel().copy()
    right = -prior @ parameters.log_gain.ravel()
    for a in range(4):
        right += np.bincount(samples.cells[:, a], product * samples.shares[:, a], size)
        for b in range(4):
            pair = samples.cells[:, a] * size + samples.cells[:, b]
            left += np.bincount(pair, square * samples.shares[:, a] * samples.shares[:, b], size * size)
    step = np.linalg.solve(left.reshape(size, size), right).reshape(GAIN_SIZE, GAIN_SIZE)
    return replace(parameters, log_gain=np.clip(parameters.log_gain + step, -MAX_LOG_GAIN, MAX_LOG_GAIN))


def _start_matrix(samples: _Samples, ridge: float) -> F64Array:
    """Linear least squares over pixels away from the ends of the range, towards the identity where they say little."""
    inside = ((samples.source > 0.02) & (samples.source < 0.98)).all(1) & (samples.target < 0.99).all(1)
    weighted = samples.source * (samples.weight * inside)[:, None]
    left = weighted.T @ samples.source + ridge * np.eye(3)
    right = weighted.T @ samples.target + ridge * np.eye(3)
    return np.asarray(np.linalg.solve(left, right).T, np.float64)


def fit_parameters(composite: F32Array, target: F32Array, mask: F32Array, options: FitOptions | None = None) -> Fit:
    """The correction that brings the foreground of `composite` closest to `target`.

    Deterministic. A round is kept only if it lowers the error, so more rounds never make it worse.

    Args:
        composite: (H, W, 3) float32, encoded sRGB, 0..1.
        target: Like `composite`.
        mask: (H, W) float32, 0..1; pixels above one half are used, weighted by it.
        options: Defaults when None.

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    options = options or FitOptions()
    if composite.ndim != 3 or composite.shape[2] != 3 or target.shape != composite.shape:
        raise ValueError(f"fit: expected two (H, W, 3) pictures, received {composite.shape} and {target.shape}")
    if mask.shape != composite.shape[:2]:
        raise ValueError(f"fit: expected a mask {composite.shape[:2]}, received {mask.shape}")
    if not (np.isfinite(composite).all() and np.isfinite(target).all() and np.isfinite(mask).all()):
        raise ValueError("fit: expected finite values, received NaN or infinity")
    samples = _sample(composite, target, mask, options.max_pixels)
    best = Parameters.identity()
    if len(samples.weight) < MIN_PIXELS:
        return Fit(best, float("nan"), float("nan"), len(samples.weight))
    least = _error(samples, best)
    current = best
    if options.use_matrix:
        current = replace(current, matrix=_start_matrix(samples, options.matrix_ridge))
    gain_prior = _gain_system(options)
    damping = START_DAMPING
    for _ in range(options.rounds):
        try:
            if options.use_curves:
                current = _fit_color(samples, current, options, damping)
            elif options.use_matrix:
                current = _fit_matrix(samples, current, damping)
            if options.use_gain:
                current = _fit_gain(samples, current, gain_prior)
            error = _error(samples, current)
        except np.linalg.LinAlgError:  # so little damping leaves the matrix open where the person has one colour
            error = np.inf
        if error < least:
            best, least = current, error
            damping /= 4
        else:
            current = best
            damping *= 10
    fmse = least * 255**2
    return Fit(best, fmse, float(10 * np.log10(255**2 / fmse)) if fmse > 0 else float("inf"), len(samples.weight))
