from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.frame import U8Array
from livecomp.smooth.motion import MatteMotion, carried

WIDTH, HEIGHT = 640, 360


def bust(x: float, y: float = 0.4, hand: float | None = None) -> U8Array:
    """A head on shoulders around (x, y), parts of the picture; perhaps a hand at a height beside it."""
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    middle = (round(x * WIDTH), round(y * HEIGHT))
    cv2.ellipse(alpha, middle, (50, 70), 0, 0, 360, 255, -1)
    cv2.ellipse(alpha, (middle[0], middle[1] + 200), (120, 140), 0, 0, 360, 255, -1)
    if hand is not None:
        cv2.circle(alpha, (round((x + 0.25) * WIDTH), round(hand * HEIGHT)), 30, 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 2).astype(np.uint8)


@pytest.mark.parametrize("pace", [0.002, 0.006, 0.015])
def test_the_way_of_a_walk_is_found(pace: float) -> None:
    motion = MatteMotion()
    motion.update(bust(0.35))
    steps = round(0.3 / pace)
    shifts = [motion.update(bust(0.35 + pace * step, 0.4 - 0.3 * pace * step)) for step in range(1, steps + 1)]
    right, down = np.sum(shifts, axis=0)
    assert right == pytest.approx(pace * steps, abs=0.04)
    assert down == pytest.approx(-0.3 * pace * steps, abs=0.03)


def test_noise_of_the_matte_is_no_motion() -> None:
    motion = MatteMotion()
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(60):
        noise = rng.normal(0, 12, (HEIGHT, WIDTH))
        shifts.append(motion.update(np.clip(bust(0.5) + noise, 0, 255).astype(np.uint8)))
    assert np.abs(np.sum(shifts, axis=0)).max() < 0.01


def test_a_hand_that_comes_up_beside_the_head_moves_nobody() -> None:
    motion = MatteMotion()
    motion.update(bust(0.5))
    shifts = [motion.update(bust(0.5, hand=1.1 - 0.05 * step)) for step in range(15)]
    centroid_moves = 0.018  # what a centroid would have made of it
    assert np.abs(np.sum(shifts, axis=0)).max() < centroid_moves


def test_area_and_an_empty_picture() -> None:
    motion = MatteMotion()
    assert motion.update(np.zeros((HEIGHT, WIDTH), np.uint8)) == (0.0, 0.0)
    assert motion.area == 0
    motion.update(np.full((HEIGHT, WIDTH), 255, np.uint8))
    assert motion.area == pytest.approx(1)


def test_a_reset_forgets_where_the_person_was() -> None:
    motion = MatteMotion()
    motion.update(bust(0.4))
    motion.reset()
    assert motion.update(bust(0.43)) == (0.0, 0.0)


def test_a_grid_is_carried_within_its_extremes() -> None:
    gain = np.zeros((16, 16), np.float32)
    gain[8, 4] = 1
    moved = carried(gain, 2 / 16, -3 / 16)
    assert moved[5, 6] == pytest.approx(1)
    assert moved.sum() == pytest.approx(1)
    ramp = np.tile(np.linspace(-1, 1, 16, dtype=np.float32), (16, 1))
    assert np.abs(carried(ramp, 0.4, 0.1)).max() <= 1
