from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from livecomp.capture.synthetic import SyntheticSource, read_id
from livecomp.frame import Composite
from livecomp.media.video import VideoReader
from livecomp.output.video import VideoSink


@pytest.mark.parametrize("size_wh", [(640, 360), (360, 640), (321, 241)])
def test_every_frame_tells_its_number_and_its_person_covers_it(size_wh: tuple[int, int]) -> None:
    source = SyntheticSource(size_wh, count=70)
    source.open()
    for index in range(70):
        frame = source.read()
        assert frame is not None
        assert read_id(frame.rgb) == index
        room = source.true_alpha(index) == 0
        assert (frame.rgb[room] == (255, 0, 255)).all()
        assert not (frame.rgb[~room] == (255, 0, 255)).all(axis=-1).any()
    assert source.read() is None


def test_the_room_can_have_any_colour() -> None:
    source = SyntheticSource((64, 48), count=1, wall=(1, 2, 3))
    source.open()
    frame = source.read()
    assert frame is not None
    assert tuple(frame.rgb[0, 0]) == (1, 2, 3)


def test_the_person_moves() -> None:
    source = SyntheticSource()
    columns = [float(np.nonzero(source.true_alpha(index))[1].mean()) for index in (0, 15, 45)]
    assert columns[1] - columns[0] > 30
    assert columns[0] - columns[2] > 30


def test_numbers_survive_an_encoder(tmp_path: Path) -> None:
    source = SyntheticSource((320, 180), count=40)
    source.open()
    path = tmp_path / "out.mp4"
    sink = VideoSink(path, size_wh=(320, 180), fps=Fraction(30), time_base=Fraction(1, 30), quality=30)
    sink.open()
    while (frame := source.read()) is not None:
        sink.write(Composite(frame.rgb, frame.pts_ns))
    sink.close()
    reader = VideoReader(path).open()
    numbers = []
    while (picture := reader.read()) is not None:
        numbers.append(read_id(picture[0]))
    reader.close()
    assert numbers == list(range(40))
