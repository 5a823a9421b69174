"""The last step of a call: decides, many times a second, what its sinks show.

Whatever happens, they get something, and something safe. A slate is shown at the start, when no fresh composite has
come for a while, and when the user asks for it. Nothing but composites and slates passes through here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from livecomp.errors import LiveCompError, reason
from livecomp.frame import Composite
from livecomp.live import Action
from livecomp.live.mailbox import Mailbox
from livecomp.output import Sink
from livecomp.stats import StageTimer

__all__ = ["Presenter", "Recent"]

log = logging.getLogger(__name__)

_REPEAT_NS = 200_000_000
"""A picture that stays is written this often: readers end a track that gets nothing for some seconds."""

_IDLE_REPEAT_NS = 500_000_000
_REOPEN_NS = 500_000_000
_WINDOW_NS = 3_000_000_000
_LONGEST_STALL_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Recent:
    """The last seconds of a call.

    Args:
        fps: Composites written per second.
        p50_ms: Median time from capture to write; 0 when nothing was written.
        p95_ms: 95th percentile of it.
    """

    fps: float
    p50_ms: float
    p95_ms: float


class _KeptSink:
    """A sink that is opened again, twice a second, after it failed."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.trouble = ""
        self._retry_ns = 0

    def open(self) -> None:
        self.sink.open()

    def try_to_open(self) -> None:
        """Open it now, or later."""
        try:
            self.sink.open()
        except Exception as error:  # the boundary of a stage: another sink, or a later try, may work
            self._give_up(error, time.monotonic_ns())

    def write(self, composite: Composite, now_ns: int) -> bool:
        if self.trouble:
            if now_ns < self._retry_ns:
                return False
            self._retry_ns = now_ns + _REOPEN_NS
        try:
            if self.trouble:
                self.sink.open()
            self.sink.write(composite)
        except Exception as error:  # as above
            self._give_up(error, now_ns)
            return False
        if self.trouble:
            log.warning("the output works again")
            self.trouble = ""
        return True

    def _give_up(self, error: Exception, now_ns: int) -> None:
        if not self.trouble:
            log.warning("an output fails and is opened again until it works: %s", reason(error))
        self.trouble = reason(error)
        self._retry_ns = now_ns + _REOPEN_NS
        try:
            self.sink.abort()
        except LiveCompError as error:
            log.debug("giving up the output: %s", error)

    def close(self) -> None:
        try:
            self.sink.close()
        except LiveCompError as error:
            log.warning("closing the output: %s", error)


class Presenter:
    """Owns the sinks and the thread that writes to them.

    Args:
        sinks: Opened and closed here.
        slate: Gives the slate for what the user asked for.
        stall_ms: A slate is shown when no fresh composite has come for so long, or for two and a half times the usual
            distance of composites, if that is longer, up to a second.
        timer: Gets the time of each write.
    """

    def __init__(
        self, sinks: Sequence[Sink], slate: Callable[[Action], Composite], *, stall_ms: int, timer: StageTimer
    ) -> None:
        self.stall_ms = stall_ms
        self.is_idle = False
        self.shown = 0
        self.slates = 0
        self.is_stalled = True
        self.inbox: Mailbox[Composite] = Mailbox()
        self._sinks = [_KeptSink(sink) for sink in sinks]
        self._slate = slate
        self._timer = timer
        self._action: Action = "resume"
        self._is_forgetting = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Composite | None = None
        self._fresh_ns: int | None = None
        self._interval_ns = 0.0
        self._written_ns = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=512)

    @property
    def trouble(self) -> str:
        """What is wrong with the first sink that does not work; empty when all do."""
        return next((sink.trouble for sink in self._sinks if sink.trouble), "")

    def start(self) -> None:
        """Open the sinks, show a slate, and go on showing something.

        Raises:
            LiveCompError: The first sink cannot be had. Others are opened again until they work.
        """
        for sink in self._sinks[:1]:
            sink.open()
        for sink in self._sinks[1:]:
            sink.try_to_open()
        self._show(self._slate("resume"), time.monotonic_ns())
        self._thread = threading.Thread(target=self._run, name="livecomp-present", daemon=True)
        self._thread.start()

    def act(self, action: Action) -> None:
        """What is shown from now on."""
        self._action = action
        self.inbox.clear()
        self._written_ns = 0

    def forget(self) -> None:
        """Hold nothing of what has come so far: it must not be shown again."""
        self._is_forgetting = True

    def recent(self) -> Recent:
        """How the last seconds went."""
        since = time.monotonic_ns() - _WINDOW_NS
        rows = [row for row in list(self._recent) if row[0] >= since]
        if len(rows) < 2:
            return Recent(0.0, 0.0, 0.0)
        p50, p95 = np.percentile([latency for _, latency in rows], [50, 95])
        return Recent(len(rows) / (_WINDOW_NS / 1e9), float(p50), float(p95))

    def stop(self) -> None:
        """End the thread and close the sinks; harmless when repeated.

        A slate is the last they get: some programs go on showing their last picture when a camera is gone.
        """
        self._stopping.set()
        self.inbox.close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._show(self._slate("slate"), time.monotonic_ns())
            for sink in self._sinks:
                sink.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            fresh = self.inbox.get(0.1 if self.is_idle else 0.02)
            now = time.monotonic_ns()
            if self._is_forgetting:  # here, so that nothing that this thread has in hand is kept after all
                self._is_forgetting = False
                fresh = self._last = None
                self._written_ns = 0
            if fresh is not None and fresh.kind == "composite" and self._action == "resume":
                self._last = fresh
                if self._show(fresh, now):
                    written = time.monotonic_ns()
                    self._recent.append((written, (written - fresh.pts_ns) / 1e6))
                self._note_fresh(now)  # after it was written: who is told that the call is live may look
                continue
            held = self._held(now)
            repeat_ns = _IDLE_REPEAT_NS if self.is_idle else _REPEAT_NS
            if held is not None and now - self._written_ns >= repeat_ns:
                self._show(held, now)

    def _note_fresh(self, now: int) -> None:
        # learned while stalled too, or the slate would come between any two pictures of a slow camera
        if self._fresh_ns is not None and now - self._fresh_ns <= _LONGEST_STALL_NS:
            self._interval_ns += 0.2 * (now - self._fresh_ns - self._interval_ns)
        self._fresh_ns = now
        self.is_stalled = False

    def _held(self, now: int) -> Composite | None:
        """What to show while nothing fresh comes; None to wait a little longer."""
        if self._action == "freeze" and self._last is not None:
            return self._last
        if self._action != "resume":
            return self._slate(self._action)
        patience_ns = max(self.stall_ms * 1_000_000, min(2.5 * self._interval_ns, _LONGEST_STALL_NS))
        if self._fresh_ns is not None and now - self._fresh_ns <= patience_ns:
            return None
        if not self.is_stalled:
            self.is_stalled = True
            self._written_ns = 0
        return self._slate("resume")

    def _show(self, composite: Composite, now: int) -> bool:
        self._written_ns = now
        with self._timer.measure("write"):
            written = [sink.write(composite, now) for sink in self._sinks]
        if not any(written):
            return False
        if composite.kind == "slate":
            self.slates += 1
        else:
            self.shown += 1
        return True
