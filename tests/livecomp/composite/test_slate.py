from __future__ import annotations

import numpy as np
import pytest

from livecomp.composite.beside import beside, beside_size
from livecomp.composite.slate import make_slate
from livecomp.frame import Composite, freeze


@pytest.mark.parametrize("size_wh", [(1, 1), (33, 20), (640, 360), (90, 400)])
def test_a_slate_has_the_frames_size_and_time(size_wh: tuple[int, int]) -> None:
    slate = make_slate(size_wh, 42)
    assert slate.kind == "slate"
    assert slate.size_wh == size_wh
    assert slate.pts_ns == 42


def test_a_slate_carries_its_text() -> None:
    plain, text = make_slate((640, 360), 0, ""), make_slate((640, 360), 0, "one moment")
    assert (plain.rgb != text.rgb).any()
    assert len(np.unique(plain.rgb.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 5), (320, 180)])
def test_beside_shows_both(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    left = Composite(freeze(np.full((height, width, 3), 10, np.uint8)), 1)
    right = Composite(freeze(np.full((height, width, 3), 200, np.uint8)), 2)
    pair = beside(left, right)
    assert pair.size_wh == beside_size(size_wh)
    assert pair.rgb[-1, 0].tolist() == [10] * 3
    assert pair.rgb[-1, -1].tolist() == [200] * 3
    assert pair.pts_ns == 2


def test_the_labels_of_a_pair_are_equally_high() -> None:
    grey = Composite(freeze(np.full((720, 960, 3), 120, np.uint8)), 0)
    rgb = beside(grey, grey).rgb
    (left,), (right,) = (np.flatnonzero(np.diff(rgb[:, x, 0].astype(int))) for x in (2, 960 + 4 + 2))
    assert left == right
