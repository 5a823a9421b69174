"""A USB webcam in user space, which the kernel's own uvcvideo drives: what happens on the wire is written here.

vhci-hcd is a USB host whose devices are at the other end of a socket (Documentation/usb/usbip_protocol.rst). At that
end is a camera of USB Video Class 1.0 with one bulk endpoint: descriptors, the probe and commit of a format, and
pictures cut into payloads. `plug` and `unplug` are those of a cable.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

__all__ = ["UsbWebcam", "WebcamMode"]

WebcamMode = tuple[str, tuple[int, int], tuple[int, ...]]
"""Format ("MJPG" or "YUYV"), size in pixels, pictures a second, best first."""

_HOST = Path("/sys/devices/platform/vhci_hcd.0")
_PORT, _DEVICE_ID, _HIGH_SPEED = 0, 0x00010002, 3

_HEADER = struct.Struct(">5I28s")
_SUBMIT = struct.Struct(">I4i8s")
_SUBMITTED = struct.Struct(">5I5i8x")
_UNLINKED = struct.Struct(">5Ii24x")
_CMD_SUBMIT, _CMD_UNLINK, _RET_SUBMIT, _RET_UNLINK = 1, 2, 3, 4

_PROBE = struct.Struct("<HBBI5HII")
_SET_CUR, _GET_INFO = 0x01, 0x86
_GET_VALUES = {0x81, 0x82, 0x83, 0x87}
_ENDPOINT = 0x81
_PAYLOAD_BYTES = 16384
_NEW_PICTURE, _END_OF_PICTURE = 0x01, 0x02
_STRINGS = ("", "LiveComp's tests", "Test Webcam", "0001")
_YUY2 = UUID("32595559-0000-0010-8000-00aa00389b71").bytes_le


class UsbWebcam:
    """A webcam on a cable.

    Args:
        modes: What it offers.
        pictures: For each of its modes, encoded pictures, which it shows in turn.
    """

    def __init__(self, modes: Sequence[WebcamMode], pictures: Sequence[Sequence[bytes]]) -> None:
        self._modes = list(modes)
        self._pictures = [list(encoded) for encoded in pictures]
        self._configuration = _configuration(self._modes)
        self._formats = list(dict.fromkeys(fourcc for fourcc, _, _ in self._modes))
        self._lock = threading.Condition()
        self._wire: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._waiting: deque[tuple[int, int]] = deque()
        self._agreed = (1, 1, 10_000_000 // self._modes[0][2][0])
        self.silent = False
        """It gives no more pictures, and stays plugged in."""

    def plug(self) -> None:
        """Plug it in; the kernel finds it at once, and its node a moment later."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with there:  # the kernel holds its end from now on
            (_HOST / "attach").write_text(f"{_PORT} {there.fileno()} {_DEVICE_ID} {_HIGH_SPEED}")
        self._wire = here
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._show)]
        for thread in self._threads:
            thread.start()

    def unplug(self) -> None:
        """Pull the cable."""
        (_HOST / "detach").write_text(str(_PORT))
        with self._lock:
            wire, self._wire = self._wire, None
            self._waiting.clear()
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()
        if wire is not None:
            wire.close()

    def _listen(self) -> None:
        wire = self._wire
        assert wire is not None
        while header := _receive(wire, _HEADER.size):
            command, number, _, is_in, endpoint, rest = _HEADER.unpack(header)
            if command == _CMD_UNLINK:
                self._forget(number, int.from_bytes(rest[:4], "big"))
                continue
            _, length, _, _, _, setup = _SUBMIT.unpack(rest)
            data = b"" if is_in or not length else _receive(wire, length)
            if endpoint:
                with self._lock:
                    self._waiting.append((number, length))
                    self._lock.notify_all()
            else:
                answer = self._answer(setup, data)
                self._reply(number, answer[:length] if answer is not None else None, sent=len(data))

    def _forget(self, number: int, unlinked: int) -> None:
        with self._lock:
            waiting = [request for request in self._waiting if request[0] != unlinked]
            was_waiting = len(waiting) < len(self._waiting)
            self._waiting = deque(waiting)
            self._send(_UNLINKED.pack(_RET_UNLINK, number, 0, 0, 0, -errno.ECONNRESET if was_waiting else 0))

    def _reply(self, number: int, data: bytes | None, sent: int = 0) -> None:
        """Answer a request with data, or, with None, by a stall."""
        status = 0 if data is not None else -errno.EPIPE
        with self._lock:
            head = _SUBMITTED.pack(_RET_SUBMIT, number, 0, 0, 0, status, len(data or b"") or sent, 0, 0, 0)
            self._send(head + (data or b""))

    def _send(self, data: bytes) -> None:
        if self._wire is not None:
            try:
                self._wire.sendall(data)
            except OSError:  # unplugged meanwhile
                self._waiting.clear()

    def _answer(self, setup: bytes, data: bytes) -> bytes | None:
        """What a control request is answered; None for what this camera does not have."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        selector = value >> 8
        if (kind, request) == (0x80, 6):
            return self._descriptor(selector, value & 0xFF)
        if kind & 0x60 == 0:
            return bytes(length) if kind & 0x80 else b""
        if index & 0xFF != 1 or selector not in (1, 2):
            return None
        if request == _SET_CUR:
            _, form, frame, interval, *_ = _PROBE.unpack(data.ljust(_PROBE.size, b"\0")[: _PROBE.size])
            self._agreed = self._nearest(form, frame, interval)
            return b""
        if request == _GET_INFO:
            return b"\x03"
        return self._probe() if request in _GET_VALUES else None

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == 1:
            head = struct.pack("<HBBBBHHHBBBB", 0x0200, 0xEF, 2, 1, 64, 0x1209, 0x0001, 0x0100, 1, 2, 3, 1)
            return _block(1, head)
        if kind == 2:
            return self._configuration
        if kind == 3 and index < len(_STRINGS):
            return _block(3, _STRINGS[index].encode("utf-16-le") if index else b"\x09\x04")
        return None

    def _frames(self, form: int) -> list[int]:
        """Modes of a format, in the order of its frame descriptors."""
        return [number for number, mode in enumerate(self._modes) if mode[0] == self._formats[form - 1]]

    def _nearest(self, form: int, frame: int, interval: int) -> tuple[int, int, int]:
        form = form if 1 <= form <= len(self._formats) else 1
        frame = frame if 1 <= frame <= len(self._frames(form)) else 1
        known = [10_000_000 // fps for fps in self._modes[self._frames(form)[frame - 1]][2]]
        return form, frame, min(known, key=lambda one: abs(one - interval))

    def _probe(self) -> bytes:
        form, frame, interval = self._agreed
        width, height = self._modes[self._frames(form)[frame - 1]][1]
        return _PROBE.pack(1, form, frame, interval, 0, 0, 0, 0, 0, 2 * width * height, _PAYLOAD_BYTES)

    def _show(self) -> None:
        """Send picture after picture to whoever asks, at the agreed rate."""
        toggle, due = 0, time.monotonic()
        for turn in itertools.count():
            form, frame, interval = self._agreed
            pictures = self._pictures[self._frames(form)[frame - 1]]
            picture = pictures[turn % len(pictures)]
            toggle ^= _NEW_PICTURE
            for start in range(0, len(picture), _PAYLOAD_BYTES - 2):
                part = picture[start : start + _PAYLOAD_BYTES - 2]
                flags = toggle | (_END_OF_PICTURE if start + len(part) == len(picture) else 0)
                with self._lock:
                    while self._wire is not None and (not self._waiting or self.silent):
                        self._lock.wait(0.1)
                    if self._wire is None:
                        return
                    number, _ = self._waiting.popleft()
                self._reply(number, bytes((2, flags)) + part)
            due = max(due + interval / 1e7, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def _receive(wire: socket.socket, count: int) -> bytes:
    """So many bytes; none when the wire was cut."""
    data = bytearray()
    while len(data) < count:
        try:
            part = wire.recv(count - len(data))
        except OSError:
            return b""
        if not part:
            return b""
        data += part
    return bytes(data)


def _block(kind: int, data: bytes) -> bytes:
    """A descriptor: its length, its kind, and what it says."""
    return bytes((2 + len(data), kind)) + data


def _configuration(modes: Sequence[WebcamMode]) -> bytes:
    """Configuration 1: a control interface, and a streaming interface with one bulk endpoint."""
    camera = _block(0x24, struct.pack("<BBHBBHHHB3x", 2, 1, 0x0201, 0, 0, 0, 0, 0, 3))
    output = _block(0x24, struct.pack("<BBHBBB", 3, 2, 0x0101, 0, 1, 0))
    terminals = camera + output
    control = _block(0x24, struct.pack("<BHHIBB", 1, 0x0100, 13 + len(terminals), 6_000_000, 1, 1)) + terminals

    formats = b""
    names = list(dict.fromkeys(fourcc for fourcc, _, _ in modes))
    for number, name in enumerate(names, 1):
        frames = [mode for mode in modes if mode[0] == name]
        is_jpeg = name == "MJPG"
        if is_jpeg:
            formats += _block(0x24, struct.pack("<9B", 6, number, len(frames), 1, 1, 0, 0, 0, 0))
        else:
            formats += _block(0x24, struct.pack("<3B16s6B", 4, number, len(frames), _YUY2, 16, 1, 0, 0, 0, 0))
        for index, (_, (width, height), rates) in enumerate(frames, 1):
            intervals = [10_000_000 // fps for fps in rates]
            bits = width * height * 16
            formats += _block(
                0x24,
                struct.pack(
                    f"<3B2H4IB{len(intervals)}I",
                    *(7 if is_jpeg else 5, index, 0, width, height, bits * min(rates), bits * max(rates)),
                    *(2 * width * height, intervals[0], len(intervals), *intervals),
                ),
            )
        formats += _block(0x24, bytes((0x0D, 1, 1, 4)))  # BT.709 primaries and curve, BT.601 matrix
    length = 13 + len(names) + len(formats)
    head = struct.pack("<BBHBBBBBBB", 1, len(names), length, _ENDPOINT, 0, 2, 0, 0, 0, 1) + bytes(len(names))
    streaming = _block(0x24, head) + formats

    interfaces = (
        _block(0x0B, bytes((0, 2, 0x0E, 3, 0, 2)))
        + _block(4, bytes((0, 0, 0, 0x0E, 1, 0, 2)))
        + control
        + _block(4, bytes((1, 0, 1, 0x0E, 2, 0, 0)))
        + streaming
        + _block(5, struct.pack("<BBHB", _ENDPOINT, 2, 512, 0))
    )
    return _block(2, struct.pack("<HBBBBB", 9 + len(interfaces), 2, 1, 0, 0x80, 250)) + interfaces
