"""The yardsticks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.baselines import BASELINES, identity, mkl, reinhard_lab, reinhard_rgb


def composite(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bluish person before a warm background, both with some spread."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 50), np.float32)
    mask[10:, 12:38] = 1
    mixing = np.array([[0.05, 0.02, 0.0], [0.0, 0.04, 0.03], [0.01, 0.0, 0.05]])
    noise = rng.normal(0, 1, (40, 50, 3)) @ mixing.T
    base = np.where(mask[..., None] > 0, (0.35, 0.4, 0.6), (0.6, 0.5, 0.4)) + noise * (1 + 0.5 * mask[..., None])
    return base.clip(0, 1).astype(np.float32), mask


def test_identity_is_a_copy() -> None:
    picture, mask = composite()
    out = identity(picture, mask)
    np.testing.assert_array_equal(out, picture)
    assert out is not picture


def test_reinhard_rgb_takes_over_mean_and_spread() -> None:
    picture, mask = composite()
    out, inside = reinhard_rgb(picture, mask), mask > 0
    np.testing.assert_allclose(out[inside].mean(0), picture[~inside].mean(0), atol=1e-3)
    np.testing.assert_allclose(out[inside].std(0), picture[~inside].std(0), atol=1e-3)


def test_reinhard_lab_does_so_in_lab() -> None:
    picture, mask = composite()
    out, inside = cv2.cvtColor(reinhard_lab(picture, mask), cv2.COLOR_RGB2LAB), mask > 0
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    np.testing.assert_allclose(out[inside].mean(0), lab[~inside].mean(0), atol=0.2)
    np.testing.assert_allclose(out[inside].std(0), lab[~inside].std(0), atol=0.2)


def test_mkl_takes_over_the_covariance_where_reinhard_does_not() -> None:
    picture, mask = composite()
    inside = mask > 0
    wanted = np.cov(picture[~inside].T)
    np.testing.assert_allclose(np.cov(mkl(picture, mask)[inside].T), wanted, atol=1e-5)
    assert np.abs(np.cov(reinhard_rgb(picture, mask)[inside].T) - wanted).max() > 1e-4


@pytest.mark.parametrize("name", list(BASELINES))
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_one_of_the_regions_nothing_changes(name: str, value: float) -> None:
    picture, mask = composite()
    out = BASELINES[name](picture, np.full_like(mask, value))
    np.testing.assert_allclose(out, picture, atol=2e-3)


@pytest.mark.parametrize("name", list(BASELINES))
def test_flat_colours_stay_finite(name: str) -> None:
    _, mask = composite()
    flat = np.where(mask[..., None] > 0, np.float32(0.2), np.float32(0.7)) * np.ones(3, np.float32)
    out = BASELINES[name](flat, mask)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1
