from __future__ import annotations

import numpy as np
import pytest

from livecomp.segment.haze import HazeRemover


def person(soft: float = 0.5) -> np.ndarray:
    """A sure person, columns 100..160, with a soft edge of four pixels on each side."""
    matte = np.zeros((144, 256), np.float32)
    matte[40:, 100:160] = 1
    matte[40:, 96:100] = matte[40:, 160:164] = soft
    return matte


def test_a_person_with_a_soft_edge_is_left_alone() -> None:
    matte = person()
    before = matte.copy()
    np.testing.assert_array_equal(HazeRemover().remove(matte), matte)
    np.testing.assert_array_equal(matte, before)


@pytest.mark.parametrize("left", [0, 200])
def test_haze_away_from_the_person_goes(left: int) -> None:
    matte = person()
    matte[100:, left : left + 40] = 0.5
    np.testing.assert_array_equal(HazeRemover().remove(matte), person())


def test_haze_that_touches_the_person_fades_out_without_a_step() -> None:
    matte = person()
    matte[100:, 164:] = 0.5
    row = HazeRemover().remove(matte)[120]
    assert float(row[160:165].min()) == 0.5
    assert float(row[180:].max()) == 0
    assert float(np.abs(np.diff(row[164:])).max()) < 0.06


def test_a_small_sure_island_goes_and_a_second_person_stays() -> None:
    small, second = person(), person()
    small[10:20, 10:20] = 1
    second[60:, 190:230] = 1
    np.testing.assert_array_equal(HazeRemover().remove(small), person())
    np.testing.assert_array_equal(HazeRemover().remove(second), second)


def test_regions_that_may_not_stay_go_and_are_not_remembered() -> None:
    second = person()
    second[60:, 190:230] = 1
    remover = HazeRemover()

    def left_half(sure: np.ndarray) -> np.ndarray:
        assert sure[100, 130] == sure[100, 210] == 1
        return sure * (np.arange(256) < 180).astype(np.uint8)

    np.testing.assert_array_equal(remover.remove(second, left_half), person())
    # what is nearly sure counts as sure only where something was
    second[60:, 190:230] = 0.6
    np.testing.assert_array_equal(remover.remove(second), person())


def test_a_small_region_stays_if_the_large_one_may_not() -> None:
    """A bed may be large, and somebody beside it small."""
    both = person()
    both[:20, 20:30] = 1
    alone = np.zeros_like(both)
    alone[:20, 20:30] = 1
    np.testing.assert_array_equal(HazeRemover().remove(both), person())
    kept = HazeRemover().remove(both, lambda sure: sure * (np.arange(256) < 50).astype(np.uint8))
    np.testing.assert_array_equal(kept, alone)


def test_nobody_stays_nobody_and_everybody_everybody() -> None:
    for value in (0.0, 1.0):
        matte = np.full((9, 7), value, np.float32)
        np.testing.assert_array_equal(HazeRemover().remove(matte), matte)
    assert not HazeRemover().remove(np.full((9, 7), 0.4, np.float32)).any()


def test_a_region_near_the_threshold_does_not_come_and_go() -> None:
    def with_region(value: float) -> np.ndarray:
        matte = person()
        matte[90:, 190:240] = value
        return matte

    remover = HazeRemover()
    values = (0.9, 0.66, 0.58, 0.65, 0.5, 0.6, 0.67, 0.6)
    seen = [bool(remover.remove(with_region(value))[120, 210] > 0) for value in values]
    assert seen == [True, True, True, True, False, False, False, False]
    remover.reset()
    assert remover.remove(with_region(0.66))[120, 210] > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 256), (144, 1), (3, 2)])
def test_any_size_and_a_change_of_size(shape: tuple[int, int]) -> None:
    remover = HazeRemover()
    remover.remove(person())
    matte = np.ones(shape, np.float32)
    np.testing.assert_array_equal(remover.remove(matte), matte)
