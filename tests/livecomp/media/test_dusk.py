from __future__ import annotations

import numpy as np
import pytest

from livecomp.media.dusk import draw_dusk


@pytest.mark.parametrize("size_wh", [(1, 1), (3, 2), (200, 90), (90, 200)])
def test_any_size(size_wh: tuple[int, int]) -> None:
    rgb = draw_dusk(size_wh)
    assert rgb.shape == (size_wh[1], size_wh[0], 3)
    assert rgb.dtype == np.uint8
    assert not rgb.flags.writeable


def test_always_the_same_warm_low_light_from_the_right_under_a_blue_sky() -> None:
    rgb = draw_dusk((320, 180))
    assert (rgb == draw_dusk((320, 180))).all()
    red, _, blue = rgb[:40].reshape(-1, 3).mean(axis=0)
    assert blue > red
    red, _, blue = rgb[90:125, 220:300].reshape(-1, 3).mean(axis=0)
    assert red > 1.15 * blue
    assert rgb[80:120, 160:].mean() > 1.2 * rgb[80:120, :160].mean()
