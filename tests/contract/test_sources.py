"""What every source promises."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from livecomp.capture import Source
from livecomp.capture.demo import DemoSource
from livecomp.capture.still import StillSource
from livecomp.capture.synthetic import SyntheticSource
from livecomp.capture.video import VideoSource
from livecomp.errors import InputError
from livecomp.frame import Frame
from livecomp.media.image import write_image
from livecomp.output.video import VideoSink
from tests.livecomp.clips import FPS, composite, numbered_picture, write_clip

SourceMaker = Callable[[Path], Source]


def _still(folder: Path) -> Source:
    write_image(folder / "picture.png", numbered_picture(7, (33, 21)))
    return StillSource(folder / "picture.png")


def _video(folder: Path, suffix: str = ".mp4") -> Source:
    return VideoSource(write_clip(folder / f"clip{suffix}", [numbered_picture(index) for index in range(20)]))


def _anamorphic(folder: Path) -> Source:
    sink = VideoSink(
        folder / "clip.mp4",
        size_wh=(64, 48),
        fps=Fraction(FPS),
        time_base=Fraction(1, FPS),
        sample_aspect_ratio=Fraction(64, 45),
    )
    sink.open()
    for index in range(20):
        sink.write(composite(index))
    sink.close()
    return VideoSource(folder / "clip.mp4")


SOURCES: dict[str, SourceMaker] = {
    "demo": lambda folder: DemoSource((160, 90), seconds=0.5),
    "synthetic": lambda folder: SyntheticSource((160, 90), count=12),
    "still": _still,
    "mp4": _video,
    "mkv": lambda folder: _video(folder, ".mkv"),
    "anamorphic": _anamorphic,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return SOURCES[request.param](tmp_path)


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_frames_are_as_the_info_says(source: Source) -> None:
    source.open()
    info = source.info
    frames = read_all(source)
    assert source.read() is None
    source.close()
    assert info.frame_count in (None, len(frames))
    assert all(frame.size_wh == info.size_wh for frame in frames)
    assert all(frame.sample_aspect_ratio == info.sample_aspect_ratio for frame in frames)
    assert all(frame.rgb.flags.c_contiguous and not frame.rgb.flags.writeable for frame in frames)
    assert all(frame.alpha is None for frame in frames)
    assert info.is_still == isinstance(source, StillSource)
    assert info.fps > 0
    assert info.time_base > 0


def test_times_increase_and_fit_the_time_base(source: Source) -> None:
    source.open()
    times = [frame.pts_ns for frame in read_all(source)]
    ticks = np.array([time / 1e9 / float(source.info.time_base) for time in times])
    source.close()
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    assert np.abs(ticks - np.round(ticks)).max() < 1e-3


def test_opened_again_it_gives_the_same(source: Source) -> None:
    rounds = []
    for _ in range(2):
        source.open()
        rounds.append(read_all(source))
        source.close()
    assert [frame.pts_ns for frame in rounds[0]] == [frame.pts_ns for frame in rounds[1]]
    assert all((a.rgb == b.rgb).all() for a, b in zip(*rounds, strict=True))


def test_a_frame_outlives_the_next_one_and_the_source(source: Source) -> None:
    source.open()
    first = source.read()
    assert first is not None
    before = first.rgb.copy()
    read_all(source)
    source.close()
    assert (first.rgb == before).all()


def test_close_is_idempotent_and_allowed_before_open(source: Source) -> None:
    source.close()
    source.open()
    source.read()
    source.close()
    source.close()


@pytest.mark.parametrize("make", [StillSource, VideoSource])
def test_a_missing_file_is_reported_by_open_and_not_before(tmp_path: Path, make: Callable[[Path], Source]) -> None:
    source = make(tmp_path / "none.png")
    with pytest.raises(InputError, match=r"none\.png"):
        source.open()
    source.close()
