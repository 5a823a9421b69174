"""The thread that reads the camera, and finds it again when it is gone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from livecomp.background import fit_to
from livecomp.capture import LiveSource
from livecomp.errors import InputError, reason
from livecomp.frame import Frame
from livecomp.live.mailbox import Mailbox
from livecomp.stats import StageTimer

__all__ = ["Capturer"]

log = logging.getLogger(__name__)

_REOPEN_S = 0.25
_LONGEST_READ_S = 3.0


class Capturer:
    """Reads frames into a mailbox; while the source fails, opens it again four times a second.

    Args:
        source: Opened and closed here.
        frames: Gets the newest frame.
        size_wh: Size that every frame is brought to, pixels; what is too much is cut off.
        timer: Gets the time of each read.
    """

    def __init__(
        self, source: LiveSource, frames: Mailbox[Frame], *, size_wh: tuple[int, int], timer: StageTimer
    ) -> None:
        self.camera = ""
        self.captured = 0
        self.trouble = "the camera is being opened"
        self._source = source
        self._frames = frames
        self._size_wh = size_wh
        self._timer = timer
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_awake(self) -> bool:
        """Whether the camera is wanted."""
        return self._awake.is_set()

    def start(self) -> None:
        """Begin; unless it was woken before, the source is not opened, but what is wrong with it is told."""
        self._thread = threading.Thread(target=self._run, name="livecomp-capture", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Open the camera, if it is not open."""
        self._awake.set()

    def sleep(self) -> None:
        """Let the camera go after the frame that is being read."""
        if not self._stopping.is_set():
            self._awake.clear()

    def stop(self) -> None:
        """End the thread and close the source; harmless when repeated."""
        self._stopping.set()
        self._awake.set()
        if self._thread is None:
            return
        self._thread.join(_LONGEST_READ_S)
        if self._thread.is_alive():
            # the driver holds it: closing from here makes it return, where anything can
            self._source.close()
            self._thread.join(_LONGEST_READ_S)
        if self._thread.is_alive():
            log.warning("the camera hangs and is left behind")
        self._thread = None

    def _run(self) -> None:
        if not self._awake.is_set():
            self._attempt(self._source.look)
        while not self._stopping.is_set():
            if not self._awake.is_set():
                self._frames.clear()
                self._awake.wait()
                continue
            self._attempt(self._read_all)
            if self.trouble:
                self._stopping.wait(_REOPEN_S)

    def _attempt(self, attempt: Callable[[], None]) -> None:
        """Do something with the source, which is closed then; what is wrong is kept, and told once."""
        try:
            attempt()
        except Exception as error:  # a thread's boundary: a camera may fail in any way, and come back
            text = reason(error)
            if text != self.trouble:
                log.warning("no picture from the camera: %s", text)
            self.trouble = text
        finally:
            self._source.close()

    def _read_all(self) -> None:
        """Open the source and read until it fails or is no longer wanted."""
        self._source.open()
        self.camera = self._source.info.name
        while self._awake.is_set() and not self._stopping.is_set():
            with self._timer.measure("read"):
                frame = self._source.read()
            if frame is None:
                raise InputError(f"{self.camera} has come to its end")
            if self.trouble:
                log.info("frames come from %s", self.camera)
                self.trouble = ""
            self.captured += 1
            aspect = frame.sample_aspect_ratio
            if frame.size_wh != self._size_wh or aspect != 1:
                frame = Frame(fit_to(frame.rgb, self._size_wh, "cover", aspect), frame.pts_ns)
            self._frames.put(frame)
