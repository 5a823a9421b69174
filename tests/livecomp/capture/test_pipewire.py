"""Cameras of PipeWire, by a `pw-dump` and a library of the test's own; the real ones are in tests/pipewire."""

from __future__ import annotations

import json
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livecomp.capture import devices
from livecomp.capture.camera import CameraSource
from livecomp.capture.devices import CameraInfo, find_camera, list_cameras
from livecomp.capture.negotiate import Mode
from livecomp.capture.pipewire import PipewirePictures, list_nodes
from livecomp.errors import InputError
from livecomp.pipewire import library, pod, spa
from tests.livecomp.pipewire.fake import CONNECTING, ERROR, FORMAT, STREAMING, Camera

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PipeWire is a part of Linux")

MODE = Mode("XR24", (8, 6), (Fraction(30),))
BLUE = bytes((255, 0, 0, 0))
CAMERA = {"media.class": "Video/Source", "media.role": "Camera", "node.description": "Front", "device.api": "libcamera"}
SIZE = {"width": 640, "height": 480}


class Dump:
    """What `pw-dump` does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def does(self, script: str) -> None:
        program = self._folder / "pw-dump"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def says(self, *entries: Any) -> None:
        (self._folder / "entries").write_text(json.dumps(entries))
        self.does(f"/bin/cat {self._folder}/entries")

    def has(self, *formats: Any, **facts: Any) -> None:
        self.says(node({**CAMERA, "node.name": "front", **facts}, *formats))


def node(properties: dict[str, Any], *formats: Any) -> dict[str, Any]:
    return {"id": 1, "info": {"props": properties, "params": {"EnumFormat": list(formats)}}}


def raw(name: Any, size: Any, rate: Any = None) -> dict[str, Any]:
    told = {"mediaType": "video", "mediaSubtype": "raw", "format": name, "size": size}
    return told if rate is None else told | {"framerate": rate}


def size(width: int, height: int) -> dict[str, int]:
    return {"width": width, "height": height}


def rate(numerator: int, denominator: int = 1) -> dict[str, int]:
    return {"num": numerator, "denom": denominator}


@pytest.fixture
def dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dump:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Dump(tmp_path)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Camera:
    made = Camera()
    monkeypatch.setattr(library, "_load", lambda: made)
    monkeypatch.setattr("livecomp.capture.pipewire._OPEN_S", 0.05)
    return made


def test_modes_are_made_out_of_values_choices_and_ranges(dump: Dump) -> None:
    dump.has(
        raw("NV12", size(1280, 720), rate(30)),
        raw(
            {"default": "YUY2", "alt1": "YUY2", "alt2": "Y42B"},
            {"default": size(640, 480), "alt1": size(640, 480), "alt2": size(320, 240)},
            {"default": rate(30), "alt1": rate(30), "alt2": rate(30000, 1001), "alt3": rate(0)},
        ),
        {"mediaType": "video", "mediaSubtype": "mjpg", "size": size(1920, 1080), "framerate": rate(60)},
        raw(
            "BGRx",
            {"default": size(640, 360), "min": size(320, 180), "max": size(1280, 720), "step": size(2, 2)},
            {"default": rate(30), "min": rate(0), "max": rate(30)},
        ),
        raw("RGB", {"default": size(100, 100), "min": size(90, 90), "max": size(110, 110)}),
    )
    both = (Fraction(30), Fraction(30000, 1001))
    few = tuple(map(Fraction, (30, 25, 24, 20, 15, 10, 5)))
    sizes = [(320, 180), (320, 240), (640, 360), (640, 480), (960, 540), (1280, 720)]
    assert list(list_nodes()[0].modes) == [
        Mode("NV12", (1280, 720), (Fraction(30),)),
        *(Mode(fourcc, size_wh, both) for fourcc in ("YUYV", "Y42B") for size_wh in ((640, 480), (320, 240))),
        Mode("MJPG", (1920, 1080), (Fraction(60),)),
        *(Mode("XR24", size_wh, few) for size_wh in sizes),
        Mode("RGB3", (90, 90), ()),
        Mode("RGB3", (110, 110), ()),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        raw("NV12", None),
        raw("NV12", {"width": 640}),
        raw("NV12", SIZE, rate(30, 0)),
        raw("NV12", SIZE, {"default": rate(30), "min": {}, "max": {}}),
        raw(None, SIZE),
        raw("NV12", "640x480"),
        {},
    ],
)
def test_a_format_that_cannot_be_made_out_is_left_out(dump: Dump, broken: dict[str, Any]) -> None:
    dump.has(broken, raw("YUY2", SIZE, rate(30)))
    assert [mode.fourcc for mode in list_nodes()[0].modes] == ["YUYV"]


def test_what_is_no_camera_or_read_otherwise_is_left_out(dump: Dump) -> None:
    named = {**CAMERA, "node.name": "front"}
    dump.says(
        {"id": 0, "info": None},
        {"id": 2},
        node({**named, "media.class": "Audio/Source"}),
        node({**named, "media.role": "Screen"}),
        node({**named, "device.api": "v4l2"}),
        node({**named, "node.name": "livecomp"}),
        node(CAMERA),
        node({**named, "node.name": "back"}),
    )
    assert [found.name for found in list_nodes()] == ["back"]


@pytest.mark.parametrize("fault", ["echo 'cannot connect: Host is down' >&2; exit 255", "echo '[{'", "/bin/sleep 20"])
def test_where_pipewire_does_not_answer_there_are_none(
    dump: Dump, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    monkeypatch.setattr("livecomp.capture.pipewire._DUMP_S", 0.3)
    caplog.set_level("DEBUG")
    assert list_nodes() == []  # not installed
    assert not caplog.text
    dump.does(fault)
    start = time.monotonic()
    assert list_nodes() == []
    assert time.monotonic() - start < 3
    assert "cameras of PipeWire are not known" in caplog.text


def test_a_camera_of_v4l2_goes_first_where_it_can_be_read(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = (Mode("MJPG", (1280, 720), (Fraction(30),)),)
    sensor = (Mode("BG10", (1280, 720), ()),)
    found: list[CameraInfo] = []
    monkeypatch.setattr(devices, "has_v4l2", lambda: True)
    monkeypatch.setattr(devices, "_nodes", lambda root: [Path(camera.path) for camera in found])
    monkeypatch.setattr(devices, "_stable_ids", lambda root: {})
    monkeypatch.setattr(devices, "_described", lambda path, root, stable: next(c for c in found if c.path == str(path)))
    dump.has(raw("NV12", SIZE, rate(30)), **{"node.description": "Integrated Camera"})
    assert find_camera("auto").path == "pipewire:front"
    found.append(CameraInfo("/dev/video0", "ipu6", modes=sensor))
    assert find_camera("auto").path == "pipewire:front"
    found.append(CameraInfo("/dev/video1", "Integrated Camera: Integrated C", modes=usual))
    assert find_camera("auto").path == "/dev/video1"
    assert find_camera("integrated").path == "/dev/video1"
    assert find_camera("pipewire:front").path == find_camera("front").path == "pipewire:front"
    found[1] = CameraInfo("/dev/video1", "Integrated Camera: Integrated C", modes=usual, trouble="in use")
    assert find_camera("auto").path == "pipewire:front"
    with pytest.raises(InputError, match=r"ipu6 \(/dev/video0\).*Integrated Camera \(pipewire:front\)"):
        find_camera("pipewire:back")


def test_cameras_of_pipewire_are_this_systems_alone(dump: Dump, tmp_path: Path) -> None:
    dump.has(raw("NV12", SIZE, rate(30)))
    assert list_cameras(tmp_path) == []


def test_the_newest_picture_is_taken_and_all_are_given_back(fake: Camera) -> None:
    pictures = PipewirePictures("front", MODE, Fraction(30))
    assert (pictures.size_wh, pictures.fps) == ((8, 6), 30)
    assert pictures.description == "XR24 8x6 at 30 fps, through PipeWire"
    assert pictures.take() is None
    made_ns = time.monotonic_ns() - 1_000_000
    fake.give(bytes(8 * 6 * 4), pts=1)
    fake.give(BLUE * 8 * 6, pts=made_ns)
    taken = pictures.take()
    assert taken is not None
    rgb, time_ns = taken
    assert rgb.shape == (6, 8, 3)
    assert (rgb == (0, 0, 255)).all()
    assert not rgb.flags.writeable
    assert time_ns == made_ns
    assert fake.back == 2
    fake.give(BLUE * 8 * 6, pts=1)  # of no clock that is known
    taken = pictures.take()
    assert taken is not None
    assert made_ns < taken[1] <= time.monotonic_ns()
    pictures.close()
    pictures.close()
    assert not +fake.open
    assert fake.locks == 0


def test_rows_may_be_padded_and_planes_apart(fake: Camera) -> None:
    mode = Mode("NV12", (8, 6), (Fraction(30),))
    pictures = PipewirePictures("front", mode, Fraction(30))
    luma, chroma = (bytes([value] * 8 + [7] * 8) for value in (145, 128))
    fake.give(luma * 6, chroma * 3, stride=16)
    taken = pictures.take()
    assert taken is not None
    assert np.ptp(taken[0]) == 0
    assert taken[0][0, 0, 0] == round((145 - 16) * 255 / 219)
    pictures.close()


@pytest.mark.parametrize(
    ("planes", "facts"),
    [
        ((BLUE * 48,), {"flags": spa.CHUNK_CORRUPTED}),
        ((BLUE * 48,), {"flags": spa.CHUNK_EMPTY}),
        ((BLUE * 48,), {"header_flags": spa.HEADER_CORRUPTED}),
        ((BLUE * 48,), {"offset": 1}),
        ((BLUE * 48,), {"size": 0xFFFFFFFF}),
        ((BLUE * 47,), {}),
        ((b"",), {}),
        ((b"",), {"size": 192}),
        ((), {}),
        ((BLUE * 48, b""), {}),
    ],
)
def test_a_picture_that_is_damaged_or_not_where_it_says_is_left_out(
    fake: Camera, planes: tuple[bytes, ...], facts: dict[str, int]
) -> None:
    pictures = PipewirePictures("front", MODE, Fraction(30))
    fake.give(*planes, **facts)
    assert pictures.take() is None
    fake.give(BLUE * 48)
    assert pictures.take() is not None
    assert fake.back == 2
    pictures.close()


def test_a_format_that_changes_meanwhile_is_followed(fake: Camera) -> None:
    pictures = PipewirePictures("front", MODE, Fraction(30))
    fake.give(BLUE * 48)
    assert pictures.take() is not None
    properties = [
        (spa.MEDIA_SUBTYPE, pod.id_(spa.RAW)),
        (spa.VIDEO_FORMAT, pod.id_(15)),
        (spa.SIZE, pod.rectangle(8, 6)),
    ]
    fake.tell(FORMAT, pod.object_(spa.FORMAT_OBJECT, FORMAT, properties))
    fake.give(bytes((1, 2, 3)) * 48)
    taken = pictures.take()
    assert taken is not None
    assert (taken[0] == (1, 2, 3)).all()
    fake.tell(FORMAT, pod.object_(spa.FORMAT_OBJECT, FORMAT, properties[:1]))
    fake.give(bytes((1, 2, 3)) * 48)
    assert pictures.take() is None
    pictures.close()


@pytest.mark.parametrize("fault", ["not running", "refused", "failed", "hangs", "another format"])
def test_what_fails_at_the_start_is_told_and_leaves_nothing_behind(dump: Dump, fake: Camera, fault: str) -> None:
    told = {
        "not running": "PipeWire does not run for this user: Host is down",
        "refused": "PipeWire refuses the stream: Device or resource busy",
        "failed": "PipeWire ended the stream: no target node available",
        "hangs": "PipeWire has not started it within",
        "another format": "PipeWire has not started it within",
    }
    fake.has_core = fault != "not running"
    fake.refusal = 16 if fault == "refused" else 0
    fake.state = {"failed": ERROR, "hangs": CONNECTING}.get(fault, STREAMING)
    fake.message = b"no target node available" if fault == "failed" else b""
    fake.chooses = pod.object_(spa.FORMAT_OBJECT, FORMAT, []) if fault == "another format" else None
    dump.has(raw("BGRx", size(8, 6), rate(30)))
    source = CameraSource("front")
    with pytest.raises(
        InputError, match=rf"the camera Front \(pipewire:front\) cannot be started: {told[fault]}.*; close"
    ):
        source.open()
    assert not +fake.open
    assert fake.locks == 0


def test_a_camera_that_goes_is_told(fake: Camera) -> None:
    pictures = PipewirePictures("front", MODE, Fraction(30))
    fake.state, fake.message = ERROR, b"connection error"
    with pytest.raises(InputError, match="the camera is gone: PipeWire ended the stream: connection error; it is used"):
        pictures.take()
    pictures.close()
    assert not +fake.open
