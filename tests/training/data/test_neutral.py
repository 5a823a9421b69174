"""Scenes whose light is made neutral."""

import numpy as np
import pytest

from training.data.edits import encoded_light, linear_light
from training.data.neutral import DARK, neutralise


@pytest.fixture
def grey_room() -> np.ndarray:
    """Greys of all kinds, as light: (64, 64, 3) float32."""
    values = np.random.default_rng(3).uniform(0.05, 0.6, (64, 64, 1)).astype(np.float32)
    return np.repeat(values, 3, 2)


def photograph(linear: np.ndarray) -> np.ndarray:
    return np.rint(encoded_light(np.clip(linear, 0, 1)) * 255).astype(np.uint8)


def test_a_coloured_light_is_taken_out(grey_room: np.ndarray) -> None:
    warm = photograph(grey_room * np.array([1.5, 1.0, 0.5], np.float32))

    found = neutralise(warm, 1.0, DARK).astype(int)

    assert np.ptp(warm.mean((0, 1))) > 60
    assert np.ptp(found.mean((0, 1))) < 2


def test_half_the_strength_takes_out_half_the_stops(grey_room: np.ndarray) -> None:
    warm = photograph(grey_room * np.array([1.5, 1.0, 0.5], np.float32))

    means = linear_light(np.float32(neutralise(warm, 0.5, DARK)) / 255).mean((0, 1))

    assert np.log2(means[0] / means[2]) == pytest.approx(np.log2(3) / 2, abs=0.03)


def test_no_strength_and_enough_light_leave_a_scene_alone(grey_room: np.ndarray) -> None:
    warm = photograph(grey_room * np.array([1.5, 1.0, 0.5], np.float32))

    np.testing.assert_array_equal(neutralise(warm, 0.0, 0.5), warm)


def test_a_night_becomes_as_light_as_asked_for(grey_room: np.ndarray) -> None:
    night = photograph(grey_room * np.float32(0.02))

    found = neutralise(night, 0.0, 0.4)

    assert night.mean() < 255 * DARK
    assert found.mean() == pytest.approx(255 * 0.4, abs=12)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_stay_what_they_are(value: int) -> None:
    flat = np.full((8, 8, 3), value, np.uint8)

    np.testing.assert_array_equal(neutralise(flat, 1.0, 0.5), flat)
