"""Cameras that only PipeWire can read, as the source of a call."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest

from livecomp.capture.camera import CameraSource
from livecomp.capture.devices import list_cameras
from livecomp.errors import InputError
from livecomp.frame import U8Array
from livecomp.output.pipewire import PipewireWriter
from livecomp.pipewire import pod, spa
from tests.pipewire.desktop import Desktop
from tests.pipewire.provider import BGRX, NAME, NV12, Provider, bgrx, format_of, jpeg, nv12
from tests.v4l2.browser.marks import draw_number, read_number

SIZE_WH = (320, 180)
COLOR = (200, 30, 90)
BT709 = ((spa.COLOR_MATRIX, pod.id_(spa.MATRIX_BT709)), (spa.COLOR_RANGE, pod.id_(spa.LIMITED)))


def numbered(number: int, color: tuple[int, int, int] = COLOR) -> U8Array:
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), color, np.uint8)
    draw_number(rgb, number)
    return rgb


def camera(color: tuple[int, int, int] = COLOR, **facts: str) -> Provider:
    return Provider([format_of(SIZE_WH, BGRX)], lambda number: bgrx(numbered(number, color)), **facts)


def number_of(rgb: U8Array) -> int:
    pair = read_number(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8))
    assert pair is not None
    assert pair[0] == pair[1], "a torn picture"
    return pair[0]


def wait_until(holds: Callable[[], bool], within_s: float = 3) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def read_until_it_fails(source: CameraSource, told: str) -> list[U8Array]:
    """The pictures before that."""
    found: list[U8Array] = []
    with pytest.raises(InputError, match=told):  # noqa: PT012
        while True:
            found.append(source.read().rgb)
    return found


def narrow_nv12(number: int) -> list[bytes]:
    return nv12(numbered(number), stride=384)


def nv12_of_bt709(number: int) -> list[bytes]:
    """OpenCV knows BT.601 alone, so the colours are put in by their formula."""
    luma, _ = nv12(numbered(number), stride=320)
    r, g, b = (level / 255 for level in COLOR)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    u, v = round(128 + 224 * (b - y) / 1.8556), round(128 + 224 * (r - y) / 1.5748)
    planes = [np.frombuffer(luma, np.uint8).reshape(180, 320).copy(), np.tile(np.uint8([u, v]), (90, 160))]
    planes[0][30:150] = round(16 + 219 * y)
    return [plane.tobytes() for plane in planes]


@pytest.mark.parametrize(
    ("offered", "planes", "stride", "told"),
    [
        (format_of(SIZE_WH, BGRX), lambda number: bgrx(numbered(number)), 1280, "XR24 320x180 at 30 fps"),
        (format_of(SIZE_WH, NV12), narrow_nv12, 384, "NV12 320x180 at 30 fps, BT.601 limited range"),
        (format_of(SIZE_WH, NV12, rate=None), narrow_nv12, 0, "NV12 320x180 at 30 fps, BT.601 limited range"),
        (format_of(SIZE_WH, NV12, *BT709), nv12_of_bt709, 320, "NV12 320x180 at 30 fps, BT.709 limited range"),
        (format_of(SIZE_WH, None), lambda number: jpeg(numbered(number)), 0, "MJPG 320x180 at 30 fps"),
    ],
    ids=["BGRx", "NV12 in two padded planes", "NV12 that says neither stride nor rate", "BT.709", "JPEG"],
)
def test_pictures_come_whole_in_order_and_in_their_colours(
    desktop: Desktop,
    caplog: pytest.LogCaptureFixture,
    offered: bytes,
    planes: Callable[[int], list[bytes]],
    stride: int,
    told: str,
) -> None:
    source = CameraSource("Built-in", size_wh=SIZE_WH)
    caplog.set_level("INFO")
    with Provider([offered], planes, stride=stride):
        source.open()
        try:
            frames = [source.read() for _ in range(30)]
            now_ns = time.monotonic_ns()
        finally:
            source.close()
    assert f"Built-in Camera gives {told}, through PipeWire" in caplog.text
    assert source.info.size_wh == SIZE_WH
    found = [number_of(frame.rgb) for frame in frames]
    assert found == list(range(found[0], found[0] + 30))
    assert abs(frames[-1].rgb[90, 160].astype(int) - COLOR).max() <= 3
    assert 0 < now_ns - frames[-1].pts_ns < 100_000_000, "the time at which the camera made it"
    assert frames[-1].pts_ns - frames[0].pts_ns == pytest.approx(29e9 / 30, rel=0.1)


def test_gstreamers_pictures_are_not_slanted(desktop: Desktop) -> None:
    # which pads rows, and does not say so
    with desktop.gstreamer_camera("format=RGB,width=638,height=360,framerate=30/1", "foreground-color=0xffc81e5a"):
        source = CameraSource("auto")
        source.open()
        try:
            rgb = source.read().rgb
        finally:
            source.close()
    assert rgb.shape == (360, 638, 3)
    assert (rgb == COLOR).all()


def test_cameras_are_listed_that_v4l2_cannot_read_and_not_livecomps_own(desktop: Desktop) -> None:
    more = {"name": "phone", "label": "Phone", "interface": ""}
    writer = PipewireWriter(SIZE_WH, Fraction(30))
    try:
        with camera(), camera(name="v4l2_input.usb", interface="v4l2"), camera(**more):
            wait_until(lambda: len(list_cameras(with_virtual=True)) == 2)
            built_in, phone = list_cameras(with_virtual=True)
            assert list_cameras() == [built_in]
            printed = desktop.livecomp("devices")
            described = json.loads(desktop.livecomp("devices", "--json"))["cameras"]
    finally:
        writer.close()
    assert (built_in.path, built_in.name, built_in.stable_id) == (f"pipewire:{NAME}", "Built-in Camera", NAME)
    assert (built_in.driver, phone.name, phone.is_virtual) == ("libcamera", "Phone", True)
    assert [(mode.fourcc, mode.size_wh, mode.fps) for mode in built_in.modes] == [("XR24", SIZE_WH, (30,))]
    assert f"camera Built-in Camera (pipewire:{NAME})\n  XR24 320x180@30\n" in printed
    assert [entry["name"] for entry in described] == ["Built-in Camera"]
    assert list_cameras(with_virtual=True) == []


def test_the_camera_is_on_while_it_is_read_and_no_longer(desktop: Desktop) -> None:
    source = CameraSource(f"pipewire:{NAME}")
    with camera() as provider:
        for _ in range(3):
            source.look()
            assert not provider.is_on
            source.open()
            source.read()
            assert provider.is_on
            source.close()
            wait_until(lambda: not provider.is_on)


def test_an_unplugged_camera_is_told_at_once_and_no_other_is_shown_in_its_place(desktop: Desktop) -> None:
    source = CameraSource("Built-in")
    with camera(color=(10, 240, 20), name="other", label="Other"):
        with camera() as provider:
            source.open()
            source.read()
            provider.unplug()
            start = time.monotonic()
            for rgb in read_until_it_fails(source, "the camera is gone"):
                assert abs(rgb[90, 160].astype(int) - COLOR).max() <= 3
            assert time.monotonic() - start < 1
            wait_until(lambda: len(list_cameras()) == 1)
            with pytest.raises(InputError, match="Built-in Camera is not plugged in"):
                source.open()
        with camera():
            wait_until(lambda: len(list_cameras()) == 2)
            source.open()
            assert abs(source.read().rgb[90, 160].astype(int) - COLOR).max() <= 3
            source.close()


def test_a_damaged_picture_is_left_out(desktop: Desktop) -> None:
    source = CameraSource("Built-in")
    with camera() as provider:
        source.open()
        source.read()
        for field in ("chunk_flags", "header_flags"):
            setattr(provider, field, spa.CHUNK_CORRUPTED | spa.HEADER_CORRUPTED)
            before = provider.sent + 1
            assert all(number_of(rgb) <= before for rgb in read_until_it_fails(source, "gave no picture for 1 s"))
            setattr(provider, field, 0)
            assert number_of(source.read().rgb) > before
        source.close()


def test_a_pipewire_that_hangs_or_ends_is_told_and_its_cameras_are_used_again(desktop: Desktop) -> None:
    source = CameraSource("Built-in")
    with camera():
        source.open()
        source.read()
        desktop.signal_pipewire(signal.SIGSTOP)
        try:
            start = time.monotonic()
            with pytest.raises(InputError, match="is not plugged in"):
                source.open()
            assert time.monotonic() - start < 6
        finally:
            desktop.signal_pipewire(signal.SIGCONT)
        source.open()
        source.read()
        desktop.stop_pipewire()
        start = time.monotonic()
        read_until_it_fails(source, "the camera is gone: PipeWire ended the stream: connection error")
        assert time.monotonic() - start < 1
        with pytest.raises(InputError, match="is not plugged in"):
            source.open()
    desktop.start_pipewire()
    with camera():
        source.open()
        source.read()
        source.close()
