"""A webcam as a source: found again when it was unplugged, and never waited for longer than agreed.

All calls to the driver happen in a thread of their own, since a driver may hold a call for ever, and no signal or
`close` frees it. In that case the thread is left behind, as a daemon, with the descriptors it holds; it releases them
if the driver ever lets go, and until then the camera cannot be opened again. In all other cases `close` joins it.
"""

from __future__ import annotations

import errno
import logging
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from livecomp.capture import SourceInfo
from livecomp.capture.devices import CameraInfo, busy_text, find_again, find_camera, has_v4l2, permission_text
from livecomp.capture.negotiate import choose_mode
from livecomp.errors import InputError, LiveCompError, reason
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.packed import PackedConverter

if sys.platform == "linux":
    from livecomp.capture.v4l2 import V4l2Stream, open_device

__all__ = ["CameraSource"]

log = logging.getLogger(__name__)

_OPEN_S = 5.0
_FIRST_S = 3.0
_SLICE_S = 0.1
_LEAVE_S = 1.0


class _Pictures(Protocol):
    """An open camera, used by one thread."""

    size_wh: tuple[int, int]
    fps: Fraction
    description: str

    def take(self) -> tuple[U8Array, int] | None:
        """The newest picture, RGB, and its time in nanoseconds; None when there is none within a tenth of a second."""
        ...

    def close(self) -> None: ...


class CameraSource:
    """Frames of a camera, the newest one each time. Never ends: it gives frames or raises.

    A camera that was open once is the one that `open` looks for from then on, by its stable id, whatever number it has.

    Args:
        spec: "auto", a number, a path, a stable id or (part of) a name, see `find_camera`.
        size_wh: Wanted width and height in pixels; `info` says what the camera has.
        fps: Wanted rate in 1/s.
        root: Where dev, sys and proc are.
        timeout_s: For how long `read` waits.
    """

    def __init__(
        self,
        spec: str | int = "auto",
        *,
        size_wh: tuple[int, int] = (1280, 720),
        fps: Fraction | int = Fraction(30),
        root: Path = Path("/"),
        timeout_s: float = 1.0,
    ) -> None:
        self._spec = spec
        self._size_wh = size_wh
        self._fps = Fraction(fps)
        self._root = root
        self._timeout_s = timeout_s
        self._known: CameraInfo | None = None
        self._reader: _Reader | None = None
        self._stuck: _Reader | None = None
        self._info: SourceInfo | None = None
        self._last_ns = 0
        self._has_read = False

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`."""
        if self._info is None:
            raise InputError(f"the camera {self._spec!r} is not open")
        return self._info

    def open(self) -> None:
        """See `Source.open`.

        Raises:
            InputError: It is not there, busy, forbidden, has no mode that can be read, or hangs in its driver.
        """
        self.close()
        if self._stuck is not None:
            if self._stuck.is_alive:
                raise InputError(f"the driver of {self._name} does not answer; unplug the camera and plug it in again")
            self._stuck = None
        self._reader = reader = _Reader(self._connect)
        try:
            pictures = reader.start()
        except BaseException:
            self.close()
            raise
        self._info = SourceInfo(self._name, pictures.size_wh, pictures.fps, Fraction(1, 1_000_000_000))
        self._has_read = False
        log.info("%s gives %s", self._name, pictures.description)

    def read(self) -> Frame:
        """The newest frame that was not read yet.

        Raises:
            InputError: The camera was unplugged, or gave nothing for the time-out; `open` may be called again.
        """
        reader = self._reader
        if reader is None:
            raise InputError(f"the camera {self._spec!r} is not open")
        # the first picture after the start takes longer, while exposure settles
        timeout_s = self._timeout_s if self._has_read else max(self._timeout_s, _FIRST_S)
        taken = reader.next(timeout_s)
        if taken is None:
            raise InputError(
                f"the camera {self._name} gave no picture for {timeout_s:g} s; expected one every "
                f"{float(1 / self.info.fps) * 1000:.0f} ms; unplug it and plug it in again if it does not recover"
            )
        rgb, time_ns = taken
        self._has_read = True
        self._last_ns = max(self._last_ns + 1, time_ns)
        return Frame(rgb, self._last_ns)

    def close(self) -> None:
        """See `Source.close`; may be called from another thread than `read`, which then raises."""
        reader, self._reader = self._reader, None
        if reader is not None and not reader.stop():
            log.warning("the driver of %s does not answer; what it holds is left behind", self._name)
            self._stuck = reader

    @property
    def _name(self) -> str:
        return self._known.name if self._known is not None else str(self._spec)

    def _connect(self) -> _Pictures:
        camera = self._find()
        pictures = self._opened(camera) if has_v4l2() else _OpenCvPictures(camera, self._size_wh, self._fps)
        self._known = camera
        return pictures

    def _find(self) -> CameraInfo:
        known = self._known
        if known is None:
            return find_camera(self._spec, self._root)
        camera = find_again(known, self._root)
        if camera is None:
            raise InputError(f"the camera {known.name} is not plugged in; it is used again as soon as it is back")
        return camera

    def _opened(self, camera: CameraInfo) -> _Pictures:
        if camera.trouble:
            raise InputError(camera.trouble)
        chosen = choose_mode(camera.modes, self._size_wh, self._fps)
        if chosen is None:
            formats = ", ".join(sorted({mode.fourcc for mode in camera.modes})) or "none"
            raise InputError(f"the camera {camera.name} has no format that can be read; it has: {formats}")
        mode, rate = chosen
        try:
            return _V4l2Pictures(V4l2Stream(open_device(camera.path), mode, rate))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise InputError(busy_text(camera, self._root)) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise InputError(permission_text(camera.path)) from error
            raise InputError(
                f"the camera {camera.name} ({camera.path}) cannot be started: {reason(error)}; plug it in again"
            ) from error


class _V4l2Pictures:
    def __init__(self, stream: V4l2Stream) -> None:
        packed = stream.packed
        self.size_wh, self.fps = packed.size_wh, stream.fps
        space = f"BT.{709 if packed.is_bt709 else 601} {'full' if packed.is_full_range else 'limited'} range"
        width, height = packed.size_wh
        self.description = f"{packed.fourcc} {width}x{height} at {float(stream.fps):g} fps" + (
            "" if packed.fourcc == "MJPG" else f", {space}"
        )
        self._stream = stream
        self._converter = PackedConverter(packed)

    def take(self) -> tuple[U8Array, int] | None:
        if not self._stream.wait(_SLICE_S):
            return None
        taken = self._stream.take()
        if taken is None:
            return None
        index, time_ns, data = taken
        rgb = self._converter.convert(data)
        self._stream.give_back(index)
        return None if rgb is None else (rgb, time_ns or time.monotonic_ns())

    def close(self) -> None:
        self._stream.close()


class _OpenCvPictures:
    """For systems without V4L2. OpenCV chooses format and colours, and waits in the driver."""

    def __init__(self, camera: CameraInfo, size_wh: tuple[int, int], fps: Fraction) -> None:
        self._capture = cv2.VideoCapture(camera.number)
        for name, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, size_wh[0]),
            (cv2.CAP_PROP_FRAME_HEIGHT, size_wh[1]),
            (cv2.CAP_PROP_FPS, float(fps)),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            self._capture.set(name, value)
        good, bgr = self._capture.read()
        if not good:
            self._capture.release()
            raise InputError(
                f"{camera.name} gives no picture; close other programs that use it, and allow this one to in the "
                "system's privacy settings"
            )
        self.size_wh = bgr.shape[1], bgr.shape[0]
        told = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = Fraction(told).limit_denominator(1001) if told > 0 else fps
        self.description = f"{self.size_wh[0]}x{self.size_wh[1]} at {float(self.fps):g} fps, through OpenCV"

    def take(self) -> tuple[U8Array, int] | None:
        good, bgr = self._capture.read()
        if not good:
            raise OSError(errno.ENODEV, "it gives no more pictures")
        time_ns = time.monotonic_ns()
        return freeze(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)), time_ns

    def close(self) -> None:
        self._capture.release()


class _Reader:
    """The thread in which the driver is called, and its newest picture.

    Its name does not begin with "livecomp": it is the one thread that may be left behind.
    """

    def __init__(self, connect: Callable[[], _Pictures]) -> None:
        self._connect = connect
        self._pictures: _Pictures | None = None
        self._newest: tuple[U8Array, int] | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="camera-driver", daemon=True)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> _Pictures:
        """Open the camera.

        Raises:
            InputError: It cannot be opened, or the driver does not answer.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._pictures or self._failure or self._stopping, _OPEN_S)
            if self._failure is not None:
                raise self._failure
            if self._pictures is None:
                raise InputError("the camera's driver does not answer; unplug the camera and plug it in again")
            return self._pictures

    def next(self, timeout_s: float) -> tuple[U8Array, int] | None:
        """The next picture and its time; None when there is none within the time.

        Raises:
            InputError: The camera is gone, or was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._failure or self._stopping, timeout_s)
            if self._stopping:
                raise InputError("the camera was closed while it was read")
            if self._failure is not None:
                raise self._failure
            newest, self._newest = self._newest, None
            return newest

    def stop(self) -> bool:
        """End the thread; False when the driver holds it. It closes the camera itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_LEAVE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pictures: _Pictures | None = None
        try:
            pictures = self._connect()
            with self._changed:
                self._pictures = pictures
                self._changed.notify_all()
            while not self._stopping:
                taken = pictures.take()
                if taken is not None:
                    with self._changed:
                        self._newest = taken
                        self._changed.notify_all()
        except Exception as error:  # a thread's boundary: whoever reads raises it
            with self._changed:
                self._failure = _told(error)
                self._changed.notify_all()
        finally:
            if pictures is not None:
                pictures.close()


def _told(error: Exception) -> Exception:
    """What to raise for something that failed while pictures came."""
    if isinstance(error, OSError) and not isinstance(error, LiveCompError):
        if error.errno in (errno.ENODEV, errno.ENXIO, errno.EIO):
            told = InputError(f"the camera was unplugged: {reason(error)}; it is used again as soon as it is back")
        else:
            told = InputError(f"the camera's driver failed: {reason(error)}; unplug the camera and plug it in again")
        told.__cause__ = error
        return told
    return error
