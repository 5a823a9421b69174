from __future__ import annotations

import numpy as np

from livecomp.frame import U8Array
from livecomp.gpu.regions import Regions
from livecomp.segment.haze import HazeRemover


def matte(*boxes: tuple[int, int, int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(128, 128), 0.8 within boxes of left, top, right, bottom."""
    values = np.zeros((128, 128), np.float32)
    for left, top, right, bottom in boxes:
        values[top:bottom, left:right] = 0.8
    return values


PERSON = (40, 30, 90, 128)
CUSHION = (4, 4, 12, 12)
FRIEND = (100, 60, 126, 128)


def sure(values: np.ndarray[tuple[int, int], np.dtype[np.float32]], regions: Regions) -> U8Array:
    """What the graph takes to be sure."""
    return (values > regions.sure_above((128, 128))).astype(np.uint8)


def test_what_is_small_never_shows_from_the_first_frame_on() -> None:
    values = matte(PERSON, CUSHION)
    regions = Regions()
    assert regions.is_new
    first = values > regions.updated(values)
    for _ in range(3):
        np.testing.assert_array_equal(first, values * (matte(PERSON) > 0) > 0)
        regions.update(values)
        assert not regions.is_new
        assert not sure(values, regions)[:20, :20].any()
        assert sure(values, regions)[80, 60]


def test_what_is_large_shows_after_a_frame() -> None:
    regions = Regions()
    regions.update(matte((2, 30, 40, 128)))
    both = matte((2, 30, 40, 128), FRIEND)
    assert not sure(both, regions)[:, 110:].any()
    regions.update(both)
    np.testing.assert_array_equal(sure(both, regions), HazeRemover().remove(both) > 0.7)


def test_somebody_is_seen_at_once_where_nobody_was() -> None:
    regions = Regions()
    regions.update(np.zeros((128, 128), np.float32))
    assert sure(matte(PERSON), regions).any()
    regions.reset()
    assert regions.is_new


def left_half(sure_regions: U8Array) -> U8Array:
    return np.asarray(sure_regions * (np.arange(128) < 95), np.uint8)


def test_regions_with_nobody_in_them_never_show() -> None:
    both, regions = matte(PERSON, FRIEND), Regions()
    first = both > regions.updated(both, left_half)
    np.testing.assert_array_equal(first, matte(PERSON) > 0)
    for _ in range(3):
        regions.update(both, left_half)
        shown = sure(both, regions)
        assert shown[80, 60]
        assert not shown[:, 98:].any()


def test_where_nobody_was_a_new_region_waits_until_somebody_is_found_in_it() -> None:
    regions = Regions()
    regions.update(np.zeros((128, 128), np.float32), left_half)
    both = matte(PERSON, FRIEND)
    assert not sure(both, regions).any()
    regions.update(both, left_half)
    np.testing.assert_array_equal(sure(both, regions), matte(PERSON) > 0)
