from __future__ import annotations

import numpy as np

from livecomp.cuts import CutDetector


def scene(seed: int, shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Large random blocks: two seeds are two unrelated scenes."""
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return blocks.repeat(shape[0] // 6, 0).repeat(shape[1] // 8, 1)


def test_another_scene_is_a_cut_and_the_first_picture_is_none() -> None:
    detector = CutDetector()
    assert not detector.is_cut(scene(0))
    assert detector.is_cut(scene(1))
    assert not detector.is_cut(scene(1))


def test_a_lamp_switched_on_is_no_cut() -> None:
    detector = CutDetector()
    dark = scene(2) // 3
    detector.is_cut(dark)
    assert not detector.is_cut(dark * 2 + 40)


def test_motion_is_no_cut() -> None:
    detector = CutDetector()
    picture = scene(3)
    for shift in range(0, 20, 2):
        assert not detector.is_cut(np.roll(picture, shift, axis=1))


def test_reset_forgets_and_one_pixel_is_enough() -> None:
    detector = CutDetector()
    detector.is_cut(scene(0))
    detector.reset()
    assert not detector.is_cut(scene(1))
    detector = CutDetector()
    assert not detector.is_cut(np.zeros((1, 1, 3), np.uint8))
    assert detector.is_cut(np.full((1, 1, 3), 255, np.uint8))
