"""An open camera, whatever the system's way to it: RGB pictures with their times."""

from __future__ import annotations

import errno
import sys
import time
from fractions import Fraction
from typing import Protocol

import cv2
import numpy as np

from livecomp.capture.devices import CameraInfo
from livecomp.errors import InputError
from livecomp.frame import U8Array, freeze
from livecomp.media.packed import PackedConverter

if sys.platform == "linux":
    from livecomp.capture.v4l2 import V4l2Stream

__all__ = ["OpenCvPictures", "Pictures", "V4l2Pictures"]

_SLICE_S = 0.1


class Pictures(Protocol):
    """An open camera, used by one thread.

    Args:
        size_wh: Width and height of the pictures in pixels.
        fps: Rate that was agreed on, in 1/s.
        description: What was agreed on, for a message.
    """

    size_wh: tuple[int, int]
    fps: Fraction
    description: str

    def take(self) -> tuple[U8Array, int] | None:
        """The newest picture, RGB, and its time in nanoseconds; None when there is none within a tenth of a second.

        Raises:
            OSError: ENODEV, the camera was unplugged; otherwise as the driver says.
        """
        ...

    def close(self) -> None:
        """Release the device; harmless when repeated."""
        ...


class V4l2Pictures:
    """A V4L2 device.

    Args:
        stream: Closed here.
    """

    def __init__(self, stream: V4l2Stream) -> None:
        packed = stream.packed
        self.size_wh, self.fps = packed.size_wh, stream.fps
        self.description = packed.description(stream.fps)
        self._stream = stream
        self._converter = PackedConverter(packed)

    def take(self) -> tuple[U8Array, int] | None:
        """See `Pictures.take`."""
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
        """See `Pictures.close`."""
        self._stream.close()


class OpenCvPictures:
    """For systems without V4L2. OpenCV chooses format and colours, and waits in the driver.

    Args:
        camera: Known by its number.
        size_wh: Width and height to ask for, pixels.
        fps: Rate to ask for, 1/s.

    Raises:
        InputError: It gives no picture.
    """

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
        """See `Pictures.take`."""
        good, bgr = self._capture.read()
        if not good:
            raise OSError(errno.ENODEV, "it gives no more pictures")
        time_ns = time.monotonic_ns()
        return freeze(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)), time_ns

    def close(self) -> None:
        """See `Pictures.close`."""
        self._capture.release()
