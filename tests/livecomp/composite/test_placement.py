from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from livecomp.composite.fused import FusedCompositor
from livecomp.composite.placement import AS_FILMED, Placement
from livecomp.correction import Correction
from livecomp.errors import MatteError
from livecomp.frame import Frame, U8Array, freeze

CANARY = (255, 0, 255)
SCENE = (30, 120, 60)


def filmed(size_wh: tuple[int, int] = (64, 48)) -> Frame:
    """A person whose colours tell where they are, before a canary."""
    width, height = size_wh
    rgb = np.full((height, width, 3), CANARY, np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    body = np.s_[height // 4 :, width // 4 : width * 3 // 4]
    alpha[body] = 255
    rgb[body] = (10, 200, 10)
    return Frame(freeze(rgb), 7).with_alpha(alpha)


def box(alpha: U8Array) -> tuple[int, int, int, int]:
    """Left, top, right and lower end of the person."""
    rows, columns = np.nonzero(alpha.max(axis=1) > 127)[0], np.nonzero(alpha.max(axis=0) > 127)[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def where(placement: Placement, size_wh: tuple[int, int] = (64, 48)) -> tuple[int, int, int, int]:
    return box(placement.place(filmed(size_wh)).require_alpha())


@pytest.mark.parametrize("placement", [AS_FILMED, Placement(1, 0, 0), Placement(1, 0, -0.5)])
def test_as_filmed_the_frame_is_the_very_same(placement: Placement) -> None:
    frame = filmed()
    assert placement.place(frame) is frame
    correction = Correction.identity()
    assert placement.as_filmed(correction) is correction


def test_smaller_people_stand_on_the_lower_edge() -> None:
    assert where(AS_FILMED) == (16, 12, 48, 48)
    assert where(Placement(0.5)) == (24, 30, 40, 48)
    assert where(Placement(0.5, right=0.25)) == (40, 30, 56, 48)
    assert where(Placement(0.5, right=-0.25)) == (8, 30, 24, 48)
    assert where(Placement(0.5, down=0.25)) == (24, 42, 40, 48)


def test_larger_people_keep_their_head() -> None:
    assert where(Placement(1.5)) == (8, 18, 56, 48)
    assert where(Placement(1.5, down=-0.25)) == (8, 6, 56, 48)


@pytest.mark.parametrize("size", [0.1, 0.37, 1.0, 1.61, 4.0])
@pytest.mark.parametrize("down", [-1.0, -0.3, 0.0])
def test_the_cut_below_is_never_lifted_into_sight(size: float, down: float) -> None:
    alpha = Placement(size, down=down).place(filmed((65, 47))).require_alpha()
    assert alpha[-1].max() == 255


def test_a_body_at_the_side_is_cut_and_one_out_of_sight_is_gone() -> None:
    assert where(Placement(1, right=0.5)) == (48, 12, 64, 48)
    frame = filmed()
    gone = Placement(0.3, right=1).place(frame)
    assert gone.rgb is frame.rgb
    assert not gone.require_alpha().any()
    assert not Placement(1, down=1).place(frame).require_alpha().any()


def test_only_a_frame_with_a_matte_has_a_place() -> None:
    for placement in (AS_FILMED, Placement(0.5)):
        with pytest.raises(MatteError):
            placement.place(replace(filmed(), alpha=None))


@pytest.mark.parametrize("size_wh", [(64, 48), (65, 47), (1, 1), (3, 200), (321, 179)])
def test_nothing_of_the_room_comes_along(size_wh: tuple[int, int]) -> None:
    compositor = FusedCompositor(light_wrap=0.5, threads=1)
    scene = freeze(np.full((size_wh[1], size_wh[0], 3), SCENE, np.uint8))
    rng = np.random.default_rng(0)
    for size, right, down in rng.uniform((0.1, -1, -1), (4, 1, 1), (60, 3)):
        frame = filmed(size_wh)
        placed = Placement(size, right, down).place(frame)
        alpha = placed.require_alpha()
        assert placed.size_wh == frame.size_wh
        assert (placed.pts_ns, placed.sample_aspect_ratio) == (frame.pts_ns, frame.sample_aspect_ratio)
        assert not placed.rgb.flags.writeable
        shown = compositor.compose(placed, scene, Correction.identity()).rgb
        assert (shown[alpha == 0] == SCENE).all()
        assert not (np.abs(shown.astype(int) - CANARY).max(axis=2) < 70).any()
    compositor.close()


@pytest.mark.parametrize("placement", [Placement(0.5, 0.2), Placement(1.7, -0.3, 0.1), Placement(0.8, 0.1, 0.3)])
def test_colours_and_matte_stay_together(placement: Placement) -> None:
    placed = placement.place(filmed((320, 240)))
    inside = placed.require_alpha() == 255
    assert inside.sum() > 100
    assert np.abs(placed.rgb[inside].astype(int) - (10, 200, 10)).max() <= 1


@pytest.mark.parametrize("size", [0.1, 0.3, 0.49])
@pytest.mark.parametrize("size_wh", [(320, 240), (321, 239)])
def test_small_people_are_averages_of_all_their_pixels(size: float, size_wh: tuple[int, int]) -> None:
    frame = filmed(size_wh)
    rgb = frame.rgb.copy()
    rgb[::2] = 40
    rgb[1::2] = 200
    placed = Placement(size).place(replace(frame, rgb=freeze(rgb)))
    left, top, right, low = box(placed.require_alpha())
    assert np.abs(placed.rgb[top + 1 : low - 1, left + 1 : right - 1].astype(int) - 120).max() <= 12


@pytest.mark.parametrize("placement", [Placement(0.5, 0.2), Placement(1.7, -0.3), Placement(0.9, 0.1, 0.3)])
def test_shading_is_moved_back_to_where_the_camera_sees_it(placement: Placement) -> None:
    plain = Correction.identity()
    across, along = np.meshgrid(np.linspace(-0.4, 0.4, 16), np.linspace(0.1, -0.3, 16))
    shaded = replace(plain, log_gain=(across + along).astype(np.float32))
    scene = cv2.resize(np.array(shaded.log_gain), (640, 480), interpolation=cv2.INTER_LINEAR)
    back = cv2.resize(np.array(placement.as_filmed(shaded).log_gain), (640, 480), interpolation=cv2.INTER_LINEAR)
    # each of the camera's pixels that is in sight, by its place in the scene
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    marks = Frame(freeze(np.zeros((480, 640, 3), np.uint8)), 0).with_alpha(np.full((480, 640), 255, np.uint8))
    left, top, right, low = box(placement.place(marks).require_alpha())
    seen = (columns > left + 30) & (columns < right - 30) & (rows > top + 30) & (rows < low - 30)
    full_left = 640 * (0.5 + placement.right - placement.size / 2)
    full_top = 480 * max(placement.down + max(1 - placement.size, 0), 1 - placement.size)
    x = ((columns[seen] - full_left) / placement.size).astype(int)
    y = ((rows[seen] - full_top) / placement.size).astype(int)
    assert seen.sum() > 1000
    assert np.abs(back[y, x] - scene[seen]).max() < 0.02
