"""Cameras and virtual cameras without a kernel driver: the test's side of the preloaded library in `shim/`.

A test paints pictures into a `FakeCamera` and reads what a program wrote from a `FakeLoopback`; the program runs in a
process of its own under `environment(...)`, with OpenCV, PyAV, pyvirtualcam and LiveComp as they are.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CameraState",
    "FakeCamera",
    "FakeLoopback",
    "LoopbackState",
    "Mode",
    "Program",
    "build",
    "environment",
    "why_not",
]

U8Array = NDArray[np.uint8]
Mode = tuple[str, tuple[int, int], tuple[int, ...]]
"""Format ("YUYV" or "MJPG"), size in pixels, pictures a second, best first."""

SOURCES = Path(__file__).with_name("shim")
_MAX_MODES = 32
_HEADER_BYTES = 4096


class CameraState(IntEnum):
    """What a camera does; see `enum camera_state` in shim/shim.h."""

    UNPLUGGED = 0
    THERE = 1
    SILENT = 2
    WEDGED = 3
    BUSY = 4
    FORBIDDEN = 5


class LoopbackState(IntEnum):
    """What a virtual camera does; see `enum loopback_state` in shim/shim.h."""

    REMOVED = 0
    THERE = 1
    BUSY = 2
    FAILS = 3
    FORBIDDEN = 4


class _ModeBlock(ctypes.Structure):
    _fields_ = (
        ("fourcc", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("rate_count", ctypes.c_uint32),
        ("rates", ctypes.c_uint32 * 4),
        ("offset", ctypes.c_uint32),
        ("capacity", ctypes.c_uint32),
        ("used", ctypes.c_uint32),
        ("sequence", ctypes.c_uint32),
    )


class _CameraBlock(ctypes.Structure):
    _fields_ = (
        ("state", ctypes.c_uint32),
        ("slowdown", ctypes.c_uint32),
        ("colorspace", ctypes.c_uint32),
        ("quantization", ctypes.c_uint32),
        ("ycbcr_enc", ctypes.c_uint32),
        ("mode_count", ctypes.c_uint32),
        ("active_mode", ctypes.c_uint32),
        ("streaming", ctypes.c_uint32),
        ("delivered", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 7),
        ("name", ctypes.c_char * 64),
        ("modes", _ModeBlock * _MAX_MODES),
    )


class _LoopbackBlock(ctypes.Structure):
    _fields_ = (
        ("state", ctypes.c_uint32),
        ("sticky", ctypes.c_uint32),
        ("usage_events", ctypes.c_uint32),
        ("has_tokens", ctypes.c_uint32),
        ("consumers", ctypes.c_uint32),
        ("version", ctypes.c_uint32),
        ("caps_gone", ctypes.c_uint32),
        ("producer", ctypes.c_int32),
        ("guard", ctypes.c_int32),
        ("keep_format", ctypes.c_uint32),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("frames", ctypes.c_uint64),
        ("name", ctypes.c_char * 32),
    )


def why_not() -> str:
    """Why the library cannot be built here; empty when it can."""
    if os.uname().sysname != "Linux":
        return "V4L2 is Linux's"
    return "" if shutil.which("gcc") else "gcc is not installed: apt-get install gcc libc6-dev"


def build(folder: Path) -> Path:
    """Compile the library into `folder`, in less than a second.

    Raises:
        subprocess.CalledProcessError: It does not compile.
    """
    library = folder / "fake_v4l2.so"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, *sources, "-o", str(library), "-ldl", "-lpthread"], check=True)
    return library


def environment(library: Path, devices: Mapping[str | Path, FakeCamera | FakeLoopback]) -> dict[str, str]:
    """The environment of a process that sees `devices`, by path; a path may also be in a made-up file tree."""
    parts = [
        f"{path}=camera:{device.file}" if isinstance(device, FakeCamera) else f"{path}=loopback:{device.y4m}"
        for path, device in devices.items()
    ]
    return {**os.environ, "LD_PRELOAD": str(library), "FAKE_V4L2": ";".join(parts)}


def yuyv_from_rgb(rgb: U8Array) -> bytes:
    """(H, W, 3) uint8, full range, W even, to YUYV of BT.601, limited range."""
    r, g, b = (rgb[..., channel].astype(np.float64) / 255 for channel in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    u = 128 + 224 * (b - luma) / 1.772
    v = 128 + 224 * (r - luma) / 1.402
    packed = np.empty((*rgb.shape[:2], 2))
    packed[..., 0] = 16 + 219 * luma
    packed[:, 0::2, 1] = (u[:, 0::2] + u[:, 1::2]) / 2
    packed[:, 1::2, 1] = (v[:, 0::2] + v[:, 1::2]) / 2
    return np.clip(np.rint(packed), 0, 255).astype(np.uint8).tobytes()


class FakeCamera:
    """A camera whose pictures, modes and health the test decides.

    Args:
        file: Where its control file is made.
        modes: What it offers; the first is its default.
        name: What it calls itself.
        colorspace: enum v4l2_colorspace; 8 is sRGB.
        quantization: enum v4l2_quantization; 0 leaves it to the driver's reader, 1 is full range, 2 limited.
        ycbcr_enc: enum v4l2_ycbcr_encoding; 0 leaves it to the reader, 1 is BT.601, 2 BT.709.
    """

    def __init__(
        self,
        file: Path,
        modes: Sequence[Mode] = (("YUYV", (640, 360), (30,)),),
        *,
        name: str = "Fake Camera",
        colorspace: int = 8,
        quantization: int = 0,
        ycbcr_enc: int = 0,
    ) -> None:
        self.file = file
        self._name = name
        self._color = (colorspace, quantization, ycbcr_enc)
        self._feeder: threading.Thread | None = None
        self._stopping = threading.Event()
        self._fed: list[list[bytes]] = []
        self.set_modes(modes)

    def set_modes(self, modes: Sequence[Mode]) -> None:
        """Become a camera with other modes for whoever opens it from now on; unplugged, and grey, for the others."""
        if hasattr(self, "_block"):
            self.state = CameraState.UNPLUGGED
            self.file.unlink()
        capacities = [width * height * 2 for _, (width, height), _ in modes]
        total = _HEADER_BYTES + sum(capacities)
        with self.file.open("w+b") as stream:
            stream.truncate(total)
            self._map = mmap.mmap(stream.fileno(), total)
        self._block = block = _CameraBlock.from_buffer(self._map)
        self._modes = list(modes)
        offset = _HEADER_BYTES
        for index, ((fourcc, (width, height), rates), capacity) in enumerate(zip(modes, capacities, strict=True)):
            mode = block.modes[index]
            mode.fourcc = int.from_bytes(fourcc.encode(), "little")
            mode.width, mode.height = width, height
            mode.rate_count = len(rates)
            mode.rates[: len(rates)] = rates
            mode.offset, mode.capacity = offset, capacity
            offset += capacity
        block.name = self._name.encode()
        block.colorspace, block.quantization, block.ycbcr_enc = self._color
        block.slowdown = 1
        block.mode_count = len(modes)
        self.show(np.full((2, 2, 3), 128, np.uint8))
        block.state = CameraState.THERE

    @property
    def state(self) -> CameraState:
        """What it does."""
        return CameraState(self._block.state)

    @state.setter
    def state(self, state: CameraState) -> None:
        self._block.state = state

    @property
    def slowdown(self) -> int:
        """2 = half the agreed rate."""
        return int(self._block.slowdown)

    @slowdown.setter
    def slowdown(self, slowdown: int) -> None:
        self._block.slowdown = slowdown

    @property
    def streaming(self) -> int:
        """How many programs take pictures from it; one that was killed still counts."""
        return int(self._block.streaming)

    @property
    def delivered(self) -> int:
        """Pictures taken from it since it was made."""
        return int(self._block.delivered)

    @property
    def active_mode(self) -> Mode:
        """What was agreed on last."""
        return self._modes[int(self._block.active_mode)]

    def encode(self, index: int, rgb: U8Array) -> bytes:
        """`rgb` scaled to mode `index`, in its format."""
        fourcc, size_wh, _ = self._modes[index]
        if (rgb.shape[1], rgb.shape[0]) != size_wh:
            rgb = np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
        if fourcc == "YUYV":
            return yuyv_from_rgb(rgb)
        return bytes(cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])

    def show(self, rgb: U8Array) -> None:
        """Paint (H, W, 3) uint8 RGB, scaled to each mode; it stays until the next picture."""
        for index in range(len(self._modes)):
            self.show_raw(index, self.encode(index, rgb))

    def show_raw(self, index: int, data: bytes) -> None:
        """Put `data` as it is into mode `index`, for example a damaged JPEG."""
        mode = self._block.modes[index]
        if len(data) > mode.capacity:
            raise ValueError(f"{len(data)} bytes do not fit into the {mode.capacity} of {self._modes[index]}")
        mode.sequence += 1
        self._map[mode.offset : mode.offset + len(data)] = data
        mode.used = len(data)
        mode.sequence += 1

    def play(self, pictures: Iterable[U8Array], fps: float = 30.0) -> None:
        """Paint `pictures`, (H, W, 3) uint8 RGB, in a loop from a thread, until `stop`. All are encoded beforehand."""
        self.stop()
        self._fed = [[self.encode(index, rgb) for index in range(len(self._modes))] for rgb in pictures]
        self._stopping.clear()
        self._feeder = threading.Thread(target=self._feed, args=(1 / fps,), name="fake-camera", daemon=True)
        self._feeder.start()

    def _feed(self, interval_s: float) -> None:
        due, number = time.monotonic(), 0
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            index = self._block.active_mode
            self.show_raw(index, self._fed[number % len(self._fed)][index])
            number += 1
            due = max(due + interval_s, time.monotonic() - interval_s)

    def stop(self) -> None:
        """End the thread of `play`; harmless when repeated."""
        self._stopping.set()
        if self._feeder is not None:
            self._feeder.join()
            self._feeder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class FakeLoopback:
    """A v4l2loopback device, as one-picture .y4m file that is rewritten by each write.

    Args:
        y4m: Where the picture goes; the control file lies beside it.
        name: Its label.
        sticky: Imitate v4l2loopback 0.12.7 with exclusive_caps=1, which takes one producer per module load.
        usage_events: It has the client-usage event of 0.13 and later.
        has_tokens: Only who writes has the output's format, as from 0.14 on, and "keep_format" keeps a reader.
        version: What it says of its version.
    """

    def __init__(
        self,
        y4m: Path,
        *,
        name: str = "LiveComp",
        sticky: bool = False,
        usage_events: bool = False,
        has_tokens: bool = False,
        version: tuple[int, int, int] = (0, 13, 2),
    ) -> None:
        self.y4m = y4m
        with Path(f"{y4m}.control").open("w+b") as stream:
            stream.truncate(ctypes.sizeof(_LoopbackBlock))
            self._map = mmap.mmap(stream.fileno(), ctypes.sizeof(_LoopbackBlock))
        self._block = _LoopbackBlock.from_buffer(self._map)
        self._block.name = name.encode()
        self._block.sticky = sticky
        self._block.usage_events = usage_events
        self._block.has_tokens = has_tokens
        self._block.version = version[0] << 16 | version[1] << 8 | version[2]
        self._block.state = LoopbackState.THERE

    @property
    def state(self) -> LoopbackState:
        """What it does."""
        return LoopbackState(self._block.state)

    @state.setter
    def state(self, state: LoopbackState) -> None:
        self._block.state = state

    @property
    def frames(self) -> int:
        """Pictures written since it was made."""
        return int(self._block.frames)

    @property
    def consumers(self) -> int:
        """How many watch, as far as the client-usage event tells."""
        return int(self._block.consumers)

    @consumers.setter
    def consumers(self, consumers: int) -> None:
        self._block.consumers = consumers

    @property
    def caps_gone(self) -> bool:
        """The fault of 0.12.7 has struck: nobody can open it as an output."""
        return bool(self._block.caps_gone)

    @property
    def keeps_format(self) -> bool:
        """The control "keep_format" is on."""
        return bool(self._block.keep_format)

    @property
    def producer(self) -> int:
        """The process that writes to it, 0 for none."""
        return int(self._block.producer)

    @producer.setter
    def producer(self, process: int) -> None:
        self._block.producer = process

    @property
    def guard(self) -> int:
        """The process that keeps it from the fault, 0 for none."""
        return int(self._block.guard)

    @property
    def size_wh(self) -> tuple[int, int]:
        """What its producer agreed on."""
        return int(self._block.width), int(self._block.height)

    def i420(self) -> U8Array:
        """The last picture as written: (H * 3 / 2, W) uint8."""
        width, height = self.size_wh
        data = self.y4m.read_bytes()
        start = data.index(b"FRAME\n") + 6
        return np.frombuffer(data, np.uint8, width * height * 3 // 2, start).reshape(height * 3 // 2, width)

    def luma(self) -> U8Array:
        """(H, W) uint8, limited range."""
        return self.i420()[: self.size_wh[1]]

    def rgb(self) -> U8Array:
        """The last picture, (H, W, 3) uint8, taken for BT.601, limited range, as browsers do."""
        return np.asarray(cv2.cvtColor(self.i420(), cv2.COLOR_YUV2RGB_I420), np.uint8)


class Program:
    """Python code in a process of its own; prints lines to the test, and waits for it by `input()`.

    Args:
        environment: As from `environment`.
        script: Its code; the indentation of the first line is taken off all.
        arguments: sys.argv[1:] of the code.
    """

    def __init__(self, environment: Mapping[str, str], script: str, *arguments: str | Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def line(self) -> str:
        """The next line that it prints; empty at its end."""
        return self._stdout.readline().strip()

    def go_on(self, line: str = "") -> None:
        """Let its `input()` return `line`."""
        self._stdin.write(f"{line}\n")
        self._stdin.flush()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait()

    def finish(self, timeout_s: float = 30.0) -> str:
        """Wait for its end, which has to be a good one; returns what else it printed."""
        rest, _ = self._process.communicate(timeout=timeout_s)
        assert self._process.returncode == 0, f"exit status {self._process.returncode}"
        return rest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._stdin.close()
        self._stdout.close()
