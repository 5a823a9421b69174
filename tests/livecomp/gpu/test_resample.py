from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.gpu.resample import area_matrix, box_matrix, cell_indices, nearest_indices, shrink_plan
from livecomp.segment.shrink import shrink
from tests.livecomp.gpu.graphs import waves

SIZES = ((1280, 720), (1920, 1080), (1281, 719), (640, 480), (97, 65))


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("wanted_wh", [(256, 256), (256, 144), (320, 180)])
def test_a_plan_shrinks_as_the_cpu_does_but_for_rounding(size_wh: tuple[int, int], wanted_wh: tuple[int, int]) -> None:
    picture = waves(size_wh, 4)
    halves, down, across = shrink_plan(size_wh, wanted_wh)
    half = picture.astype(np.float32)
    for _ in range(halves):
        half = half.reshape(half.shape[0] // 2, 2, half.shape[1] // 2, 2, 3).mean(axis=(1, 3))
    planned = np.einsum("hy,yxc,xw->hwc", down, half, across, optimize=True)
    # half a level for each step of the CPU's
    assert np.abs(planned - shrink(picture, wanted_wh)).max() < 2


@pytest.mark.parametrize(("length", "wanted"), [(1280, 64), (179, 64), (64, 64), (720, 180)])
def test_matrices_and_indices_do_what_opencv_does(length: int, wanted: int) -> None:
    column = np.random.default_rng(0).random((length, 1)).astype(np.float32)
    area = cv2.resize(column, (1, wanted), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(area_matrix(length, wanted) @ column, area, atol=1e-6)
    nearest = cv2.resize(column, (1, wanted), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(column[nearest_indices(length, wanted)], nearest)
    np.testing.assert_allclose(box_matrix(length, 13) @ column, cv2.blur(column, (1, 13)), atol=1e-6)


def test_every_pixel_has_a_cell() -> None:
    np.testing.assert_array_equal(cell_indices(6, 3, 1), [0, 0, 1, 1, 2, 2])
    assert cell_indices(1280, 320, 8).max() == 39
    assert cell_indices(359, 180, 8).max() == 22
