"""Writing to v4l2loopback, the virtual camera of Linux.

Pictures are written through a descriptor of our own. pyvirtualcam makes the same four calls, but prints a failed
write to stderr and goes on, so that a removed device would never be noticed.

What is known of the driver (0.12.7 is that of Debian 12, Ubuntu 22.04 and 24.04, 0.15.0 that of Debian 13; all of it
observed, 0.13.2, 0.14.0 and 0.15.4 beside them):

- 0.12.7 with exclusive_caps=1 takes one producer that uses write() per load of the module: it never counts as a
  writer, so after its close the device announces neither capture nor output. STREAMON(OUTPUT) on any descriptor makes
  that one a writer, whose close announces output again. Hence the guard: a second descriptor, opened after the first
  picture and closed last, as the kernel does too when the process is killed. STREAMON may answer EINVAL and works.
- From 0.14 on, Chromium loses a camera whose producer is away for a second, as when it is killed and started again; see
  `keeps_for_restart`. So "keep_format" is on while pictures are written, and off after a good end.
- 0.12.7 silently keeps its size while a reader is attached; later ones answer "busy".
- The version of QUERYCAP is the kernel's; the driver's own is in /sys/module/v4l2loopback/version.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from livecomp.errors import OutputError, reason
from livecomp.frame import U8Array
from livecomp.output.loopback import find_virtual_camera, holders, keeps_for_restart, names_of, takes_pictures
from livecomp.output.v4l2 import (
    CAP_CAPTURE,
    CAP_OUTPUT,
    G_FMT,
    I420,
    S_FMT,
    call_format,
    capabilities,
    is_kept,
    keep,
    open_device,
    repair,
    set_rate,
)
from livecomp.output.viewers import viewers

__all__ = ["LoopbackWriter"]


class LoopbackWriter:
    """Writes pictures to a v4l2loopback device, as I420, BT.601, limited range, which every reader takes.

    The conversion by OpenCV takes 0.3 ms at 1280 × 720 (two Zen 4 threads) and is within 0.6 levels of BT.601.

    Args:
        device: As `find_virtual_camera` takes it.
        size_wh: Even width and height in pixels.
        fps: Pictures a second to announce.
        root: Where dev, sys and proc are.

    Raises:
        OutputError: There is no such device, it is taken, may not be opened, or keeps another size.
    """

    def __init__(self, device: str, size_wh: tuple[int, int], fps: Fraction, root: Path = Path("/")) -> None:
        info = find_virtual_camera(device, root)
        self.path, self.label = info.path, info.label
        self._root = root
        self._size_wh = size_wh
        self._i420 = np.empty((size_wh[1] * 3 // 2, size_wh[0]), np.uint8)
        self._guard: int | None = None
        self._device: int | None = None
        self._version = info.driver_version
        self._can_keep = keeps_for_restart(self._version)
        self._is_keeping = False
        try:
            if not self._can_keep:
                self._repair_when_left_unusable()
            self._device = open_device(self.path)
            self._agree(self._device, fps)
        except OSError as error:
            self.close()
            if isinstance(error, OutputError):
                raise
            raise self._trouble(f"cannot open {self.path}", error) from error

    def _repair_when_left_unusable(self) -> None:
        """Only while nobody produces: who does makes the device announce capture."""
        device = open_device(self.path)
        try:
            if not capabilities(device)[2] & (CAP_CAPTURE | CAP_OUTPUT):
                repair(device)
        finally:
            os.close(device)

    def _agree(self, device: int, fps: Fraction) -> None:
        if not takes_pictures(device, self._version):
            raise OSError(errno.EBUSY, "it takes no pictures now")
        was_kept = self._can_keep and is_kept(device)
        if was_kept and call_format(device, G_FMT) != (self._size_wh, I420):
            keep(device, on=False)  # or the format would be kept, as it is in any case while somebody reads
        try:
            self._set_format(device)
        except OSError:
            if was_kept:
                keep(device, on=True)  # that reader still waits, for whoever has the right size
            raise
        set_rate(device, fps)

    def _set_format(self, device: int) -> None:
        call_format(device, S_FMT, *self._size_wh)
        found, code = call_format(device, G_FMT)
        if found != self._size_wh or code != I420:
            name = code.to_bytes(4, "little").decode("latin-1")
            watching = names_of(holders(self.path, self._root)) or "a program"
            width, height = self._size_wh
            raise OutputError(
                f"{self.path} keeps {found[0]}x{found[1]} {name} instead of {width}x{height} YU12, since "
                f"{watching} has it open; close that program, or use the size it has now"
            )

    def _trouble(self, what: str, error: OSError) -> OutputError:
        if error.errno == errno.EBUSY:
            who = names_of(holders(self.path, self._root)) or "another program"
            return OutputError(
                f"{what}: the virtual camera is taken or watched at another size; {who} has it open; close that "
                "program, or name another virtual camera"
            )
        if error.errno == errno.EACCES:
            return OutputError(f"{what}: no permission; run: sudo usermod -aG video $USER, then log out and in again")
        if error.errno in (errno.ENODEV, errno.ENOENT, errno.ENXIO):
            return OutputError(f"{what}: the virtual camera was removed; load v4l2loopback again")
        return OutputError(f"{what}: {reason(error)}")

    def send(self, rgb: U8Array) -> None:
        """Write one picture: (H, W, 3) uint8 sRGB, full range, of the agreed size. Does not wait.

        Raises:
            OutputError: It was not taken whole: the device was removed, for instance.
        """
        assert self._device is not None, "closed"
        cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420, dst=self._i420)
        try:
            written = os.write(self._device, self._i420.data)
        except OSError as error:
            raise self._trouble(f"cannot write to {self.path}", error) from error
        if written != self._i420.nbytes:
            raise OutputError(
                f"{self.path} took {written} of {self._i420.nbytes} bytes: another program changed its size; "
                "close that program"
            )
        if self._can_keep:
            if not self._is_keeping:
                keep(self._device, on=True)
                self._is_keeping = True
        elif self._guard is None:
            with suppress(OSError):  # the picture was written, and the next write says what is wrong
                self._guard = open_device(self.path)
                repair(self._guard)

    def viewers(self) -> int | None:
        """How many programs watch; None when that cannot be known."""
        return viewers(self.path, self._root)

    def close(self) -> None:
        """Let readers go, then close the device, then its guard; harmless when repeated."""
        device, guard = self._device, self._guard
        self._device = self._guard = None
        if device is not None and self._is_keeping:
            keep(device, on=False)
            self._is_keeping = False
        for descriptor in (device, guard):
            if descriptor is not None:
                with suppress(OSError):  # the device is gone
                    os.close(descriptor)
