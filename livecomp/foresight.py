"""Corrections for files that know what comes: predicted ahead on small pictures, then smoothed to both sides.

Frames of a file are large, corrections are small. So a second reader runs some seconds ahead of the pipeline, on small
copies, and only its corrections are kept: memory does not grow with the size of the frames or the length of the file.
Every frame is looked at for cuts and steps of light, a prediction is made for every few frames, and for the first after
such a change.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import cv2
import numpy as np

from livecomp.capture import Source
from livecomp.config import Config, Stages
from livecomp.correction import Correction
from livecomp.cuts import CutDetector
from livecomp.errors import ContractError, MatteError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.harmonizers.lowres import make_input
from livecomp.smooth.ahead import LookAheadSmoother
from livecomp.steps import StepDetector

__all__ = ["Foresight", "make_foresight", "small_frame"]

_LINES = 360
_QUEUE_FRAMES = 30
_POLL_S = 0.1


class _Resource(Protocol):
    def open(self) -> object: ...

    def close(self) -> None: ...


class _Seen(NamedTuple):
    """What is kept of a frame with a prediction: that, its matte as filmed, and whether a scene or a light starts."""

    correction: Correction
    pts_ns: int
    alpha: U8Array
    is_cut: bool
    is_step: bool


class Foresight:
    """Gives the correction of each frame of a file, smoothed over the time before and after it.

    Args:
        source: The file, a reader of its own; opened and closed here.
        stages: Stages of its own, of which segmenter, background, placement and harmonizer are used; opened and closed
            here.
        smoother: Without frames as yet.
        every: A prediction is made for every n-th frame; corrections are interpolated between, but not across
            cuts and steps of light.
    """

    def __init__(self, source: Source, stages: Stages, smoother: LookAheadSmoother, *, every: int = 3) -> None:
        self._source = source
        self._stages = stages
        self._smoother = smoother
        self._every = every
        self._since = every
        self._starts: deque[int] = deque()
        self._before: tuple[int, Correction] | None = None
        self._after: tuple[int, Correction] | None = None
        self._cuts, self._scene_cuts = CutDetector(), CutDetector()
        self._steps, self._scene_steps = StepDetector(), StepDetector()
        self._alpha: U8Array | None = None  # the latest matte
        self._queue: queue.Queue[_Seen | BaseException | None] = queue.Queue(_QUEUE_FRAMES)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="livecomp-foresight", daemon=True)
        self._resources = ExitStack()
        self._ended = False
        self._failure: BaseException | None = None

    def open(self) -> Self:
        """Open the file and the stages, and start to look ahead.

        Raises:
            LiveCompError: One of them cannot be had; those already open are closed again.
        """
        stages = self._stages
        with ExitStack() as opened:
            resources: tuple[_Resource, ...] = (self._source, stages.segmenter, stages.background, stages.harmonizer)
            for resource in resources:
                opened.callback(resource.close)
                resource.open()
            self._resources = opened.pop_all()
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop, wait for the thread and release everything; harmless when repeated."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._resources.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def correction(self, pts_ns: int) -> Correction:
        """The correction of the frame at a time; to be asked in the order of the file, frames may be left out.

        Raises:
            ContractError: The time lies before that of an earlier call, or before the file.
            LiveCompError: Reading or predicting ahead has failed.
        """
        while self._after is None or self._after[0] < pts_ns:
            if (known := self._next()) is None:
                break
            self._before, self._after = self._after, known
            while self._starts and self._starts[0] <= (self._before or known)[0]:
                self._starts.popleft()
        before, after = self._before, self._after
        if after is not None and after[0] <= pts_ns:  # that very frame, or one behind the last prediction
            return after[1]
        if before is None or after is None or pts_ns < before[0]:
            asked = "nothing" if before is None else f"{before[0] / 1e9:.3f} s"
            raise ContractError(f"expected times in order, from the first frame on; received {pts_ns} ns after {asked}")
        if self._starts and self._starts[0] <= after[0]:
            return before[1]
        return before[1].lerp(after[1], (pts_ns - before[0]) / (after[0] - before[0]))

    def _next(self) -> tuple[int, Correction] | None:
        """The next steadied prediction; None at the end."""
        while (known := self._smoother.pop()) is None:
            if self._ended:
                return None
            self._take()
        return known

    def _take(self) -> None:
        """Wait for one more frame to be seen; raises what ended the thread, however often it is called."""
        if self._failure is not None:  # nothing comes any more
            raise self._failure
        seen = self._queue.get()
        if isinstance(seen, BaseException):
            self._failure = seen
            raise seen
        if seen is None:
            self._ended = True
            self._smoother.finish()
        else:
            if seen.is_cut or seen.is_step:
                self._starts.append(seen.pts_ns)
            self._smoother.push(
                seen.correction,
                seen.pts_ns,
                seen.alpha,
                magnified=self._stages.placement.size,
                is_cut=seen.is_cut,
                is_step=seen.is_step,
            )

    def _run(self) -> None:
        item: _Seen | BaseException | None
        while not self._stopping.is_set():
            try:
                frame = self._source.read()
                item = None
                if frame is not None and (item := self._look(frame)) is None:
                    continue
            except BaseException as error:  # a thread's boundary: `_take` re-raises it in the owner
                item = error
            if not self._put(item) or not isinstance(item, _Seen):
                return

    def _put(self, item: _Seen | BaseException | None) -> bool:
        while not self._stopping.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def _look(self, frame: Frame) -> _Seen | None:
        """Look at a frame; None where no prediction is made for it."""
        stages = self._stages
        is_cut = self._cuts.is_cut(frame.rgb)
        if is_cut:
            stages.segmenter.reset()
            self._steps.reset()
            self._alpha = None
        is_step = self._alpha is not None and self._steps.is_step(frame.rgb, self._alpha)
        self._since += 1
        is_due = is_cut or is_step or self._since >= self._every
        if not is_due and not stages.background.is_moving:
            return None
        small = small_frame(frame)
        if is_due:
            small = self._matted(small)
        scene = stages.background.render(small)
        if stages.background.is_moving:
            is_cut |= self._scene_cuts.is_cut(scene)
            is_step |= self._scene_steps.is_step(scene)
        if not is_due:
            if not (is_cut or is_step):
                return None
            small = self._matted(small)
        self._since = 0
        alpha = self._alpha = small.require_alpha()
        placed = stages.placement.place(small)
        composite, mask = make_input(placed.rgb, scene, placed.require_alpha(), stages.harmonizer.input_size)
        return _Seen(stages.harmonizer.predict(composite, mask), frame.pts_ns, alpha, is_cut, is_step)

    def _matted(self, small: Frame) -> Frame:
        """The frame with its matte; an empty one where none can be had.

        The pipeline finds that too, and stops or shows a slate; nothing is learned from the frame.
        """
        try:
            matted = self._stages.segmenter.segment(small)
            matted.require_alpha()
        except MatteError:
            return small.with_alpha(np.zeros(small.rgb.shape[:2], np.uint8))
        return matted


def make_foresight(source: Source, background: str | Path, config: Config) -> Foresight:
    """The foresight for a file.

    Its mattes are made as those of the pipeline, of smaller pictures. Cheaper ones, neither cleared nor refined, save
    3 % of the time of a file of 1080 lines, but predictions follow their flicker.

    Args:
        source: The file, a reader of its own, not open.
        background: What `open_background` takes.
        config: The options of the pipeline that will ask.

    Raises:
        ConfigError: As `Config.build` does.
    """
    smoother = LookAheadSmoother(reach_s=config.smooth.look_ahead_s)
    return Foresight(source, config.build(background), smoother)


def small_frame(frame: Frame, lines: int = _LINES) -> Frame:
    """The frame with at most so many rows, averaged over areas; the very same one if it has no more."""
    width, height = frame.size_wh
    if height <= lines:
        return frame
    step = max(1, height // (2 * lines))
    thinned = frame.rgb[::step, ::step]
    size_wh = (max(1, round(width * lines / height)), lines)
    rgb = np.asarray(cv2.resize(np.ascontiguousarray(thinned), size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    return replace(frame, rgb=freeze(rgb), alpha=None)
