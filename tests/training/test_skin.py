"""Where skin is thought to be, and its tone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.skin import SKIN_GROUPS, face_skin, ita_degrees, skin_group


def portrait(lab: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A head of one L*a*b* colour over a blue shirt."""
    matte = np.zeros((128, 128), np.float32)
    matte[16:, 40:88] = 1
    color = cv2.cvtColor(np.array(lab, np.float32)[None, None], cv2.COLOR_LAB2RGB)[0, 0].clip(0, 1)
    rgb = np.full((128, 128, 3), 0.8, np.float32)
    rgb[16:70, 40:88] = color
    rgb[70:, 40:88] = (0.1, 0.2, 0.5)
    return rgb, matte


@pytest.mark.parametrize(
    ("lightness", "b", "group"), [(75, 14, "light"), (62, 20, "intermediate"), (50, 20, "tan"), (35, 15, "dark")]
)
def test_groups_by_angle(lightness: float, b: float, group: str) -> None:
    rgb, matte = portrait((lightness, 14, b))
    angle = ita_degrees(rgb, face_skin(rgb, matte))
    assert angle is not None
    assert angle == pytest.approx(np.degrees(np.arctan2(lightness - 50, b)), abs=1)
    assert skin_group(rgb, matte) == group


def test_region_is_the_upper_part_well_inside() -> None:
    rgb, matte = portrait((60, 14, 18))
    skin = face_skin(rgb, matte)
    assert skin.sum() > 1000
    assert not skin[70:].any()
    assert not skin[:17].any()
    assert not skin[:, :41].any()


def test_colours_that_skin_does_not_take_are_left_out() -> None:
    rgb, matte = portrait((60, -20, 5))
    assert not face_skin(rgb, matte).any()
    assert skin_group(rgb, matte) == "unknown"


def test_nobody_has_no_skin() -> None:
    rgb, matte = portrait((60, 14, 18))
    assert not face_skin(rgb, np.zeros_like(matte)).any()


def test_there_are_four_groups_in_falling_order() -> None:
    lows = [low for _, low in SKIN_GROUPS]
    assert len(lows) == 4
    assert lows == sorted(lows, reverse=True)
