"""A scene that fades and outlives its background, a harmonizer that outlives its network."""

from __future__ import annotations

import numpy as np
import pytest

from livecomp.background import BlurBackground, ColorBackground
from livecomp.correction import Correction
from livecomp.errors import InputError, ModelError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.live.tolerant import Scene, TolerantHarmonizer
from tests.livecomp.fakes import CANARY, FakeHarmonizer


def frame_at(seconds: float, size_wh: tuple[int, int] = (8, 6)) -> Frame:
    return Frame(freeze(np.full((size_wh[1], size_wh[0], 3), CANARY, np.uint8)), int(seconds * 1e9))


class Failing(ColorBackground):
    """A red background that fails while `broken`."""

    def __init__(self) -> None:
        super().__init__((200, 0, 0))
        self.broken = False
        self.opened = self.closed = 0

    def open(self) -> None:
        self.opened += 1
        if self.broken:
            raise InputError("the file is gone")

    def render(self, frame: Frame) -> U8Array:
        if self.broken:
            raise InputError("the file is cut off")
        return super().render(frame)

    def close(self) -> None:
        self.closed += 1


def test_a_failing_background_keeps_its_last_picture_and_comes_back() -> None:
    background = Failing()
    scene = Scene(background)
    scene.open()
    red = scene.render(frame_at(0.0))
    background.broken = True
    assert np.array_equal(scene.render(frame_at(0.1)), red)
    assert "cut off" in scene.trouble
    opened = background.opened
    scene.render(frame_at(0.5))
    assert background.opened == opened, "opened again too early"
    scene.render(frame_at(1.2))
    assert background.opened == opened + 1
    background.broken = False
    assert np.array_equal(scene.render(frame_at(2.5)), red)
    assert scene.trouble == ""
    scene.close()


def test_a_background_that_never_worked_is_plain_and_shows_nothing_of_the_room() -> None:
    background = Failing()
    scene = Scene(background)
    scene.open()
    background.broken = True
    picture = scene.render(frame_at(0))
    assert (picture == picture[0, 0]).all()
    assert tuple(picture[0, 0]) != CANARY


def test_the_last_picture_fits_a_frame_of_another_size() -> None:
    background = Failing()
    scene = Scene(background)
    scene.open()
    scene.render(frame_at(0))
    background.broken = True
    assert scene.render(frame_at(0.1, (16, 10))).shape == (10, 16, 3)


def test_a_new_background_fades_in_over_its_time() -> None:
    old, new = Failing(), ColorBackground((0, 0, 200))
    scene = Scene(old)
    scene.open()
    scene.render(frame_at(0))
    new.open()
    scene.change(new, fade_ms=500)
    shares = [float(scene.render(frame_at(t))[0, 0, 2]) / 200 for t in (1.0, 1.125, 1.25, 1.375, 1.5, 1.6)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1], abs=0.02)
    assert old.closed == 1


def test_after_a_sleep_a_scene_goes_on_where_it_was() -> None:
    seen_s: list[float] = []

    class Timed(ColorBackground):
        def render(self, frame: Frame) -> U8Array:
            seen_s.append(frame.pts_ns / 1e9)
            return super().render(frame)

    scene = Scene(Timed((200, 0, 0)))
    scene.open()
    for seconds in (5.0, 5.5, 1805.5, 1806.0, 3606.0, 3606.25):
        scene.render(frame_at(seconds))
    assert seen_s == pytest.approx([5.0, 5.5, 6.5, 7.0, 8.0, 8.25])


def test_a_change_during_a_fade_closes_what_is_no_longer_seen() -> None:
    first, second = Failing(), Failing()
    scene = Scene(first)
    scene.open()
    scene.change(second, 500)
    scene.render(frame_at(0))
    scene.change(ColorBackground((0, 0, 200)), 500)
    assert (first.closed, second.closed) == (1, 0)
    scene.close()
    assert second.closed == 1


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_blurred_room_is_gone_at_once_when_it_is_left(is_broken: bool) -> None:
    scene, new = Scene(BlurBackground()), Failing()
    scene.open()
    assert tuple(scene.render(frame_at(0))[0, 0]) == CANARY
    new.open()
    scene.change(new, 500)
    new.broken = is_broken
    pictures = [scene.render(frame_at(t)) for t in (0.1, 0.2, 0.7, 60)]
    plain = (52, 56, 62) if is_broken else (200, 0, 0)
    assert all((picture == plain).all() for picture in pictures)


def test_a_blurred_room_that_fades_in_is_not_kept_either() -> None:
    scene, new = Scene(Failing()), Failing()
    scene.open()
    scene.change(BlurBackground(), 500)
    assert all(scene.render(frame_at(t)).any() for t in (0, 0.4))
    new.broken = True
    scene.change(new, 500)
    assert (scene.render(frame_at(0.45)) == (52, 56, 62)).all()


def test_an_old_background_that_fails_ends_the_fade() -> None:
    old = Failing()
    scene = Scene(old)
    scene.open()
    scene.change(ColorBackground((0, 0, 200)), 500)
    old.broken = True
    assert tuple(scene.render(frame_at(0))[0, 0]) == (0, 0, 200)
    assert old.closed == 1


@pytest.mark.parametrize("error", [ModelError("engine lost"), ValueError("anything"), MemoryError()])
def test_a_failing_harmonizer_repeats_its_last_correction(error: Exception) -> None:
    class Moody(FakeHarmonizer):
        broken = False

        def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
            if self.broken:
                raise error
            return Correction.identity().with_strength(0.5, 0.5)

    moody = Moody()
    harmonizer = TolerantHarmonizer(moody)
    picture, alpha = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.uint8)
    moody.broken = True
    assert np.allclose(harmonizer.predict(picture, alpha).matrix, np.eye(3))
    moody.broken = False
    last = harmonizer.predict(picture, alpha)
    moody.broken = True
    assert harmonizer.predict(picture, alpha) is last
    assert harmonizer.trouble
    moody.broken = False
    harmonizer.predict(picture, alpha)
    assert harmonizer.trouble == ""
