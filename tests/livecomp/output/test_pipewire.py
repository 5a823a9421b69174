"""The camera of PipeWire with a library of the test's own, which fails as the real one may; see also tests/pipewire."""

from __future__ import annotations

import ctypes
import errno
import time
from collections import Counter
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from livecomp.errors import OutputError
from livecomp.frame import U8Array
from livecomp.output.pipewire import library, pod, writer
from livecomp.output.pipewire.library import Buffer, Chunk, Data, Events, Header, Meta, StreamBuffer, find_pipewire
from livecomp.output.pipewire.writer import PipewireWriter
from livecomp.output.virtual import VirtualCameraSink, virtual_cameras
from tests.livecomp.clips import composite

SIZE_WH = (64, 48)
SIZE = 64 * 48 * 2
FORMAT = 4
ERROR, UNCONNECTED, CONNECTING, PAUSED, STREAMING = -1, 0, 1, 2, 3


class Library:
    """libpipewire with one connection and one stream."""

    def __init__(self) -> None:
        self.state = PAUSED
        self.message = b""
        self.refusal = 0
        self.has_core = True
        self.locks = 0
        self.free: list[ctypes.Array[ctypes.c_uint8]] = []
        self.taken: list[tuple[Any, ...]] = []
        self.shown: list[tuple[bytes, Chunk, Header]] = []
        self.params: list[bytes] = []
        self.triggers = 0
        self.open: Counter[str] = Counter()
        self.events: Events | None = None

    def lend(self, size: int = SIZE) -> ctypes.Array[ctypes.c_uint8]:
        self.free.append((ctypes.c_uint8 * (size + 16))(*[0xAA] * (size + 16)))
        return self.free[-1]

    def pw_get_library_version(self) -> bytes:
        return b"1.2.3"

    def pw_thread_loop_new(self, name: bytes, properties: None) -> int:
        self.open["loop"] += 1
        return 1

    def pw_thread_loop_get_loop(self, loop: int) -> int:
        return 2

    def pw_thread_loop_start(self, loop: int) -> int:
        self.open["thread"] += 1
        return 0

    def pw_thread_loop_lock(self, loop: int) -> None:
        assert loop == 1
        self.locks += 1

    def pw_thread_loop_unlock(self, loop: int) -> None:
        self.locks -= 1

    def pw_thread_loop_stop(self, loop: int) -> None:
        assert not self.locks, "the thread would wait for ever"
        self.open["thread"] -= self.open["thread"]

    def pw_thread_loop_destroy(self, loop: int) -> None:
        assert not self.open["thread"]
        self.open["loop"] -= 1

    def pw_context_new(self, loop: int, properties: None, size: int) -> int:
        self.open["context"] += 1
        return 3

    def pw_context_connect(self, context: int, properties: None, size: int) -> int | None:
        ctypes.set_errno(errno.EHOSTDOWN)
        return 4 if self.has_core else None

    def pw_context_destroy(self, context: int) -> None:
        assert not self.open["stream"]
        self.open["context"] -= 1

    def pw_properties_new_string(self, text: bytes) -> int:
        assert b'"media.role": "Camera"' in text
        return 5

    def pw_stream_new(self, core: int, name: bytes, properties: int) -> int:
        assert self.locks == 1
        self.open["stream"] += 1
        return 6

    def pw_stream_add_listener(self, stream: int, hook: object, events: Events, data: None) -> None:
        self.events = events

    def pw_stream_connect(self, stream: int, direction: int, target: int, flags: int, params: Any, count: int) -> int:
        assert self.locks == 1
        return -self.refusal

    def pw_stream_update_params(self, stream: int, params: Any, count: int) -> int:
        self.params = [params[index] for index in range(count)]
        return 0

    def pw_stream_get_state(self, stream: int, message: ctypes.c_char_p) -> int:
        assert self.locks == 1
        message.value = self.message or None
        return self.state

    def pw_stream_dequeue_buffer(self, stream: int) -> Any:
        assert self.locks == 1
        if not self.free:
            return ctypes.POINTER(StreamBuffer)()
        memory = self.free.pop(0)
        chunk, header = Chunk(), Header(flags=77)
        has_memory = len(memory) > 16
        address = ctypes.addressof(memory) if has_memory else None
        data = Data(data=address, maxsize=len(memory) - 16, chunk=ctypes.pointer(chunk))
        meta = Meta(library.META_HEADER, ctypes.sizeof(Header), ctypes.pointer(header))
        buffer = Buffer(1, 1, ctypes.pointer(meta), ctypes.pointer(data))
        lent = StreamBuffer(ctypes.pointer(buffer))
        self.taken.append((memory, chunk, header, data, meta, buffer, lent))
        return ctypes.pointer(lent)

    def pw_stream_queue_buffer(self, stream: int, lent: Any) -> int:
        memory, chunk, header, *_ = self.taken[-1]
        self.shown.append((bytes(memory), chunk, header))
        return 0

    def pw_stream_trigger_process(self, stream: int) -> int:
        assert len(self.shown) == self.triggers + 1, "the picture has to be there first"
        self.triggers += 1
        return 0

    def pw_stream_destroy(self, stream: int) -> None:
        assert not self.open["thread"]
        self.open["stream"] -= 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(library, "_load", lambda: made)
    monkeypatch.setattr(writer, "_OPEN_S", 0.05)
    return made


def some_picture() -> U8Array:
    return np.random.default_rng(3).integers(0, 256, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)


def test_parameters_are_what_pipewires_own_builder_makes_of_them() -> None:
    # by spa_pod_builder_add_object of its headers, 0.3.65
    made = pod.object_(
        0x40004,
        5,
        [
            (1, pod.range_of(4, 2, 8)),
            (2, pod.int_(1)),
            (3, pod.int_(1280 * 720 * 2)),
            (4, pod.int_(2560)),
            (6, pod.flags_of(6)),
        ],
    )
    assert made.hex() == (
        "a80000000f000000040004000500000001000000000000001c0000001300000001000000000000000400000004000000040000000200000"
        "008000000000000000200000000000000040000000400000001000000000000000300000000000000040000000400000000201c00000000"
        "0004000000000000000400000004000000000a0000000000000600000000000000140000001300000004000000000000000400000004000"
        "0000600000000000000"
    )
    made = pod.object_(
        0x40003,
        3,
        [(0x20001, pod.id_(4)), (0x20003, pod.rectangle(1280, 720)), (0x20004, pod.fraction(30000, 1001))],
    )
    assert made.hex() == (
        "500000000f0000000300040003000000"
        "0100020000000000040000000300000004000000000000000300020000000000080000000a00000000050000d00200000400020000000000"
        "080000000b00000030750000e9030000"
    )


def test_a_picture_is_in_the_buffer_whole_before_pipewire_is_told(fake: Library) -> None:
    camera = PipewireWriter(SIZE_WH, Fraction(30))
    assert fake.events is not None
    fake.events.param_changed(None, FORMAT, 1)
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
    assert fake.events is not None
    fake.events.param_changed(None, FORMAT, None)
    fake.events.param_changed(None, 2, 1)
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
    with pytest.raises(OutputError, match="PipeWire gives the camera up: connection error"):
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
    with pytest.raises(OutputError, match="PipeWire refuses the camera: Invalid argument"):
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
