"""The camera that PipeWire is given, with a library of the test's own; with the real one it is in tests/pipewire."""

from __future__ import annotations

import errno
import time
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from livecomp.errors import OutputError
from livecomp.frame import U8Array
from livecomp.output.pipewire import PipewireWriter
from livecomp.output.virtual import VirtualCameraSink, virtual_cameras
from livecomp.pipewire import library, pod
from livecomp.pipewire.library import find_pipewire
from tests.livecomp.clips import composite
from tests.livecomp.pipewire.fake import (
    CONNECTING,
    ERROR,
    FORMAT,
    SIZE,
    SIZE_WH,
    STREAMING,
    UNCONNECTED,
    Library,
)

FORMAT_POD = pod.object_(0x40003, FORMAT, [])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(library, "_load", lambda: made)
    monkeypatch.setattr("livecomp.output.pipewire._OPEN_S", 0.05)
    return made


def some_picture() -> U8Array:
    return np.random.default_rng(3).integers(0, 256, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)


def test_a_picture_is_in_the_buffer_whole_before_pipewire_is_told(fake: Library) -> None:
    camera = PipewireWriter(SIZE_WH, Fraction(30))
    fake.tell(FORMAT, FORMAT_POD)
    assert len(fake.params) == 2
    fake.state = STREAMING
    rgb = some_picture()
    before = time.monotonic_ns()
    for _ in range(2):
        fake.lend()
        camera.send(rgb)
    camera.close()
    assert fake.triggers == 2
    for number, (memory, chunk, header) in enumerate(fake.shown):
        assert memory[:SIZE] == cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUY2).tobytes()
        assert memory[SIZE:] == b"\xaa" * 16
        assert (chunk.offset, chunk.size, chunk.stride, chunk.flags) == (0, SIZE, 128, 0)
        assert (header.seq, header.flags, header.dts_offset) == (number, 0, 0)
        assert before <= header.pts <= time.monotonic_ns()
    assert not +fake.open
    assert fake.locks == 0


def test_the_end_of_a_format_asks_for_nothing(fake: Library) -> None:
    camera = PipewireWriter(SIZE_WH, Fraction(30))
    fake.tell(FORMAT, None)
    fake.tell(2, FORMAT_POD)
    assert not fake.params
    camera.close()


def test_nothing_is_done_while_nobody_watches_or_all_buffers_are_held(fake: Library) -> None:
    camera = PipewireWriter(SIZE_WH, Fraction(30))
    fake.lend()
    camera.send(some_picture())
    assert camera.viewers() == 0
    assert not fake.taken
    fake.state = STREAMING
    fake.free.clear()
    camera.send(some_picture())
    assert camera.viewers() == 1
    assert not fake.shown
    camera.close()
    assert camera.viewers() is None


@pytest.mark.parametrize("size", [0, SIZE - 1])
def test_a_buffer_that_is_too_small_is_given_back_empty(fake: Library, size: int) -> None:
    camera = PipewireWriter(SIZE_WH, Fraction(30))
    fake.state = STREAMING
    fake.lend(size)
    camera.send(some_picture())
    memory, chunk, _ = fake.shown[0]
    assert set(memory) == {0xAA}
    assert chunk.size == 0
    camera.close()


@pytest.mark.parametrize("state", [ERROR, UNCONNECTED])
def test_a_camera_that_pipewire_gives_up_is_closed_and_can_be_opened_again(fake: Library, state: int) -> None:
    sink = VirtualCameraSink(size_wh=SIZE_WH, fps=30, backend="pipewire")
    sink.open()
    assert (sink.label, sink.device) == ("LiveComp", "PipeWire")
    fake.state, fake.message = state, b"connection error"
    assert sink.viewers() is None
    with pytest.raises(OutputError, match="PipeWire ended the stream: connection error"):
        sink.write(composite(0, SIZE_WH))
    assert not +fake.open
    assert sink.device == ""
    fake.state, fake.message = STREAMING, b""
    sink.open()
    fake.lend()
    sink.write(composite(0, SIZE_WH))
    assert fake.triggers == 1
    sink.close()
    assert not +fake.open


def test_what_fails_at_the_start_leaves_nothing_behind(fake: Library) -> None:
    fake.has_core = False
    with pytest.raises(OutputError, match="PipeWire does not run for this user: Host is down"):
        PipewireWriter(SIZE_WH, Fraction(30))
    assert "does not run" in find_pipewire().trouble
    fake.has_core = True
    fake.refusal = errno.EINVAL
    with pytest.raises(OutputError, match="PipeWire refuses the stream: Invalid argument"):
        PipewireWriter(SIZE_WH, Fraction(30))
    assert not +fake.open
    assert fake.locks == 0


def test_pipewire_that_hangs_is_not_waited_for_and_has_the_camera_when_it_answers(
    fake: Library, caplog: pytest.LogCaptureFixture
) -> None:
    fake.state = CONNECTING
    camera = PipewireWriter(SIZE_WH, Fraction(30))
    assert "PipeWire does not answer" in caplog.text
    camera.send(some_picture())
    assert camera.viewers() == 0
    assert not fake.shown
    fake.state = STREAMING
    fake.lend()
    camera.send(some_picture())
    assert len(fake.shown) == 1
    camera.close()
    assert not +fake.open


@pytest.mark.parametrize("fault", ["missing", "old"])
def test_a_library_that_is_missing_or_too_old_is_told(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    class Old:
        def __init__(self, name: str, **_: object) -> None:
            if fault == "missing":
                raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(library.ctypes, "CDLL", Old)
    library._load.cache_clear()
    try:
        found = find_pipewire()
        assert found.version == ""
        assert ("cannot open" if fault == "missing" else "no attribute") in found.trouble
        with pytest.raises(OutputError, match="its library cannot be used"):
            PipewireWriter(SIZE_WH, Fraction(30))
    finally:
        library._load.cache_clear()


def backends(device: str, **how: Any) -> list[str | None]:
    return [camera._backend for camera in virtual_cameras(device, size_wh=SIZE_WH, fps=30, **how)]


def test_a_call_is_shown_in_all_there_are_unless_one_is_named(
    fake: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("livecomp.output.virtual.sys.platform", "linux")
    assert backends("auto", root=tmp_path) == ["pipewire"]
    assert "without v4l2loopback only programs that look for cameras in PipeWire" in caplog.text
    caplog.clear()
    monkeypatch.setattr("livecomp.output.virtual.list_virtual_cameras", lambda root: ["one"])
    assert backends("auto") == ["v4l2loopback", "pipewire"]
    assert backends("/dev/video10") == [None]
    assert backends("pipewire") == ["pipewire"]
    fake.has_core = False
    assert backends("auto") == [None]
    assert backends("pipewire") == ["pipewire"]  # opening it tells why not
    monkeypatch.setattr("livecomp.output.virtual.sys.platform", "win32")
    assert backends("auto") == [None]
    assert not caplog.text
