"""From the capture of a frame to whoever watches, read from the pixels."""

from __future__ import annotations

import os
import threading
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.bench import Case
from livecomp.bench.consumer import Consumer, Seen
from livecomp.bench.consumer import _from_file as pictures_from_file
from livecomp.bench.live import STAND_IN, PacketSource, StampingSink, StandInCamera, measure_live
from livecomp.bench.stamp import draw_stamp, read_stamp
from livecomp.composite.slate import make_slate
from livecomp.config import Config
from livecomp.errors import InputError, OutputError
from livecomp.frame import Composite, Frame, freeze
from livecomp.output.memory import MemorySink

SIZE_WH = (160, 90)


def picture(seed: int = 0, size_wh: tuple[int, int] = SIZE_WH) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    return freeze(np.asarray(cv2.resize(noise, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8))


def test_a_call_is_measured_from_capture_to_whoever_watches() -> None:
    config = Config.from_options({"segment": {"key_color": "#ff00ff"}, "live": {"device": STAND_IN, "fps": 30}})
    case = Case(SIZE_WH, "chroma", "mkl", harmonize_every=3, what="live")
    found = measure_live(case, config, "synthetic", "#204060", 1.0)
    assert 8 <= found.frames <= 40
    assert 0 < found.frame.p50_ms < 2000
    stages = {stage.stage: stage for stage in found.stages}
    assert {"read", "segment", "composite", "write", "sink"} <= set(stages)
    # none of the warm-up is in them, which lasts twice as long
    assert stages["composite"].count <= stages["sink"].count + found.dropped + 3
    # who watches sees a picture when it has been written, not before
    assert found.frame.p50_ms >= 0.8 * stages["sink"].p50_ms
    assert "stand-in" in found.note
    assert "live" in found.case.name


def test_what_comes_late_is_seen_late(tmp_path: Path) -> None:
    camera = StampingSink(StandInCamera(tmp_path / "camera.y4m", SIZE_WH))
    camera.open()
    consumer = Consumer(tmp_path / "camera.y4m", SIZE_WH)
    try:
        consumer.open()
        consumer.watch()
        camera.write(Composite(picture(), time.monotonic_ns()))
        time.sleep(0.1)
        consumer.forget()
        time.sleep(0.1)
        for index in range(5):
            camera.write(Composite(picture(index), time.monotonic_ns() - 80_000_000))
            time.sleep(0.05)
        seen = consumer.finish()
    finally:
        consumer.close()
    assert len(seen.ages_ms) == 5
    assert 80 <= min(seen.ages_ms) < 1000
    assert seen.at_ns == sorted(seen.at_ns)


def test_a_stand_in_is_read_on_every_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pread", "preadv"):  # of POSIX alone
        monkeypatch.delattr(os, name, raising=False)
    camera = StampingSink(StandInCamera(tmp_path / "camera.y4m", SIZE_WH))
    camera.open()
    pictures = pictures_from_file(str(tmp_path / "camera.y4m"), SIZE_WH, lambda: True)
    assert read_stamp(next(luma for luma in pictures if luma is not None)) is None
    for number in (11, 12):
        camera.write(Composite(picture(), number))
        assert read_stamp(next(luma for luma in pictures if luma is not None)) == number
    assert next(pictures) is None


def test_slates_carry_no_time_and_composites_are_not_written_to() -> None:
    memory = MemorySink()
    sink = StampingSink(memory)
    sink.open()
    sink.write(make_slate(SIZE_WH, 5))
    shown = picture()
    before = shown.copy()
    sink.write(Composite(shown, 123456789))
    sink.close()
    lumas = [cv2.cvtColor(composite.rgb, cv2.COLOR_RGB2GRAY) for composite in memory.composites]
    assert [read_stamp(luma) for luma in lumas] == [None, 123456789]
    assert np.array_equal(shown, before)
    assert sink.ages.summary()[0].count == 1


def test_pictures_without_a_time_or_from_the_future_are_counted_apart() -> None:
    seen = Seen()
    assert seen.note(np.zeros((90, 160), np.uint8), 1000, 7) == 7
    rgb = np.zeros((90, 160, 3), np.uint8)
    draw_stamp(rgb, 2000)
    assert seen.note(rgb[..., 0], 1000, 7) == 7
    assert seen.unstamped == 2
    assert seen.note(rgb[..., 0], 3000, 7) == 2000
    assert seen.note(rgb[..., 0], 4000, 2000) == 2000, "the same picture again is not a new one"
    assert seen.ages_ms == [0.001]


@pytest.mark.parametrize("before_ns", [400_000, -400_000])
def test_ages_are_read_on_a_machine_that_has_run_for_days(before_ns: int) -> None:
    memory = MemorySink()
    sink = StampingSink(memory)
    sink.open()
    captured_ns = 2**48 - before_ns
    sink.write(Composite(picture(), captured_ns))
    seen = Seen()
    seen.note(cv2.cvtColor(memory.composites[0].rgb, cv2.COLOR_RGB2GRAY), captured_ns + 1_000_000, 0)
    assert seen.ages_ms == [1.0]


def test_who_watches_and_ends_early_is_noticed(tmp_path: Path) -> None:
    consumer = Consumer(tmp_path / "nothing.y4m", SIZE_WH)
    consumer.open()
    consumer._process.kill()
    consumer._process.join()
    with pytest.raises(InputError, match="ended early"):
        consumer.finish()
    consumer.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("livecomp")]


def test_a_device_that_is_none_is_named() -> None:
    config = Config.from_options({"live": {"device": "/dev/video999"}})
    with pytest.raises(OutputError, match=r"virtual camera|video999"):
        measure_live(Case(SIZE_WH, what="live"), config, "demo", "#204060", 0.1)


def test_frames_come_as_a_camera_sends_them_back_and_forth() -> None:
    frames = [Frame(picture(seed), seed) for seed in range(3)]
    source = PacketSource(frames, 30)
    assert source.info.fps == Fraction(30)
    read = [source.read() for _ in range(6)]
    nearest = [
        min(range(3), key=lambda seed: float(np.abs(frame.rgb.astype(int) - frames[seed].rgb).mean())) for frame in read
    ]
    assert nearest == [0, 1, 2, 1, 0, 1]
    assert [frame.pts_ns for frame in read][:2] == [0, 33_333_333]
