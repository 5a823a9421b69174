"""Stages of a call that go on when what they hold fails.

The scene keeps its last picture, the harmonizer its last correction. Neither can show the room: a scene comes from the
background alone, a blurred room is gone at once when another background is asked for, and a correction has no pixels.
Mattes have no such stand-in; a frame without one is a slate.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import cv2
import numpy as np

from livecomp.background import Background, BlurBackground, fit_to
from livecomp.correction import Correction
from livecomp.errors import LiveCompError, reason
from livecomp.frame import Frame, U8Array, freeze
from livecomp.harmonizers import Harmonizer

__all__ = ["Scene", "TolerantHarmonizer"]

log = logging.getLogger(__name__)

_RETRY_NS = 1_000_000_000
_LONGEST_GAP_NS = 1_000_000_000
"""A video of 720 lines would take 5 s after a minute's sleep to catch up with its time (two cores of Zen 5)."""
_NEUTRAL = (52, 56, 62)


class Scene:
    """The background of a call: fades to a new one, and holds its last picture when the present one fails.

    A background that failed is opened again once a second. Its time stands still while no frames come, so that a video
    goes on where it was when a call has slept. `change` may be called from any thread.

    Args:
        background: The first one; opened and closed here.
    """

    def __init__(self, background: Background) -> None:
        self._lock = threading.Lock()
        self._current = background
        self._previous: Background | None = None
        self._fade_ns = 0
        self._fade_start_ns: int | None = None
        self._last: U8Array | None = None
        self._retry_ns: int | None = None
        self._last_ns: int | None = None
        self._stood_ns = 0
        self.trouble = ""

    @property
    def name(self) -> str:
        """See `Background.name`."""
        return self._current.name

    @property
    def is_moving(self) -> bool:
        """See `Background.is_moving`; a fade is no scene change."""
        return self._previous is None and self._current.is_moving

    def open(self) -> None:
        """See `Background.open`; the first background must be there."""
        self._current.open()

    @property
    def shows_room(self) -> bool:
        """Whether it is the blurred room."""
        return isinstance(self._current, BlurBackground)

    def change(self, background: Background, fade_ms: int) -> None:
        """Fade to another background, which is open; the old one is closed when it is no longer seen.

        Args:
            background: Open; owned by this scene from now on.
            fade_ms: Length of the fade; 0 cuts, and so does leaving the blurred room.
        """
        with self._lock:
            if self._previous is not None:
                self._previous.close()
            if self.shows_room:
                # it shows the room: who leaves it wants that to end, not to be held, nor to fade when a pause is over
                self._last, fade_ms = None, 0
            self._previous, self._current = self._current, background
            self._fade_ns, self._fade_start_ns = fade_ms * 1_000_000, None
            self._retry_ns, self.trouble = None, ""

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`; never raises."""
        with self._lock:
            frame = replace(frame, pts_ns=self._time_ns(frame.pts_ns))
            picture = self._picture(frame)
            if self._previous is not None:
                picture = self._faded(frame, picture)
            self._last = picture
            return picture

    def close(self) -> None:
        """See `Background.close`."""
        with self._lock:
            self._current.close()
            if self._previous is not None:
                self._previous.close()
            self._previous = self._last = None

    def _time_ns(self, pts_ns: int) -> int:
        """The scene's own time of a frame."""
        if self._last_ns is not None:
            self._stood_ns += max(0, pts_ns - self._last_ns - _LONGEST_GAP_NS)
        self._last_ns = pts_ns
        return pts_ns - self._stood_ns

    def _picture(self, frame: Frame) -> U8Array:
        now = frame.pts_ns
        if self._retry_ns is not None:
            if now < self._retry_ns:
                return self._held(frame)
            self._retry_ns = now + _RETRY_NS
        try:
            if self._retry_ns is not None:
                self._current.close()
                self._current.open()
            picture = self._current.render(frame)
        except LiveCompError as error:
            if not self.trouble:
                log.warning("the background keeps its last picture: %s", error)
            self.trouble = str(error)
            self._retry_ns = now + _RETRY_NS
            return self._held(frame)
        if self.trouble:
            log.warning("the background %s is back", self._current.name)
        self._retry_ns, self.trouble = None, ""
        return picture

    def _held(self, frame: Frame) -> U8Array:
        if self._last is None:
            return freeze(np.full(frame.rgb.shape, _NEUTRAL, np.uint8))
        return fit_to(self._last, frame.size_wh, "cover")

    def _faded(self, frame: Frame, picture: U8Array) -> U8Array:
        assert self._previous is not None
        if self._fade_start_ns is None or frame.pts_ns < self._fade_start_ns:
            self._fade_start_ns = frame.pts_ns
        share = (frame.pts_ns - self._fade_start_ns) / self._fade_ns if self._fade_ns else 1.0
        try:
            before = self._previous.render(frame) if share < 1 else picture
        except LiveCompError:
            share, before = 1.0, picture
        if share >= 1:
            self._previous.close()
            self._previous = None
            return picture
        mixed = cv2.addWeighted(before, 1 - share, picture, share, 0.0)
        return freeze(np.asarray(mixed, np.uint8))


class TolerantHarmonizer:
    """Repeats its last correction, at first the identity, when the network fails.

    Args:
        harmonizer: Opened and closed here.
    """

    def __init__(self, harmonizer: Harmonizer) -> None:
        self._harmonizer = harmonizer
        self._last = Correction.identity()
        self.trouble = ""

    @property
    def name(self) -> str:
        """See `Harmonizer.name`."""
        return self._harmonizer.name

    @property
    def input_size(self) -> int:
        """See `Harmonizer.input_size`."""
        return self._harmonizer.input_size

    def open(self) -> None:
        """See `Harmonizer.open`."""
        self._harmonizer.open()

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        """See `Harmonizer.predict`; never raises what a harmonizer may raise."""
        try:
            self._last = self._harmonizer.predict(composite, alpha)
        except Exception as error:  # the boundary to foreign code; a correction has no pixels, so the last one is safe
            if not self.trouble:
                log.warning("the harmonizer keeps its last correction: %s", reason(error))
            self.trouble = reason(error)
        else:
            if self.trouble:
                log.warning("the harmonizer is back")
            self.trouble = ""
        return self._last

    def close(self) -> None:
        """See `Harmonizer.close`."""
        self._harmonizer.close()
