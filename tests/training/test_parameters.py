"""Parameters as plain arrays, and that they mean to the runtime what they mean here."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.correction import MAX_LOG_GAIN, Correction
from training import parameters as plain
from training.fit import fit_parameters
from training.parameters import Parameters


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


def test_apply_by_hand() -> None:
    log_gain = np.full((16, 16), np.log(0.5))
    matrix = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 2.0]])
    curves = np.tile(np.linspace(0, 1, 32) ** 2, (3, 1))
    out = Parameters(matrix, curves, log_gain).apply(np.full((2, 3, 3), (1.0, 12 / 31, 0.7), np.float32))
    np.testing.assert_allclose(out[1, 2], [(12 / 31) ** 2 / 2, 0.5, 0.5], atol=1e-6)


def test_gain_is_stretched_as_opencv_does() -> None:
    log_gain = np.random.default_rng(0).uniform(-1, 0, (16, 16))
    identity = Parameters.identity()
    out = Parameters(identity.matrix, identity.curves, log_gain).apply(np.full((72, 96, 3), 0.5, np.float32))
    expected = 0.5 * np.exp(cv2.resize(log_gain, (96, 72), interpolation=cv2.INTER_LINEAR))
    np.testing.assert_allclose(out[..., 1], expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(45, 80), (256, 256), (33, 17), (8, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_apply_alike(shape: tuple[int, int], seed: int) -> None:
    rgb = np.random.default_rng(9).random((*shape, 3), np.float32)
    parameters = random_parameters(seed)
    difference = np.abs(parameters.apply(rgb) - correction_from(parameters).apply(rgb))
    assert difference.max() < 0.25 / 255


def test_bounds_are_the_same() -> None:
    assert plain.MAX_LOG_GAIN == MAX_LOG_GAIN
    identity = Correction.identity()
    assert identity.curves.shape == (3, plain.CURVE_NODES)
    assert identity.log_gain.shape == (plain.GAIN_SIZE, plain.GAIN_SIZE)


def test_the_runtime_takes_whatever_the_fit_gives() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        composite, target = rng.random((2, 40, 40, 3), np.float32)
        correction_from(fit_parameters(composite, target**3, np.ones((40, 40), np.float32)).parameters)
