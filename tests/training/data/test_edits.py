"""Random changes stay in their bounds, and reach them."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.edits import GAIN_GRID, LUT_NODES, ToneRange, draw_gains, draw_matrices, draw_tone_curves

STILL = ToneRange(stops=(0.0, 0.0), temperature=0, tint=0, gamma=0, contrast=0, haze=0)


def test_no_change_is_the_identity() -> None:
    curves = draw_tone_curves(np.random.default_rng(0), 4, STILL)
    assert curves.shape == (4, 3, LUT_NODES)
    np.testing.assert_allclose(curves, np.broadcast_to(np.linspace(0, 1, LUT_NODES), curves.shape), atol=1e-5)


def test_exposure_acts_on_linear_light() -> None:
    curves = draw_tone_curves(np.random.default_rng(0), 1, ToneRange((-1.0, -1.0), 0, 0, 0, 0, 0))
    # half the light of encoded 0.5 (linear 0.2140) is linear 0.1070, encoded 0.3608
    assert curves[0, 0, LUT_NODES // 2] == pytest.approx(0.3608, abs=2e-3)


def test_curves_rise_and_stay_in_range() -> None:
    curves = draw_tone_curves(np.random.default_rng(1), 200, ToneRange())
    assert np.diff(curves, axis=2).min() >= -1e-6
    assert curves.min() >= 0
    assert curves.max() <= 1
    warm = curves[:, 0].mean(1) - curves[:, 2].mean(1)
    assert warm.min() < -0.1
    assert warm.max() > 0.1


def test_matrices_keep_grey() -> None:
    matrices = draw_matrices(np.random.default_rng(2), 50)
    np.testing.assert_allclose(matrices.sum(2), 1, atol=1e-5)
    assert np.abs(matrices - np.eye(3)).max() > 0.1


def test_gains_brighten_and_darken_within_the_limit() -> None:
    gains = draw_gains(np.random.default_rng(3), 200, limit=0.45)
    assert gains.shape == (200, GAIN_GRID, GAIN_GRID)
    assert np.abs(np.log(gains)).max() <= 0.45 + 1e-5
    assert gains.min() < 0.75
    assert gains.max() > 1.3
    # low frequency: neighbours differ little
    assert np.abs(np.diff(np.log(gains), axis=2)).max() < 0.25
