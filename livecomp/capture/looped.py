"""A video, a picture or a built-in source in place of a camera: in real time, again and again."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

from livecomp.capture import Source, SourceInfo
from livecomp.errors import InputError
from livecomp.frame import Frame

__all__ = ["LoopedSource"]

_PATIENCE_NS = 30_000_000


class LoopedSource:
    """Plays another source at its own pace, and from the beginning after its end; a picture is repeated.

    Frames carry the monotonic time at which they were due, as those of a camera do.

    Args:
        source: Opened and closed here.
        fps: Rate of a picture.
    """

    def __init__(self, source: Source, *, fps: float = 30.0) -> None:
        self._source = source
        self._fps = fps
        self._still: Frame | None = None
        self._shift_ns: int | None = None
        self._due_ns = 0

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`; endless."""
        info = self._source.info
        fps = Fraction(self._fps).limit_denominator(1001) if info.is_still else info.fps
        return replace(info, fps=fps, frame_count=None, is_still=False, path=None)

    def open(self) -> None:
        """See `Source.open`."""
        self._source.open()
        self._still = self._shift_ns = None
        self._due_ns = time.monotonic_ns()

    def look(self) -> None:
        """See `LiveSource.look`."""
        try:
            self._source.open()
        finally:
            self._source.close()

    def read(self) -> Frame:
        """See `Source.read`; waits until the frame is due, and never ends.

        Raises:
            InputError: The source has no frame at all, or cannot be decoded.
        """
        frame = self._next()
        late_ns = time.monotonic_ns() - self._due_ns
        if late_ns < 0:
            time.sleep(-late_ns / 1e9)
        elif late_ns > _PATIENCE_NS:
            # a camera does not wait for its reader: what comes now is now
            self._due_ns += late_ns
            if self._shift_ns is not None:
                self._shift_ns += late_ns
        return replace(frame, pts_ns=self._due_ns)

    def close(self) -> None:
        """See `Source.close`."""
        self._source.close()

    def _next(self) -> Frame:
        interval_ns = int(1_000_000_000 / self.info.fps)
        if self._still is not None:
            self._due_ns += interval_ns
            return self._still
        frame = self._source.read()
        if frame is None:
            self._source.close()
            self._source.open()
            self._shift_ns = None
            frame = self._source.read()
            if frame is None:
                raise InputError(f"{self._source.info.name} has no frame")
        if self._source.info.is_still:
            self._still = frame
        if self._shift_ns is None:
            self._shift_ns = self._due_ns + interval_ns - frame.pts_ns
        self._due_ns = max(self._due_ns + 1, frame.pts_ns + self._shift_ns)
        return frame
