from __future__ import annotations

import itertools

import numpy as np
import pytest

from livecomp.smooth.matte import MotionAdaptiveFilter

FRAME_NS = 33_333_333


def constant(value: float, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.full(shape, value, np.float32)


def test_the_first_matte_passes_and_is_neither_kept_nor_changed() -> None:
    steady = MotionAdaptiveFilter()
    buffer = constant(0.4)
    first = steady.update(buffer, 0)
    np.testing.assert_array_equal(first, constant(0.4))
    buffer[:] = 0.9  # a model that reuses its buffer
    second = steady.update(constant(0.5), FRAME_NS)
    assert 0.4 < float(second[0, 0]) < 0.5
    assert not np.shares_memory(first, buffer)
    second[:] = 0  # a caller that writes into what it was given
    assert float(steady.update(constant(0.5), 2 * FRAME_NS)[0, 0]) > 0.4


def test_flicker_shrinks() -> None:
    rng = np.random.default_rng(0)
    steady = MotionAdaptiveFilter()
    raw = [np.clip(0.5 + 0.05 * rng.standard_normal((32, 32)), 0, 1).astype(np.float32) for _ in range(40)]
    out = [steady.update(matte, index * FRAME_NS) for index, matte in enumerate(raw)]
    before = np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(raw[5:])])
    after = np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(out[5:])])
    assert after < 0.65 * before


def test_a_hand_that_leaves_or_comes_leaves_no_trail() -> None:
    steady = MotionAdaptiveFilter()
    hand = constant(0.0, (20, 60))
    for index in range(10):
        hand = constant(0.0, (20, 60))
        hand[5:15, 6 * index : 6 * index + 8] = 1
        out = steady.update(hand, index * FRAME_NS)
        np.testing.assert_array_equal(out, hand)


def test_no_step_leaves_more_than_the_refiner_hides() -> None:
    steps = np.linspace(0, 1, 1001, dtype=np.float32)[None]
    for rise in (False, True):
        steady = MotionAdaptiveFilter()
        steady.update(1 - steps if rise else steps, 0)
        target = np.ones_like(steps) if rise else np.zeros_like(steps)
        assert float(np.abs(steady.update(target, FRAME_NS) - target).max()) <= 0.0751


def test_the_weight_follows_time_not_the_number_of_frames() -> None:
    slow, fast = MotionAdaptiveFilter(), MotionAdaptiveFilter()
    slow.update(constant(0.50), 0)
    fast.update(constant(0.50), 0)
    one = slow.update(constant(0.52), 2 * FRAME_NS)
    fast.update(constant(0.52), FRAME_NS)
    two = fast.update(constant(0.52), 2 * FRAME_NS)
    assert float(one[0, 0]) == pytest.approx(float(two[0, 0]), abs=5e-4)


@pytest.mark.parametrize("pts_ns", [0, -FRAME_NS, 10**9])
def test_time_that_stands_still_runs_back_or_jumps_starts_anew(pts_ns: int) -> None:
    steady = MotionAdaptiveFilter()
    steady.update(constant(0.4), 0)
    np.testing.assert_array_equal(steady.update(constant(0.5), pts_ns), constant(0.5))


def test_another_size_and_reset_start_anew() -> None:
    steady = MotionAdaptiveFilter()
    steady.update(constant(0.4), 0)
    other = steady.update(constant(0.5, (3, 3)), FRAME_NS)
    assert other.shape == (3, 3)
    assert float(other[0, 0]) == 0.5
    steady.reset()
    np.testing.assert_array_equal(steady.update(constant(0.45, (3, 3)), 2 * FRAME_NS), constant(0.45, (3, 3)))


def test_strength_zero_changes_nothing_and_the_range_is_kept() -> None:
    rng = np.random.default_rng(1)
    off, on = MotionAdaptiveFilter(strength=0), MotionAdaptiveFilter(strength=1)
    for index in range(20):
        matte = rng.random((9, 7), np.float32)
        np.testing.assert_array_equal(off.update(matte, index * FRAME_NS), matte)
        out = on.update(matte, index * FRAME_NS)
        assert out.dtype == np.float32
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
