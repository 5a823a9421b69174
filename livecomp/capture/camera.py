"""A webcam as a source: found again when it was unplugged, and never waited for longer than agreed.

All calls to the driver happen in a thread of their own, see `Reader`: `close` joins it, or leaves it behind when the
driver does not return, and the camera cannot be opened again until it does.
"""

from __future__ import annotations

import errno
import logging
import sys
from fractions import Fraction
from pathlib import Path

from livecomp.capture import SourceInfo
from livecomp.capture.devices import CameraInfo, busy_text, find_again, find_camera, has_v4l2, permission_text
from livecomp.capture.negotiate import Mode, choose_mode
from livecomp.capture.pictures import OpenCvPictures, Pictures, V4l2Pictures
from livecomp.capture.pipewire import PipewirePictures
from livecomp.capture.reader import Reader
from livecomp.errors import InputError, reason
from livecomp.frame import Frame

if sys.platform == "linux":
    from livecomp.capture.v4l2 import V4l2Stream, open_device

__all__ = ["CameraSource"]

log = logging.getLogger(__name__)

_FIRST_S = 3.0


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
        self._reader: Reader | None = None
        self._stuck: Reader | None = None
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
        self._reader = reader = Reader(self._connect)
        try:
            pictures = reader.start()
        except BaseException:
            self.close()
            raise
        self._info = SourceInfo(self._name, pictures.size_wh, pictures.fps, Fraction(1, 1_000_000_000))
        self._has_read = False
        log.info("%s gives %s", self._name, pictures.description)

    def look(self) -> None:
        """See `LiveSource.look`; without V4L2 nothing can be seen before the lamp is lit."""
        if has_v4l2():
            self._mode(self._find())

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

    def _connect(self) -> Pictures:
        camera = self._find()
        pictures = self._opened(camera) if has_v4l2() else OpenCvPictures(camera, self._size_wh, self._fps)
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

    def _mode(self, camera: CameraInfo) -> tuple[Mode, Fraction]:
        if camera.trouble:
            raise InputError(camera.trouble)
        chosen = choose_mode(camera.modes, self._size_wh, self._fps)
        if chosen is None:
            formats = ", ".join(sorted({mode.fourcc for mode in camera.modes})) or "none"
            raise InputError(f"the camera {camera.name} has no format that can be read; it has: {formats}")
        return chosen

    def _opened(self, camera: CameraInfo) -> Pictures:
        mode, rate = self._mode(camera)
        try:
            if camera.is_of_pipewire:
                return PipewirePictures(camera.stable_id, mode, rate)
            return V4l2Pictures(V4l2Stream(open_device(camera.path), mode, rate))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise InputError(busy_text(camera, self._root)) from error
            if error.errno in (errno.EACCES, errno.EPERM):
                raise InputError(permission_text(camera.path)) from error
            help_it = "close other programs that use it" if camera.is_of_pipewire else "plug it in again"
            raise InputError(
                f"the camera {camera.name} ({camera.path}) cannot be started: {reason(error)}; {help_it}"
            ) from error
