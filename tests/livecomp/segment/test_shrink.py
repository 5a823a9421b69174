from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.frame import freeze
from livecomp.segment.shrink import shrink


@pytest.mark.parametrize("shape", [(1080, 1920), (1079, 1917), (720, 1280), (300, 400)])
@pytest.mark.parametrize("size_wh", [(256, 256), (256, 144), (320, 180)])
def test_it_averages_areas(shape: tuple[int, int], size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    rgb = cv2.GaussianBlur(noise, (0, 0), 6)
    rgb = cv2.normalize(rgb, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    expected = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)
    assert float(np.abs(shrink(rgb, size_wh).astype(int) - expected).mean()) < 1.5


def test_it_does_not_shift() -> None:
    ramp = np.tile(np.linspace(0, 255, 1917)[None, :, None], (1079, 1, 3)).round().astype(np.uint8)
    small = shrink(ramp, (256, 144)).astype(float)
    centres = (np.arange(256) + 0.5) * 1917 / 256 - 0.5
    assert abs(float((small[70, :, 0] - centres / 1916 * 255).mean())) < 0.25  # one level a pixel of the result


def test_fine_stripes_average_out() -> None:
    stripes = np.zeros((720, 1280, 3), np.uint8)
    stripes[:, ::2] = 255
    small = shrink(stripes, (256, 256)).astype(int)
    assert small.min() > 120
    assert small.max() < 136


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2), (100, 600)])
def test_any_size_becomes_the_size_asked_for(shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), 77, np.uint8)
    small = shrink(rgb, (256, 144))
    assert small.shape == (144, 256, 3)
    assert (small == 77).all()
    assert not np.shares_memory(small, rgb)


def test_what_is_kept_of_a_picture_is_never_shown_for_another() -> None:
    first, second = (freeze(np.full((400, 800, 3), level, np.uint8)) for level in (10, 200))
    for _ in range(2):
        assert (shrink(first, (100, 100)) == 10).all()
        assert (shrink(second, (100, 100)) == 200).all()
        assert (shrink(second, (50, 50)) == 200).all()
    writable = np.full((400, 800, 3), 10, np.uint8)
    shrink(writable, (100, 100))
    writable[:] = 90
    assert (shrink(writable, (100, 100)) == 90).all()
