from __future__ import annotations

import numpy as np
import pytest

from livecomp.frame import U8Array
from livecomp.steps import StepDetector

SHAPE = (120, 160)
BEFORE = 6
"""Pictures that a detector has seen, so that it knows what is usual."""


def texture(seed: int) -> U8Array:
    blocks = np.random.default_rng(seed).integers(20, 236, (12, 16, 3), np.uint8)
    return blocks.repeat(SHAPE[0] // 12, 0).repeat(SHAPE[1] // 16, 1)


def noisy(rng: np.random.Generator, picture: U8Array, factor: float | tuple[float, ...] = 1.0) -> U8Array:
    values = picture * np.asarray(factor, np.float32) + rng.normal(0, 3, picture.shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def person() -> U8Array:
    alpha = np.zeros(SHAPE, np.uint8)
    alpha[20:, 40:120] = 255
    return alpha


def acquainted(
    picture: U8Array, alpha: U8Array | None = None, seed: int = 0
) -> tuple[StepDetector, np.random.Generator]:
    rng, detector = np.random.default_rng(seed), StepDetector()
    assert not any(detector.is_step(noisy(rng, picture), alpha) for _ in range(BEFORE))
    return detector, rng


@pytest.mark.parametrize("factor", [1.25, 0.8, (1.2, 1.0, 0.8)])
@pytest.mark.parametrize("whole", [False, True])
def test_a_lamp_is_a_step_once(factor: float | tuple[float, ...], whole: bool) -> None:
    alpha = None if whole else person()
    detector, rng = acquainted(texture(1), alpha)
    assert detector.is_step(noisy(rng, texture(1), factor), alpha)
    assert not detector.is_step(noisy(rng, texture(1), factor), alpha)


def test_a_cloud_is_none() -> None:
    detector, rng = acquainted(texture(2))
    assert not any(detector.is_step(noisy(rng, texture(2), 1 - 0.4 * share)) for share in np.linspace(0, 1, 90))


def test_only_the_light_on_the_person_counts() -> None:
    picture, alpha = texture(3), person()
    behind = np.where(alpha[..., None] > 0, picture, picture // 2).astype(np.uint8)
    detector, rng = acquainted(picture, alpha)
    assert not detector.is_step(noisy(rng, behind), alpha)
    halved = np.where(alpha[..., None] > 0, picture // 2, picture).astype(np.uint8)
    detector, rng = acquainted(picture, alpha)
    assert detector.is_step(noisy(rng, halved), alpha)


def test_what_moves_is_none() -> None:
    picture, alpha = texture(4), person()
    detector, rng = acquainted(picture, alpha)
    for shift in range(0, 60, 3):
        assert not detector.is_step(noisy(rng, np.roll(picture, shift, axis=1)), np.roll(alpha, shift, axis=1))


def test_a_hand_before_the_lens_is_none() -> None:
    picture, alpha = texture(5), person()
    detector, rng = acquainted(picture, alpha)
    covered = picture.copy()
    covered[50:110, 50:110] = (190, 140, 110)
    assert not detector.is_step(noisy(rng, covered), alpha)
    assert not detector.is_step(noisy(rng, picture), alpha)


def test_a_scene_that_flutters_has_a_step_only_where_it_stands_out() -> None:
    picture, rng, detector = texture(6), np.random.default_rng(6), StepDetector()
    fluttering = [detector.is_step(noisy(rng, picture, float(np.exp(rng.normal(0, 0.05))))) for _ in range(120)]
    assert sum(fluttering) <= 1
    assert detector.is_step(noisy(rng, picture, 0.5))


def test_the_first_pictures_those_after_a_reset_and_an_empty_matte_are_none() -> None:
    detector, rng = acquainted(texture(7))
    detector.reset()
    assert not detector.is_step(noisy(rng, texture(7), 0.5))
    nobody = np.zeros(SHAPE, np.uint8)
    detector, rng = acquainted(texture(7), nobody)
    assert not detector.is_step(noisy(rng, texture(7), 0.5), nobody)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 3, 3), (1080, 1920, 3)])
def test_any_size_will_do(shape: tuple[int, int, int]) -> None:
    detector = StepDetector()
    dark, bright = np.full(shape, 60, np.uint8), np.full(shape, 120, np.uint8)
    assert not any(detector.is_step(dark) for _ in range(BEFORE))
    assert detector.is_step(bright)
