"""Each colour operation against the definition it follows: Pillow's for the recipe, numpy and OpenCV for the rest."""

from __future__ import annotations

import colorsys
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from training.data import kernels, pair_kernel

ROUNDING = 1.6 / 255
"""Pillow rounds its result, and the mean or the grey picture that it blends with."""


@pytest.fixture
def picture() -> np.ndarray:
    """(24, 30, 3) uint8 with smooth and noisy parts and both extremes."""
    rng = np.random.default_rng(5)
    smooth = cv2.resize(rng.uniform(0, 255, (4, 4, 3)).astype(np.float32), (30, 24))
    rgb = np.clip(smooth + rng.normal(0, 12, smooth.shape), 3, 250).astype(np.uint8)
    rgb[0, 0], rgb[5, 5] = (0, 0, 0), (255, 255, 255)
    return rgb


def planar(rgb: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255)


def interleaved(values: np.ndarray) -> np.ndarray:
    return values.transpose(1, 2, 0)


def flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(3, -1)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.3, 1.5])
@pytest.mark.parametrize(
    ("operation", "enhancer"),
    [
        (kernels.adjust_brightness, ImageEnhance.Brightness),
        (kernels.adjust_contrast, ImageEnhance.Contrast),
        (kernels.adjust_saturation, ImageEnhance.Color),
    ],
)
def test_color_jitter_agrees_with_pillow(picture: np.ndarray, operation: Any, enhancer: Any, factor: float) -> None:
    ours = planar(picture)
    operation(flat(ours), np.float32(factor))
    theirs = np.asarray(enhancer(Image.fromarray(picture)).enhance(factor)) / 255
    assert np.abs(interleaved(ours) - theirs).max() < ROUNDING * max(1, factor)
    assert np.abs(interleaved(ours) - picture / 255).max() > 5 * ROUNDING


@pytest.mark.parametrize("shift", [-0.05, 0.0, 0.05, 0.4])
def test_hue_agrees_with_colorsys(picture: np.ndarray, shift: float) -> None:
    ours = planar(picture)
    kernels.adjust_hue(flat(ours), np.float32(shift))
    expected = []
    for r, g, b in picture.reshape(-1, 3) / 255:
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        expected.append(colorsys.hsv_to_rgb((h + shift) % 1, s, v))
    assert np.abs(interleaved(ours).reshape(-1, 3) - np.array(expected)).max() < 1e-5


def test_posterize_agrees_with_pillow(picture: np.ndarray) -> None:
    ours = planar(picture)
    kernels.posterize(ours, 6)
    theirs = np.asarray(ImageOps.posterize(Image.fromarray(picture), 6)) / 255
    np.testing.assert_allclose(interleaved(ours), theirs, atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, 1.45, 4.0])
def test_sharpness_agrees_with_pillow(picture: np.ndarray, factor: float) -> None:
    ours = planar(picture)
    kernels.adjust_sharpness(ours, np.float32(factor))
    theirs = np.asarray(ImageEnhance.Sharpness(Image.fromarray(picture)).enhance(factor)) / 255
    assert np.abs(interleaved(ours) - theirs).max() < ROUNDING * max(1, factor)


def test_autocontrast_agrees_with_pillow(picture: np.ndarray) -> None:
    dull = (picture * 0.5 + 40).astype(np.uint8)
    ours = planar(dull)
    kernels.autocontrast(flat(ours))
    theirs = np.asarray(ImageOps.autocontrast(Image.fromarray(dull))) / 255
    assert np.abs(interleaved(ours) - theirs).max() < 1.01 / 255


def test_autocontrast_leaves_a_flat_channel_alone() -> None:
    flat_picture = np.full((3, 16), 0.4, np.float32)
    kernels.autocontrast(flat_picture)
    np.testing.assert_array_equal(flat_picture, np.float32(0.4))


def test_matrix_and_lut(picture: np.ndarray) -> None:
    values = planar(picture)
    matrix = np.array([[0.9, 0.2, 0], [0, 1.1, -0.1], [0.05, 0, 0.8]], np.float32)
    expected = np.clip(np.einsum("ij,jhw->ihw", matrix, values), 0, 1)
    kernels.apply_matrix(flat(values), matrix)
    np.testing.assert_allclose(values, expected, atol=1e-6)
    nodes = np.linspace(0, 1, 9)
    lut = np.stack([nodes**0.5, nodes, nodes**2]).astype(np.float32)
    expected = np.stack([np.interp(values[c], nodes, lut[c]) for c in range(3)])
    kernels.apply_lut(flat(values), lut)
    np.testing.assert_allclose(values, expected, atol=1e-6)


def features(rgb: np.ndarray) -> np.ndarray:
    r, g, b = rgb
    return np.stack([r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, np.ones_like(r)])


def test_lights_follow_the_polynomials_and_count_what_they_clip(picture: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    maps = np.zeros((2, 3, 11), np.float32)
    maps[:, :, :3] = np.eye(3) * np.array([1.3, 1.25])[:, None, None]
    maps[:, :, 3:9] = rng.normal(0, 2e-4, (2, 3, 6))
    maps[:, :, 9] = rng.normal(0, 1e-6, (2, 3))
    maps[:, :, 10] = [[-5.0], [12.0]]
    source = flat(planar(picture)).copy()
    into = np.empty_like(source)
    clipped = kernels.apply_lights(source, into, maps[0], maps[1])
    standard = np.clip(maps[0].astype(np.float64) @ features(source.astype(np.float64) * 255), 0, 255)
    raw = maps[1].astype(np.float64) @ features(standard) / 255
    np.testing.assert_allclose(into, np.clip(raw, 0, 1), atol=2e-5)
    assert clipped == pytest.approx(((raw > 1.02) | (raw < -0.02)).mean(), abs=2e-3)
    assert clipped > 0


def test_luma_correlation_tells_a_negative() -> None:
    rgb = np.random.default_rng(0).random((3, 500), np.float32)
    assert kernels.luma_correlation(rgb, rgb * np.float32(0.5)) == pytest.approx(1, abs=1e-4)
    assert kernels.luma_correlation(rgb, 1 - rgb) == pytest.approx(-1, abs=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (33, 47)])
def test_gain_is_stretched_like_opencv_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    gain = rng.uniform(0.7, 1.2, (16, 16)).astype(np.float32)
    rgb = rng.uniform(0.1, 0.8, (3, *shape)).astype(np.float32)
    expected = rgb * cv2.resize(gain, shape[::-1], interpolation=cv2.INTER_LINEAR)
    kernels.apply_gain(rgb, gain)
    np.testing.assert_allclose(rgb, np.clip(expected, 0, 1), atol=1e-5)


def test_sampling_stays_on_the_person_and_covers_it() -> None:
    mask = np.zeros((20, 20), np.float32)
    mask[5:15, 5:15] = 0.75
    index, weight = np.empty(50, np.int64), np.empty(50, np.float32)
    pair_kernel.sample_foreground(mask, np.float32(0.3), index, weight)
    assert (weight == 0.75).all()
    assert len(np.unique(index)) == 50
    assert set(np.unique(index // 20)) == set(range(5, 15))


def test_sampling_without_a_person_weighs_nothing() -> None:
    index, weight = np.empty(5, np.int64), np.empty(5, np.float32)
    pair_kernel.sample_foreground(np.zeros((4, 4), np.float32), np.float32(0.9), index, weight)
    assert (weight == 0).all()
    assert (index == 0).all()


def test_moments_agree_with_numpy() -> None:
    rng = np.random.default_rng(4)
    rgb = rng.random((3, 400), np.float32)
    rgb[1] = 0.5 * rgb[0] + 0.3 * rgb[1]
    mask = (rng.random(400) > 0.4).astype(np.float32)
    out = np.empty(9, np.float32)
    pair_kernel.region_moments(rgb, mask, out)
    inside = rgb[:, mask > 0].astype(np.float64)
    correlation = np.corrcoef(inside)
    expected = [*inside.mean(1), *inside.std(1), correlation[0, 1], correlation[0, 2], correlation[1, 2]]
    np.testing.assert_allclose(out, expected, atol=3e-3)
    pair_kernel.region_moments(rgb, np.zeros(400, np.float32), out)
    assert (out == 0).all()
