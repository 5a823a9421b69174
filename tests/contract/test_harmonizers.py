"""One suite over every harmonizer that needs no network."""

from __future__ import annotations

import numpy as np
import pytest

from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.registry import HARMONIZERS, make_harmonizer


@pytest.fixture(params=[name for name in HARMONIZERS if name != "live"])
def harmonizer(request: pytest.FixtureRequest) -> Harmonizer:
    opened = make_harmonizer(str(request.param))
    opened.open()
    return opened


def noise(harmonizer: Harmonizer, seed: int = 0) -> np.ndarray:
    size = harmonizer.input_size
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


@pytest.mark.parametrize("person", ["nobody", "only the person", "one pixel", "a corner", "soft"])
def test_any_mask_gives_a_correction_and_touches_nothing(harmonizer: Harmonizer, person: str) -> None:
    rgb, size = noise(harmonizer), harmonizer.input_size
    alpha = np.zeros((size, size), np.uint8)
    if person == "only the person":
        alpha[:] = 255
    elif person == "one pixel":
        alpha[3, 4] = 255
    elif person == "a corner":
        alpha[: size // 3, : size // 3] = 255
    elif person == "soft":
        alpha[:] = np.linspace(0, 255, size).astype(np.uint8)
    kept = rgb.copy(), alpha.copy()
    correction = harmonizer.predict(rgb, alpha)  # whose constructor refuses what is not finite
    np.testing.assert_array_equal(rgb, kept[0])
    np.testing.assert_array_equal(alpha, kept[1])
    if person in ("nobody", "only the person", "one pixel"):
        picture = rgb.astype(np.float32) / 255
        np.testing.assert_allclose(correction.apply(picture), picture, atol=1e-6)


def test_the_same_input_gives_the_same_answer(harmonizer: Harmonizer) -> None:
    rgb, size = noise(harmonizer), harmonizer.input_size
    alpha = np.zeros((size, size), np.uint8)
    alpha[size // 3 :, size // 4 :] = 255
    first = harmonizer.predict(rgb, alpha)
    harmonizer.predict(noise(harmonizer, 1), alpha)
    again = harmonizer.predict(rgb, alpha)
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.curves, again.curves)


def test_names_agree_and_close_may_be_repeated(harmonizer: Harmonizer) -> None:
    assert harmonizer.name in HARMONIZERS
    harmonizer.close()
    harmonizer.close()
