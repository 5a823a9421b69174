"""Video4Linux by its system calls: what a device is, which formats it has, and its pictures as they come.

OpenCV's own capture hides the range and matrix of the colours and waits in the driver; this needs a dozen calls more
and does neither. Numbers and layouts are those of linux/videodev2.h, in the machine's own alignment.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from livecomp.capture.negotiate import Mode, usual_rates, usual_sizes
from livecomp.frame import U8Array
from livecomp.media.packed import FORMATS, PackedFormat

__all__ = ["Capabilities", "V4l2Stream", "capabilities", "is_busy", "modes", "open_device"]

_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_MMAP = 1  # V4L2_MEMORY_MMAP
_CAP_VIDEO_CAPTURE, _CAP_STREAMING, _CAP_DEVICE_CAPS = 0x1, 0x04000000, 0x80000000
_FLAG_ERROR, _FLAG_TIMESTAMP_MASK, _FLAG_MONOTONIC = 0x40, 0xE000, 0x2000
_PRIV_MAGIC = 0xFEEDCAFE

_CAPABILITY = struct.Struct("@16s32s32s6I")
_FMTDESC = struct.Struct("@3I32s5I")
_FRMSIZE = struct.Struct("@11I")
_FRMIVAL = struct.Struct("@13I")
_FORMAT = struct.Struct("@I0L12I152x")  # the union is aligned like a pointer and 200 bytes long
_PARM = struct.Struct("@I10I160x")
_REQUEST = struct.Struct("@5I")
_BUFFER = struct.Struct("@5Ill2I4B4s2IL2Ii0L")


def _number(direction: int, index: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | index


_QUERYCAP = _number(2, 0, _CAPABILITY.size)
_ENUM_FMT = _number(3, 2, _FMTDESC.size)
_G_FMT, _S_FMT = (_number(3, index, _FORMAT.size) for index in (4, 5))
_REQBUFS = _number(3, 8, _REQUEST.size)
_QUERYBUF, _QBUF, _DQBUF = (_number(3, index, _BUFFER.size) for index in (9, 15, 17))
_STREAMON, _STREAMOFF = (_number(1, index, 4) for index in (18, 19))
_G_PARM, _S_PARM = (_number(3, index, _PARM.size) for index in (21, 22))
_ENUM_FRAMESIZES = _number(3, 74, _FRMSIZE.size)
_ENUM_FRAMEINTERVALS = _number(3, 75, _FRMIVAL.size)

_BUFFERS = 4


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a device says of itself.

    Args:
        driver: Name of the driver.
        name: Name of the device.
        is_camera: Gives pictures, by memory mapping.
    """

    driver: str
    name: str
    is_camera: bool


def _call(device: int, number: int, layout: struct.Struct, *values: object) -> tuple[int, ...]:
    data = bytearray(layout.pack(*values))
    fcntl.ioctl(device, number, data)
    return layout.unpack(data)


def _fourcc(code: int) -> str:
    return code.to_bytes(4, "little").decode("latin-1")


def _code(fourcc: str) -> int:
    return int.from_bytes(fourcc.encode("latin-1"), "little")


def open_device(path: str) -> int:
    """Open a device so that no call waits in it.

    Raises:
        OSError: As the system says.
    """
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def capabilities(device: int) -> Capabilities:
    """Name, driver and kind of an open device.

    Raises:
        OSError: It is no V4L2 device, or gone.
    """
    data = bytearray(_CAPABILITY.size)
    fcntl.ioctl(device, _QUERYCAP, data)
    driver, card, _, _, all_caps, device_caps, *_ = _CAPABILITY.unpack(data)
    caps = device_caps if all_caps & _CAP_DEVICE_CAPS else all_caps
    wanted = _CAP_VIDEO_CAPTURE | _CAP_STREAMING
    return Capabilities(_text(driver), _text(card), caps & wanted == wanted)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")


def is_busy(device: int) -> bool:
    """Whether another program streams from it. Asks for no buffers, which changes nothing; not for v4l2loopback.

    Raises:
        OSError: It is gone.
    """
    try:
        _call(device, _REQBUFS, _REQUEST, 0, _CAPTURE, _MMAP, 0, 0)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return True
    return False


def _enumerate(device: int, number: int, layout: struct.Struct, *fixed: object) -> Iterator[tuple[int, ...]]:
    """Entries 0, 1, ... until the driver says that there are no more."""
    rest = len(layout.unpack(bytes(layout.size))) - 1 - len(fixed)
    for index in range(256):
        try:
            yield _call(device, number, layout, index, *fixed, *(0,) * rest)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise


def modes(device: int) -> list[Mode]:
    """All formats with their sizes, and with rates where the format can be read. Of ranges, those that are usual.

    A driver with 40 formats would otherwise be asked thousands of times, whenever a camera is looked for.

    Raises:
        OSError: The device is gone.
    """
    found = []
    for index in range(64):
        data = bytearray(_FMTDESC.pack(index, _CAPTURE, 0, b"", 0, 0, 0, 0, 0))
        try:
            fcntl.ioctl(device, _ENUM_FMT, data)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                break
            raise
        code = _FMTDESC.unpack(data)[4]
        sizes = _sizes(device, code) or [_current_size(device)]
        fourcc = _fourcc(code)
        found += [
            Mode(fourcc, size_wh, _rates(device, code, size_wh) if fourcc in FORMATS else ())
            for size_wh in dict.fromkeys(sizes)
        ]
    return found


def _current_size(device: int) -> tuple[int, int]:
    _, width, height, *_ = _call(device, _G_FMT, _FORMAT, _CAPTURE, *(0,) * 12)
    return width, height


def _sizes(device: int, code: int) -> list[tuple[int, int]]:
    found = []
    for _, _, kind, a, b, c, d, e, f, *_ in _enumerate(device, _ENUM_FRAMESIZES, _FRMSIZE, code):
        if kind == 1:
            found.append((a, b))
            continue
        found += usual_sizes((a, d), (b, e), (max(1, c), max(1, f)))
        break
    return found


def _rates(device: int, code: int, size_wh: tuple[int, int]) -> tuple[Fraction, ...]:
    found: set[Fraction] = set()
    for _, _, _, _, kind, *times, _, _ in _enumerate(device, _ENUM_FRAMEINTERVALS, _FRMIVAL, code, *size_wh):
        if not times[0] or not times[1]:
            continue
        fastest = Fraction(times[1], times[0])
        if kind != 1:
            found |= usual_rates(Fraction(times[3], times[2]) if times[2] else Fraction(1), fastest)
            break
        found.add(fastest)
    return tuple(sorted(found, reverse=True))


class V4l2Stream:
    """Takes pictures from a device that is open. One thread uses it.

    Args:
        device: Descriptor from `open_device`; closed here.
        mode: What to ask the driver for.
        fps: Rate to ask for.

    Raises:
        OSError: EBUSY, another program streams; otherwise as the driver says. The descriptor is closed then.
    """

    def __init__(self, device: int, mode: Mode, fps: Fraction) -> None:
        self._device = device
        self._maps: list[mmap.mmap] = []
        try:
            self.packed = self._agree(mode)
            self.fps = self._agree_rate(fps)
            self._start()
        except BaseException:
            self.close()
            raise
        self._has_failed = False
        self._poll = select.poll()
        self._poll.register(device, select.POLLIN)

    def _agree(self, mode: Mode) -> PackedFormat:
        """Set the format, and see what the driver made of it."""
        wanted = (*mode.size_wh, _code(mode.fourcc), 1, 0, 0, 0, _PRIV_MAGIC, 0, 0, 0, 0)
        _, width, height, code, _, stride, _, colorspace, _, _, encoding, quantization, _ = _call(
            self._device, _S_FMT, _FORMAT, _CAPTURE, *wanted
        )
        # V4L2_MAP_YCBCR_ENC_DEFAULT and V4L2_MAP_QUANTIZATION_DEFAULT: colour space 3 is REC709, 12 DCI-P3, 7 JPEG
        is_bt709 = encoding in (2, 4) if encoding else colorspace in (3, 12)
        is_full_range = quantization == 1 if quantization else colorspace == 7
        return PackedFormat(_fourcc(code), (width, height), stride, is_full_range, is_bt709)

    def _agree_rate(self, fps: Fraction) -> Fraction:
        try:
            capture = (0, 0, fps.denominator, fps.numerator, 0, 0, 0, 0, 0, 0)
            _, _, _, seconds, per, *_ = _call(self._device, _S_PARM, _PARM, _CAPTURE, *capture)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise
            return fps
        return Fraction(per, seconds) if seconds and per else fps

    def _start(self) -> None:
        count = _call(self._device, _REQBUFS, _REQUEST, _BUFFERS, _CAPTURE, _MMAP, 0, 0)[0]
        for index in range(count):
            fields = self._buffer_call(_QUERYBUF, index)
            length, offset = fields[17], fields[16]
            self._maps.append(mmap.mmap(self._device, length, offset=offset, prot=mmap.PROT_READ | mmap.PROT_WRITE))
            self._buffer_call(_QBUF, index)
        fcntl.ioctl(self._device, _STREAMON, struct.pack("i", _CAPTURE))

    def _buffer_call(self, number: int, index: int) -> tuple[int, ...]:
        empty = (index, _CAPTURE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b"", 0, _MMAP, 0, 0, 0, 0)
        return _call(self._device, number, _BUFFER, *empty)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a picture, or for the camera to go; False when neither came."""
        events = self._poll.poll(round(timeout_s * 1000))
        self._has_failed = any(event & ~select.POLLIN for _, event in events)
        return bool(events)

    def take(self) -> tuple[int, int, U8Array] | None:
        """The newest picture there is; older ones are given back. To be followed by `give_back`.

        Returns:
            Number of its buffer, time of its capture in nanoseconds of time.monotonic_ns (0 when the driver does not
            say), and its bytes, valid until it is given back; None when there is none, or it is damaged.

        Raises:
            OSError: ENODEV, the camera was unplugged; otherwise as the driver says.
        """
        newest: tuple[int, ...] | None = None
        while True:
            try:
                fields = self._buffer_call(_DQBUF, 0)
            except BlockingIOError:
                break
            if newest is not None:
                self.give_back(newest[0])
            newest = fields
        if newest is None:
            if self._has_failed:  # which the call did not tell: without this, waiting would never wait again
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return None
        index, _, used, flags, _, seconds, microseconds, *_ = newest
        if flags & _FLAG_ERROR or not used:
            self.give_back(index)
            return None
        time_ns = seconds * 1_000_000_000 + microseconds * 1000
        is_monotonic = flags & _FLAG_TIMESTAMP_MASK == _FLAG_MONOTONIC
        is_plausible = is_monotonic and 0 <= time.monotonic_ns() - time_ns < 5_000_000_000
        return index, time_ns if is_plausible else 0, np.frombuffer(self._maps[index], np.uint8, used)

    def give_back(self, index: int) -> None:
        """Let the driver fill this buffer again.

        Raises:
            OSError: As for `take`.
        """
        self._buffer_call(_QBUF, index)

    def close(self) -> None:
        """Stop and close the device; harmless when repeated."""
        if self._device < 0:
            return
        with suppress(OSError):  # gone already
            fcntl.ioctl(self._device, _STREAMOFF, struct.pack("i", _CAPTURE))
        for mapped in self._maps:
            with suppress(BufferError):  # a view of it is alive; it goes with the view
                mapped.close()
        self._maps.clear()
        os.close(self._device)
        self._device = -1
