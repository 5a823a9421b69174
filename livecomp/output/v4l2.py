"""The few V4L2 calls that a producer needs; numbers and layouts are those of linux/videodev2.h."""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from fractions import Fraction

if sys.platform != "win32":  # where there is no such device either
    import fcntl

__all__ = [
    "CAP_CAPTURE",
    "CAP_OUTPUT",
    "DRIVER",
    "G_FMT",
    "I420",
    "S_FMT",
    "call_format",
    "capabilities",
    "is_kept",
    "keep",
    "open_device",
    "repair",
    "set_rate",
]

DRIVER = "v4l2 loopback"

_OUTPUT = 2  # V4L2_BUF_TYPE_VIDEO_OUTPUT
CAP_CAPTURE, CAP_OUTPUT, _CAP_DEVICE_CAPS = 0x1, 0x2, 0x80000000
I420 = int.from_bytes(b"YU12", "little")
_FIELD_NONE, _COLORSPACE_SRGB = 1, 8  # sRGB without more is BT.601 and limited range, in YUV

_CAPABILITY = struct.Struct("@16s32s32s6I")
_FORMAT = struct.Struct("@I0L12I152x")  # the union is aligned like a pointer and 200 bytes long
_PARM = struct.Struct("@I10I160x")
_CONTROL = struct.Struct("@Ii")
_KEEP_FORMAT = 0x00980900 | 0xF000  # the first control of v4l2loopback's own


def _number(direction: int, index: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | index


_QUERYCAP = _number(2, 0, _CAPABILITY.size)
G_FMT, S_FMT = (_number(3, index, _FORMAT.size) for index in (4, 5))
_S_PARM = _number(3, 22, _PARM.size)
_STREAMON = _number(1, 18, 4)
_G_CTRL, _S_CTRL = (_number(3, index, _CONTROL.size) for index in (27, 28))


def open_device(path: str) -> int:
    """A descriptor that never waits.

    Raises:
        OSError: As the system says.
    """
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def capabilities(device: int) -> tuple[str, str, int]:
    """Driver, label and what an open device announces now."""
    data = bytearray(_CAPABILITY.size)
    fcntl.ioctl(device, _QUERYCAP, data)
    driver, card, _, _, all_caps, device_caps, *_ = _CAPABILITY.unpack(data)
    names = (raw.split(b"\0")[0].decode("utf-8", "replace") for raw in (driver, card))
    return next(names), next(names), device_caps if all_caps & _CAP_DEVICE_CAPS else all_caps


def call_format(device: int, number: int, width: int = 0, height: int = 0) -> tuple[tuple[int, int], int]:
    """Get or set the format: size in pixels and code that the driver answers."""
    pixels = (width, height, I420, _FIELD_NONE, width, width * height * 3 // 2, _COLORSPACE_SRGB) if width else (0,) * 7
    data = bytearray(_FORMAT.pack(_OUTPUT, *pixels, *(0,) * 5))
    fcntl.ioctl(device, number, data)
    _, width, height, code, *_ = _FORMAT.unpack(data)
    return (width, height), code


def repair(device: int) -> None:
    """Make `device` a writer, whose close lets the next producer in. It may answer EINVAL, and works all the same."""
    with suppress(OSError):
        fcntl.ioctl(device, _STREAMON, struct.pack("i", _OUTPUT))


def is_kept(device: int) -> bool:
    """Whether v4l2loopback's control "keep_format" is on."""
    control = bytearray(_CONTROL.pack(_KEEP_FORMAT, 0))
    try:
        fcntl.ioctl(device, _G_CTRL, control)
    except OSError:
        return False
    return bool(_CONTROL.unpack(control)[1])


def keep(device: int, on: bool) -> None:
    """Set the control "keep_format"; a driver that does not take it is as good."""
    with suppress(OSError):
        fcntl.ioctl(device, _S_CTRL, bytearray(_CONTROL.pack(_KEEP_FORMAT, on)))


def set_rate(device: int, fps: Fraction) -> None:
    """Tell readers what rate to expect; a driver that does not take it is as good."""
    with suppress(OSError):
        rate = (0, 0, fps.denominator, fps.numerator, 0, 0, 0, 0, 0, 0)
        fcntl.ioctl(device, _S_PARM, bytearray(_PARM.pack(_OUTPUT, *rate)))
