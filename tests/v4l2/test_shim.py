"""The stand-in behaves as the drivers do, seen by the libraries that are used with them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tests.v4l2.shim import CameraState, FakeCamera, FakeLoopback, LoopbackState, Program, environment

pytestmark = pytest.mark.v4l2


def test_opencv_reads_at_the_rate_and_sees_unplug_and_replug(fake_v4l2: Path, tmp_path: Path) -> None:
    camera = FakeCamera(tmp_path / "camera", [("YUYV", (64, 48), (30,))])
    camera.show(np.full((48, 64, 3), (200, 40, 90), np.uint8))
    script = """
        import time, cv2
        camera = cv2.VideoCapture("/dev/video0", cv2.CAP_V4L2)
        camera.read()
        start = time.monotonic()
        for _ in range(45):
            good, bgr = camera.read()
        print(45 / (time.monotonic() - start), *bgr[20, 20], flush=True)
        input()
        print(camera.read()[0])
        camera.release()
        print(cv2.VideoCapture("/dev/video0", cv2.CAP_V4L2).isOpened())
        input()
        print(cv2.VideoCapture("/dev/video0", cv2.CAP_V4L2).read()[0])
    """
    with Program(environment(fake_v4l2, {"/dev/video0": camera}), script) as program:
        fps, blue, green, red = map(float, program.line().split())
        assert 25 < fps < 31
        assert (red, green, blue) == pytest.approx((200, 40, 90), abs=2)
        camera.state = CameraState.UNPLUGGED
        program.go_on()
        assert program.line() == "False"
        assert program.line() == "False"
        camera.state = CameraState.THERE
        program.go_on()
        assert program.line() == "True"
        program.finish()


def test_opencv_waits_for_a_silent_camera_only_as_long_as_it_was_told(fake_v4l2: Path, tmp_path: Path) -> None:
    camera = FakeCamera(tmp_path / "camera", [("YUYV", (64, 48), (30,))])
    script = """
        import time, cv2
        camera = cv2.VideoCapture("/dev/video0", cv2.CAP_V4L2)
        print(camera.read()[0], flush=True)
        input()
        start = time.monotonic()
        print(camera.read()[0], time.monotonic() - start)
    """
    variables = {**environment(fake_v4l2, {"/dev/video0": camera}), "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "1"}
    with Program(variables, script) as program:
        assert program.line() == "True"
        camera.state = CameraState.SILENT
        program.go_on()
        good, seconds = program.line().split()
        assert good == "False"
        assert 0.9 < float(seconds) < 8
        program.finish()


PRODUCER = """
    import sys, time, numpy, pyvirtualcam
    with pyvirtualcam.Camera(64, 48, 30, device="/dev/video10", fmt=pyvirtualcam.PixelFormat.RGB) as camera:
        camera.send(numpy.full((48, 64, 3), (250, 20, 30), numpy.uint8))
        print(camera.device, flush=True)
        input()
"""


def test_pyvirtualcam_writes_what_is_read_back(fake_v4l2: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyvirtualcam")
    output = FakeLoopback(tmp_path / "LiveComp.y4m")
    with Program(environment(fake_v4l2, {"/dev/video10": output}), PRODUCER) as program:
        assert program.line() == "/dev/video10"
        assert output.frames == 1
        assert output.size_wh == (64, 48)
        assert output.rgb()[24, 32].tolist() == pytest.approx((250, 20, 30), abs=4)
        assert output.producer == program.pid
        program.go_on()
        program.finish()
        assert output.producer == 0


@pytest.mark.parametrize("killed", [False, True])
def test_version_0_12_7_takes_one_producer_until_it_is_healed(fake_v4l2: Path, tmp_path: Path, killed: bool) -> None:
    pytest.importorskip("pyvirtualcam")
    output = FakeLoopback(tmp_path / "LiveComp.y4m", sticky=True)
    with Program(environment(fake_v4l2, {"/dev/video10": output}), PRODUCER) as program:
        assert program.line() == "/dev/video10"
        if killed:
            program.kill()
        else:
            program.go_on()
            program.finish()
    script = """
        import fcntl, os, struct, pyvirtualcam
        try:
            pyvirtualcam.Camera(64, 48, 30, device="/dev/video10")
        except RuntimeError as error:
            print(error)
        device = os.open("/dev/video10", os.O_RDWR)
        try:
            fcntl.ioctl(device, 0x40045612, struct.pack("i", 2))
        except OSError as error:
            print(error.errno)
        os.close(device)
        pyvirtualcam.Camera(64, 48, 30, device="/dev/video10").close()
        print("healed")
    """
    with Program(environment(fake_v4l2, {"/dev/video10": output}), script) as program:
        assert "not a video output device" in program.line()
        assert program.line() == "22"
        assert program.line() == "healed"
        program.finish()


def test_a_virtual_camera_that_is_busy_or_has_gone(fake_v4l2: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyvirtualcam")
    output = FakeLoopback(tmp_path / "LiveComp.y4m")
    output.state = LoopbackState.BUSY
    script = """
        import os, pyvirtualcam
        try:
            pyvirtualcam.Camera(64, 48, 30, device="/dev/video10")
        except RuntimeError as error:
            print(error)
        device = os.open("/dev/video10", os.O_RDWR)
        print("open", flush=True)
        input()
        try:
            os.write(device, b"0")
        except OSError as error:
            print(error.errno)
    """
    with Program(environment(fake_v4l2, {"/dev/video10": output}), script) as program:
        assert "/dev/video10" in program.line()
        assert program.line() == "open"
        output.state = LoopbackState.REMOVED
        program.go_on()
        assert program.line() == "19"
        program.finish()


def test_the_client_usage_event_tells_who_watches(fake_v4l2: Path, tmp_path: Path) -> None:
    output = FakeLoopback(tmp_path / "LiveComp.y4m", usage_events=True)
    script = """
        import fcntl, os, select, struct
        device = os.open("/dev/video10", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, 0x4020565A, struct.pack("8I", 0x08000000 + 0x08E00000 + 1, 0, 1, 0, 0, 0, 0, 0))
        poll = select.poll()
        poll.register(device, select.POLLPRI)
        for _ in range(2):
            ready = poll.poll(5000)
            event = bytearray(136)
            fcntl.ioctl(device, 0x80885659, event)
            print(ready[0][1] & select.POLLPRI, struct.unpack_from("I", event, 8)[0], flush=True)
    """
    with Program(environment(fake_v4l2, {"/dev/video10": output}), script) as program:
        assert program.line() == "2 0"
        time.sleep(0.05)
        output.consumers = 1
        assert program.line() == "2 1"
        program.finish()
