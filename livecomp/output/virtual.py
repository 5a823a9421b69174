"""The virtual camera: what video-call programs show as "LiveComp".

On Linux pictures go straight to v4l2loopback and to PipeWire; on Windows and macOS pyvirtualcam brings them to OBS or
UnityCapture.
"""

from __future__ import annotations

import logging
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from livecomp.errors import ConfigError, DependencyError, OutputError, reason
from livecomp.frame import Composite, U8Array
from livecomp.output.check import check_composite
from livecomp.output.loopback import list_virtual_cameras
from livecomp.output.loopback_writer import LoopbackWriter
from livecomp.output.pipewire import PipewireWriter
from livecomp.pipewire.library import find_pipewire

__all__ = ["ONLY_PIPEWIRE", "VirtualCameraSink", "virtual_cameras"]

log = logging.getLogger(__name__)

ONLY_PIPEWIRE = (
    "without v4l2loopback only programs that look for cameras in PipeWire see LiveComp; for others, as Zoom and "
    "Chromium, run: livecomp setup v4l2loopback"
)
"""What to tell where PipeWire has the only virtual camera."""

_LOOPBACK = "v4l2loopback"
_PIPEWIRE = "pipewire"


class _Writer(Protocol):
    path: str
    label: str

    def send(self, rgb: U8Array) -> None: ...

    def viewers(self) -> int | None: ...

    def close(self) -> None: ...


class _PyvirtualcamWriter:
    """Any backend of pyvirtualcam, which converts to the format of its device itself."""

    def __init__(self, device: str, size_wh: tuple[int, int], fps: Fraction, backend: str | None) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise DependencyError(
                "the virtual camera of this system needs the package pyvirtualcam, which cannot be imported "
                f"({reason(error)}); run: pip install 'livecomp[virtualcam]'"
            ) from error
        known = sorted(pyvirtualcam.camera.BACKENDS)
        if backend is not None and backend not in known:
            raise ConfigError(f"there is no virtual camera backend {backend!r}: expected one of {', '.join(known)}")
        name = None if device == "auto" else device
        try:
            self._camera: Any = pyvirtualcam.Camera(*size_wh, float(fps), device=name, backend=backend)
        except (RuntimeError, OSError, ValueError) as error:
            raise OutputError(
                f"the virtual camera cannot be opened: {reason(error)}; install OBS and start its virtual camera once, "
                "and close other programs that write to it"
            ) from error
        self.path = self.label = str(self._camera.device)

    def send(self, rgb: U8Array) -> None:
        try:
            self._camera.send(rgb)
        except (RuntimeError, OSError) as error:
            raise OutputError(f"cannot write to the virtual camera {self.label}: {reason(error)}") from error

    def viewers(self) -> int | None:
        return None  # no backend tells

    def close(self) -> None:
        try:
            self._camera.close()
        except (RuntimeError, OSError) as error:
            raise OutputError(f"cannot close the virtual camera {self.label}: {reason(error)}") from error


class VirtualCameraSink:
    """Shows composites in a virtual camera; it has one size as long as it is open.

    `write` does not wait for the next frame's time. After an `OutputError` it is closed, and can be opened again.

    Args:
        device: "auto" for the first that is free, its path, or its label; PipeWire has but one, which LiveComp makes.
        size_wh: Width and height in pixels, both even.
        fps: Pictures a second that readers are told to expect.
        backend: None for v4l2loopback on Linux and whatever pyvirtualcam finds elsewhere; or "v4l2loopback",
            "pipewire", or the name of one of pyvirtualcam's backends: "obs", "unitycapture".
        root: Where dev, sys and proc are.
    """

    def __init__(
        self,
        device: str = "auto",
        *,
        size_wh: tuple[int, int],
        fps: Fraction | float,
        backend: str | None = None,
        root: Path = Path("/"),
    ) -> None:
        self._device = device
        self._size_wh = size_wh
        self._fps = fps
        self._backend = backend
        self._root = root
        self._writer: _Writer | None = None

    @property
    def device(self) -> str:
        """Path or name of the device that is open; "" when none is."""
        return self._writer.path if self._writer is not None else ""

    @property
    def label(self) -> str:
        """What video-call programs call it; "" when it is not open."""
        return self._writer.label if self._writer is not None else ""

    def viewers(self) -> int | None:
        """How many programs watch it; None when that cannot be known."""
        writer = self._writer
        return writer.viewers() if writer is not None else None

    def open(self) -> None:
        """See `Sink.open`.

        Raises:
            ConfigError: The size is odd or empty, the rate is no positive number, or there is no such backend.
            DependencyError: pyvirtualcam is needed and not installed.
            OutputError: There is no such device, it is taken, or it keeps another size.
        """
        width, height = self._size_wh
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise ConfigError(f"a virtual camera needs an even width and height, received {width}x{height} pixels")
        if not (math.isfinite(self._fps) and 0 < self._fps <= 1000):
            raise ConfigError(f"a virtual camera needs a rate of 1 to 1000 frames per second, received {self._fps}")
        fps = Fraction(self._fps).limit_denominator(1001)
        self.close()
        if self._backend == _PIPEWIRE:
            self._writer = PipewireWriter(self._size_wh, fps)
        elif self._backend == _LOOPBACK or (self._backend is None and sys.platform.startswith("linux")):
            self._writer = LoopbackWriter(self._device, self._size_wh, fps, self._root)
        else:
            self._writer = _PyvirtualcamWriter(self._device, self._size_wh, fps, self._backend)

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        check_composite(composite, self._size_wh)
        if self._writer is None:
            raise OutputError("the virtual camera is not open, so it takes no picture; open it first")
        try:
            self._writer.send(composite.rgb)
        except OutputError:
            self.abort()
            raise

    def close(self) -> None:
        """See `Sink.close`."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def abort(self) -> None:
        """See `Sink.abort`; what was shown cannot be taken back."""
        try:
            self.close()
        except OutputError:  # the device is gone, and so is the reason to tell
            return


def virtual_cameras(
    device: str, *, size_wh: tuple[int, int], fps: Fraction | float, root: Path = Path("/")
) -> list[VirtualCameraSink]:
    """The virtual cameras that a call is shown in.

    Args:
        device: "pipewire" for that alone; a path or label for that alone; "auto" for all there are on Linux, the first
            free one of v4l2loopback and PipeWire's, since each has readers that do not see the other.
        size_wh: As for `VirtualCameraSink`.
        fps: As for `VirtualCameraSink`.
        root: As for `VirtualCameraSink`.

    Returns:
        One at least, none of them open; opening tells what is wrong.
    """
    backends: list[str | None] = [None]
    if device == _PIPEWIRE:
        backends = [_PIPEWIRE]
    elif device == "auto" and sys.platform.startswith("linux"):
        found = find_pipewire()
        has_devices = bool(list_virtual_cameras(root))
        if found.trouble:
            log.debug("no virtual camera by PipeWire: %s", found.trouble)
        elif has_devices:
            backends = [_LOOPBACK, _PIPEWIRE]
        else:
            backends = [_PIPEWIRE]
            log.warning("%s", ONLY_PIPEWIRE)
    return [VirtualCameraSink(device, size_wh=size_wh, fps=fps, backend=name, root=root) for name in backends]
