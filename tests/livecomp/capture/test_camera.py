"""CameraSource where there is no V4L2; against V4L2 it is tested in tests/v4l2."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from livecomp.capture import camera as camera_module
from livecomp.capture import devices
from livecomp.capture.camera import CameraSource
from livecomp.errors import InputError
from livecomp.frame import U8Array


class FakeCapture:
    """cv2.VideoCapture with two cameras; a script of the class decides what they do."""

    there = True
    silent = threading.Event()
    release_all = threading.Event()
    opened = 0

    def __init__(self, number: int) -> None:
        self._is_open = number < 2 and FakeCapture.there
        self._size = (64.0, 48.0)
        FakeCapture.opened += self._is_open

    def isOpened(self) -> bool:
        return self._is_open

    def set(self, name: int, value: float) -> bool:
        return True

    def get(self, name: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0, cv2.CAP_PROP_FPS: 30.0}[name]

    def read(self) -> tuple[bool, U8Array | None]:
        time.sleep(0.005)
        if FakeCapture.silent.is_set():
            FakeCapture.release_all.wait(10)
        if not FakeCapture.there:
            return False, None
        return True, np.full((48, 64, 3), (30, 20, 10), np.uint8)

    def release(self) -> None:
        FakeCapture.opened -= self._is_open
        self._is_open = False


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    for module in (camera_module, devices):
        monkeypatch.setattr(module, "has_v4l2", lambda: False)
    FakeCapture.there = True
    FakeCapture.silent.clear()
    FakeCapture.release_all.clear()
    FakeCapture.opened = 0
    yield
    FakeCapture.release_all.set()
    deadline = time.monotonic() + 5
    while any(thread.name == "camera-driver" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert FakeCapture.opened == 0


def read_on(source: CameraSource) -> None:
    for _ in range(10):
        source.read()


def test_numbers_are_probed_and_all_is_let_go() -> None:
    cameras = devices.list_cameras()
    assert [camera.path for camera in cameras] == ["0", "1"]
    assert cameras[0].modes[0].size_wh == (64, 48)
    assert FakeCapture.opened == 0


@pytest.mark.parametrize("spec", ["auto", 1, "1", "camera 1"])
def test_frames_are_rgb_with_rising_times(spec: Any) -> None:
    source = CameraSource(spec)
    source.open()
    frames = [source.read() for _ in range(5)]
    assert source.info.size_wh == (64, 48)
    assert source.info.frame_count is None
    source.close()
    source.close()
    assert frames[0].rgb[0, 0].tolist() == [10, 20, 30]
    assert all(b.pts_ns > a.pts_ns for a, b in itertools.pairwise(frames))
    assert 0 <= time.monotonic_ns() - frames[-1].pts_ns < 1_000_000_000


def test_looking_lights_no_lamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "VideoCapture")
    CameraSource("auto").look()


def test_a_camera_that_goes_and_comes_back() -> None:
    source = CameraSource("auto")
    source.open()
    first = source.read()
    FakeCapture.there = False
    with pytest.raises(InputError, match="unplugged"):
        read_on(source)
    with pytest.raises(InputError, match="is not plugged in"):
        source.open()
    FakeCapture.there = True
    source.open()
    assert source.read().pts_ns > first.pts_ns
    source.close()


def test_a_driver_that_hangs_holds_nobody(caplog: pytest.LogCaptureFixture) -> None:
    source = CameraSource("auto", timeout_s=0.2)
    source.open()
    source.read()
    FakeCapture.silent.set()
    start = time.monotonic()
    with pytest.raises(InputError, match=r"gave no picture for 0\.2 s"):
        read_on(source)
    source.close()
    assert time.monotonic() - start < 2
    assert "left behind" in caplog.text
    with pytest.raises(InputError, match="does not answer"):
        source.open()
    FakeCapture.silent.clear()
    FakeCapture.release_all.set()
    deadline = time.monotonic() + 5
    while FakeCapture.opened and time.monotonic() < deadline:
        time.sleep(0.01)
    source.open()
    source.read()
    source.close()


def test_before_it_is_open_it_gives_nothing() -> None:
    source = CameraSource("auto")
    source.close()
    with pytest.raises(InputError, match="is not open"):
        source.read()
    with pytest.raises(InputError, match="is not open"):
        _ = source.info


def test_an_unknown_number_lists_what_is_there() -> None:
    with pytest.raises(InputError, match=r"no camera '7'; there are: camera 0 \(0\), camera 1 \(1\)"):
        CameraSource(7).open()
