"""The thread that turns the newest frame into a composite, and makes changes between two frames."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from livecomp.errors import ConfigError
from livecomp.frame import Composite, Frame
from livecomp.live import BusyError
from livecomp.live.mailbox import Mailbox
from livecomp.pipeline import Pipeline

__all__ = ["Worker"]

log = logging.getLogger(__name__)

_LONGEST_FRAME_S = 5.0
_ENDS = "nothing was changed: the call ends"


class Worker:
    """Takes frames from one mailbox and puts composites, or slates, into another.

    Args:
        pipeline: Open; used by this thread alone while it runs.
        frames: Where frames come from.
        composites: Where composites go.
    """

    def __init__(self, pipeline: Pipeline, frames: Mailbox[Frame], composites: Mailbox[Composite]) -> None:
        self.trouble = ""
        self.shortest_ns = 0
        self._pipeline = pipeline
        self._frames = frames
        self._composites = composites
        self._changes: deque[tuple[Callable[[], None], Future[None]]] = deque()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="livecomp-work", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """End the thread after the frame it is at; changes that were not made are given up.

        Returns:
            Whether it ended. A stage that hangs for more than five seconds is left to itself; it has nobody to show
            anything to.
        """
        self._stopping.set()
        self._frames.close()
        if self._thread is not None:
            self._thread.join(_LONGEST_FRAME_S)
            if self._thread.is_alive():
                log.warning("a stage hangs and is left behind")
                return False
            self._thread = None
        for _, done in self._changes:
            done.cancel()
        return True

    def between_frames(self, change: Callable[[], None]) -> None:
        """Have the thread make a change between two frames, and wait for it.

        Raises:
            BusyError: The frame before takes longer than five seconds; the change is not made.
            ConfigError: The thread ends; the change is not made.
        """
        if self._stopping.is_set():
            raise ConfigError(_ENDS)
        if self._thread is None:
            change()
            return
        done: Future[None] = Future()
        self._changes.append((change, done))
        self._frames.wake()
        try:
            done.result(_LONGEST_FRAME_S)
        except FutureTimeoutError as error:
            if done.cancel():
                raise BusyError("nothing was changed: the frame before takes too long") from error
            done.result()
        except CancelledError as error:
            raise ConfigError(_ENDS) from error

    def _run(self) -> None:
        next_ns = 0
        while not self._stopping.is_set():
            frame = self._frames.get(1.0)
            self._make_changes()
            if frame is None or frame.pts_ns < next_ns:
                continue
            next_ns = frame.pts_ns + self.shortest_ns
            try:
                composite = self._pipeline.process(frame).composite
            except Exception as error:  # a thread's boundary: this frame is not shown, the next one may be
                self._note(f"{type(error).__name__}: {error}", frame)
                continue
            if composite.kind == "slate":
                self._note("no valid matte", frame)
            else:
                self.trouble = ""
            self._composites.put(composite)

    def _note(self, text: str, frame: Frame) -> None:
        if text != self.trouble:
            log.warning("frames from %.3f s on are not shown: %s", frame.pts_ns / 1e9, text)
        self.trouble = text

    def _make_changes(self) -> None:
        while self._changes:
            change, done = self._changes.popleft()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                change()
            except BaseException as error:  # handed to the thread that waits for it
                done.set_exception(error)
            else:
                done.set_result(None)
