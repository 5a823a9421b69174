"""Fitted parameters mean to the runtime what they mean here; training may not import it, tests may."""

from __future__ import annotations

import numpy as np
import pytest

from livecomp.correction import MAX_LOG_GAIN, Correction
from training import fit
from training.fit import Parameters, fit_parameters


def random_parameters(seed: int) -> Parameters:
    rng = np.random.default_rng(seed)
    curves = np.cumsum(rng.uniform(0, 2 / 31, (3, 32)), axis=1)
    return Parameters(np.eye(3) + rng.normal(0, 0.2, (3, 3)), curves, rng.uniform(-1, 1, (16, 16)))


def correction_from(parameters: Parameters) -> Correction:
    return Correction(
        parameters.matrix.astype(np.float32),
        parameters.curves.astype(np.float32),
        parameters.log_gain.astype(np.float32),
    )


@pytest.mark.parametrize("shape", [(45, 80), (256, 256), (33, 17), (8, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_apply_alike(shape: tuple[int, int], seed: int) -> None:
    rgb = np.random.default_rng(9).random((*shape, 3), np.float32)
    parameters = random_parameters(seed)
    difference = np.abs(parameters.apply(rgb) - correction_from(parameters).apply(rgb))
    assert difference.max() < 0.25 / 255


def test_bounds_are_the_same() -> None:
    assert fit.MAX_LOG_GAIN == MAX_LOG_GAIN
    identity = Correction.identity()
    assert identity.curves.shape == (3, fit.CURVE_NODES)
    assert identity.log_gain.shape == (fit.GAIN_SIZE, fit.GAIN_SIZE)


def test_the_runtime_takes_whatever_the_fit_gives() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        composite, target = rng.random((2, 40, 40, 3), np.float32)
        correction_from(fit_parameters(composite, target**3, np.ones((40, 40), np.float32)).parameters)
