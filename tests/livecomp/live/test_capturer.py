from __future__ import annotations

from fractions import Fraction

import numpy as np

from livecomp.capture import SourceInfo
from livecomp.capture.looped import LoopedSource
from livecomp.frame import Frame, freeze
from livecomp.live.capturer import Capturer
from livecomp.live.mailbox import Mailbox
from livecomp.stats import StageTimer


class Anamorphic:
    """A source of one frame of 64x64, red, with a white square; its pixels are twice as wide as high."""

    info = SourceInfo("anamorphic", (64, 64), Fraction(30), Fraction(1, 30), sample_aspect_ratio=Fraction(2))

    def open(self) -> None:
        self._is_given = False

    def read(self) -> Frame | None:
        if self._is_given:
            return None
        self._is_given = True
        rgb = np.zeros((64, 64, 3), np.uint8)
        rgb[..., 0] = 255
        rgb[16:48, 24:40] = 255  # as high as wide where it is shown
        return Frame(freeze(rgb), 0, sample_aspect_ratio=Fraction(2))

    def close(self) -> None:
        pass


def test_a_clip_in_place_of_a_camera_comes_with_square_pixels_though_it_has_the_size_of_the_call() -> None:
    frames: Mailbox[Frame] = Mailbox()
    capturer = Capturer(LoopedSource(Anamorphic()), frames, size_wh=(64, 64), timer=StageTimer())
    capturer.wake()
    capturer.start()
    frame = frames.get(5)
    capturer.stop()
    assert frame is not None
    assert frame.sample_aspect_ratio == 1
    white = frame.rgb[..., 1] > 127
    assert white.any(axis=0).sum() == white.any(axis=1).sum()
