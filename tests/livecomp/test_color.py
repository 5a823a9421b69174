from __future__ import annotations

import numpy as np

from livecomp.color import encoded_from_linear, lab_from_rgb, linear_from_encoded, rgb_from_lab


def test_known_values_of_srgb() -> None:
    np.testing.assert_allclose(
        linear_from_encoded(np.float32([0, 0.04045, 0.5, 1])), [0, 0.0031308, 0.2140411, 1], atol=1e-6
    )


def test_encoding_and_decoding_are_inverse() -> None:
    levels = np.linspace(0, 1, 1001, dtype=np.float32)
    np.testing.assert_allclose(encoded_from_linear(linear_from_encoded(levels)), levels, atol=2e-6)


def test_known_values_of_lab() -> None:
    colors = np.float32([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab_from_rgb(colors), expected, atol=0.1)


def test_lab_and_back() -> None:
    colors = np.random.default_rng(0).random((7, 5, 3), np.float32)
    np.testing.assert_allclose(
        rgb_from_lab(lab_from_rgb(colors)), colors, atol=1 / 255
    )  # OpenCV tabulates the cube root
