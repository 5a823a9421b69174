from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.gpu.resample import area_matrix, box_matrix, cell_indices, column_taps, nearest_indices, row_taps


@pytest.mark.parametrize(("length", "wanted"), [(1280, 64), (179, 64), (64, 64), (720, 180)])
def test_matrices_and_indices_do_what_opencv_does(length: int, wanted: int) -> None:
    column = np.random.default_rng(0).random((length, 1)).astype(np.float32)
    area = cv2.resize(column, (1, wanted), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(area_matrix(length, wanted) @ column, area, atol=1e-6)
    nearest = cv2.resize(column, (1, wanted), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(column[nearest_indices(length, wanted)], nearest)
    np.testing.assert_allclose(box_matrix(length, 13) @ column, cv2.blur(column, (1, 13)), atol=1e-6)


def test_beyond_the_border_a_column_is_taken_once_and_a_row_twice() -> None:
    columns, rows = column_taps(2, 4), row_taps(2, 4)
    np.testing.assert_array_equal(columns.first, [0, 0, 0, 1])
    np.testing.assert_array_equal(columns.weights, [[2048, 1536, 512, 2048], [0, 512, 1536, 0]])
    np.testing.assert_array_equal([rows.first, rows.second], [[0, 0, 0, 1], [0, 1, 1, 1]])
    np.testing.assert_array_equal(rows.weights, [[512, 1536, 512, 1536], [1536, 512, 1536, 512]])


def test_every_pixel_has_a_cell() -> None:
    np.testing.assert_array_equal(cell_indices(6, 3, 1), [0, 0, 1, 1, 2, 2])
    assert cell_indices(1280, 320, 8).max() == 39
    assert cell_indices(359, 180, 8).max() == 22
