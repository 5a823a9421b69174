"""The order of the stages, from a frame to what may be shown of it.

``Source -> NoiseFilter -> Segmenter -> Placement -> Harmonizer -> Smoother -> Compositor -> Sink``. A frame whose matte
is missing or invalid is never shown: the run stops, or a slate takes its place.

On a GPU one graph does what segmenter, harmonizer and compositor do. Its correction is one of its inputs, so what is
predicted from one frame steers the correction of the next; only the first frame after a cut is run twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from livecomp.composite.slate import make_slate
from livecomp.config import OnMiss, Stages
from livecomp.correction import Correction
from livecomp.cuts import CutDetector
from livecomp.errors import LiveCompError, MatteError, ModelError
from livecomp.frame import Composite, Frame, U8Array
from livecomp.harmonizers.lowres import make_input
from livecomp.smooth.motion import MatteMotion
from livecomp.stats import StageTimer
from livecomp.steps import StepDetector

__all__ = ["Pipeline", "Processed"]

log = logging.getLogger(__name__)


class _Owned(Protocol):
    def open(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of one frame.

    Args:
        composite: What may be shown: the person in the scene, or a slate.
        correction: What was applied; None for a slate.
        plain: The same composite without any correction, where it was asked for.
    """

    composite: Composite
    correction: Correction | None
    plain: Composite | None = None


class Pipeline:
    """Turns frames into composites. Not safe to call from several threads at once.

    Args:
        stages: Opened by `open`, closed by `close`.
        on_miss: What happens to a frame without a valid matte: "stop" raises, "slate" shows a slate and counts it.
        keep_plain: Also make the composite without correction, for comparisons.
        harmonize_every: A correction is predicted for every n-th frame, and repeated in between; may be changed.
        foreseen: Gives the finished correction of the frame at a time in nanoseconds, in place of harmonizer and
            smoother, for files that were looked at ahead.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        on_miss: OnMiss = "stop",
        keep_plain: bool = False,
        harmonize_every: int = 1,
        foreseen: Callable[[int], Correction] | None = None,
    ) -> None:
        self.harmonize_every = harmonize_every
        self._stages = stages
        self._predicted: Correction | None = None
        self._steered: Correction | None = None
        self._repeated = 0
        self._is_open = False
        self._on_miss = on_miss
        self._keep_plain = keep_plain
        self._foreseen = foreseen
        self._cuts = CutDetector()
        self._scene_cuts = CutDetector()
        self._steps = StepDetector()
        self._scene_steps = StepDetector()
        self._is_scene_stepping = False
        self.timer = StageTimer()
        self.missed = 0
        self._is_missing = False
        self.has_lost_gpu = False
        """Whether the stages of the CPU have taken over."""

    @property
    def stages(self) -> Stages:
        """Those that process the next frame."""
        return self._stages

    def open(self, size_wh: tuple[int, int] | None = None) -> Self:
        """Load models, background and compiled code.

        Args:
            size_wh: Width and height of the frames that will come, in pixels, where they are known: what has to be
                built for a size is built here, and not with the first frame.

        Raises:
            LiveCompError: One of the stages cannot be had; those already open are closed again.
        """
        whole = self._stages.whole
        if whole is not None:
            try:
                whole.open()
                if size_wh is not None:
                    whole.prepare(size_wh, plain=self._keep_plain)
            except LiveCompError as error:
                whole.close()
                if whole.required:
                    raise
                self._note_lost_gpu(error)
        with ExitStack() as opened:
            for stage in _owned(self._stages):
                opened.callback(stage.close)
                stage.open()
            _compile_loops()
            opened.pop_all()
        self._is_open = True
        return self

    def close(self) -> None:
        """Release every stage; harmless when repeated."""
        if not self._is_open:
            return
        self._is_open = False
        with ExitStack() as closing:
            for stage in _owned(self._stages):
                closing.callback(stage.close)

    def replace_stages(self, changed: Stages) -> None:
        """Go on with other stages from the next frame on; to be called between two frames.

        Args:
            changed: The present stages but for those that change; new ones are open, and owned by the pipeline from
                now on. Those that are no longer there are closed.
        """
        before, self._stages = self._stages, changed
        self._predicted = self._steered = None
        self.has_lost_gpu = self.has_lost_gpu and changed.whole is None
        kept = {id(stage) for stage in _owned(changed)}
        for old in _owned(before):
            if id(old) not in kept:
                old.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reset(self) -> None:
        """Forget everything about earlier frames: the next one belongs to another scene."""
        self._forget()
        self._cuts.reset()
        self._scene_cuts.reset()

    def _forget(self) -> None:
        """Start all filters anew."""
        stages = self._stages
        (stages.segmenter if stages.whole is None else stages.whole).reset()
        self._forget_noise()
        self._forget_corrections()

    def _forget_noise(self) -> None:
        if self._stages.noise is not None:
            self._stages.noise.reset()

    def _forget_corrections(self) -> None:
        self._stages.smoother.reset()
        self._steps.reset()
        self._scene_steps.reset()
        self._predicted = self._steered = None

    def process(self, frame: Frame) -> Processed:
        """Put the person of one frame into the scene.

        Raises:
            MatteError: The frame has no valid matte and `on_miss` is "stop".
            LiveCompError: Another stage failed.
        """
        if self._cuts.is_cut(frame.rgb):
            log.info("cut at %.3f s: filters start anew", frame.pts_ns / 1e9)
            self._forget()
        frame = self._quieted(frame)
        try:
            processed = self._process_staged(frame) if self._stages.whole is None else self._process_whole(frame)
        except MatteError as error:
            self._forget_noise()
            if self._on_miss == "stop":
                raise
            self.missed += 1
            # of many in a row, in a call thirty a second, the first says it all
            log.log(
                logging.DEBUG if self._is_missing else logging.WARNING, "slate at %.3f s: %s", frame.pts_ns / 1e9, error
            )
            self._is_missing = True
            slate = make_slate(frame.size_wh, frame.pts_ns)
            return Processed(slate, None, slate if self._keep_plain else None)
        self._is_missing = False
        return processed

    def _quieted(self, frame: Frame) -> Frame:
        """The frame without the noise that the correction would make stronger."""
        noise = self._stages.noise
        if noise is None:
            return frame
        if not noise.is_active:  # only takes note of the frame
            return noise.update(frame)
        with self.timer.measure("noise"):
            return noise.update(frame)

    def _process_staged(self, frame: Frame) -> Processed:
        """Stage after stage, on the CPU."""
        stages, timer = self._stages, self.timer
        with timer.measure("segment"):
            matted = self._segment(frame)
        scene = self._render(matted)
        placed = self._placed(matted)
        if self._foreseen is None:
            correction = self._correct(lambda: self._predict(placed, scene), matted, matted.require_alpha())
        else:
            correction = self._look_up(frame, self._foreseen)
        self._learn_noise(matted.require_alpha(), stages.placement.as_filmed(correction))
        with timer.measure("composite"):
            composite = stages.compositor.compose(placed, scene, correction)
        plain = stages.compositor.compose(placed, scene, Correction.identity()) if self._keep_plain else None
        return Processed(composite, correction, plain)

    def _process_whole(self, frame: Frame) -> Processed:
        """All at once, on a GPU; should that fail, this frame and those after it go through the stages."""
        whole, timer = self._stages.whole, self.timer
        assert whole is not None
        scene = self._render(frame)
        foreseen = self._foreseen
        # not below: what fails in looking ahead is no failure of the GPU
        correction = self._steered if foreseen is None else self._look_up(frame, foreseen)
        try:
            with timer.measure("gpu"):
                shown = whole.run(frame, scene, correction or Correction.identity(), plain=self._keep_plain)
            if foreseen is None:
                self._steered = self._correct(whole.predict, frame, shown.alpha)
                self._learn_noise(shown.alpha, self._steered)
            elif correction is not None:
                self._learn_noise(shown.alpha, correction)
            if correction is None:
                correction = self._steered or Correction.identity()
                with timer.measure("gpu"):
                    shown = whole.again(frame, scene, correction)
        except ModelError as error:
            self._leave_gpu(error)
            return self._process_staged(frame)
        return Processed(shown.composite, correction, shown.plain)

    def _leave_gpu(self, error: LiveCompError) -> None:
        """Go on with the stages of the CPU.

        Raises:
            LiveCompError: They cannot be had.
        """
        whole = self._stages.whole
        assert whole is not None
        background = self._stages.background
        self._note_lost_gpu(error)
        try:
            with ExitStack() as opened:
                for stage in _owned(self._stages):
                    if stage is not background:
                        opened.callback(stage.close)
                        stage.open()
                opened.pop_all()
        finally:
            whole.close()
        self._forget()

    def _note_lost_gpu(self, error: LiveCompError) -> None:
        log.warning("frames are processed on the CPU from now on: %s", error)
        self._stages = replace(self._stages, whole=None)
        self.has_lost_gpu = True

    def _render(self, frame: Frame) -> U8Array:
        """The scene of a frame."""
        background = self._stages.background
        with self.timer.measure("background"):
            scene = background.render(frame)
            if background.is_moving and self._scene_cuts.is_cut(scene):
                self._forget_corrections()
            is_watched = background.is_moving and self._foreseen is None
            self._is_scene_stepping = is_watched and self._scene_steps.is_step(scene)
        return scene

    def _look_up(self, frame: Frame, foreseen: Callable[[int], Correction]) -> Correction:
        with self.timer.measure("look ahead"):
            return foreseen(frame.pts_ns)

    def _segment(self, frame: Frame) -> Frame:
        """The frame with its own matte, whatever the segmenter does.

        Raises:
            MatteError: The segmenter failed, or gave back anything but this very frame with an alpha.
        """
        try:
            matted = self._stages.segmenter.segment(frame)
        except MatteError:
            raise
        except Exception as error:  # the boundary of a stage that runs foreign code: nothing may pass it unmatted
            raise MatteError(f"no matte for the frame at {frame.pts_ns / 1e9:.3f} s: {error}") from error
        if not isinstance(matted, Frame) or matted.rgb is not frame.rgb or matted.pts_ns != frame.pts_ns:
            raise MatteError(f"the segmenter answered the frame at {frame.pts_ns / 1e9:.3f} s with another frame")
        matted.require_alpha()
        return matted

    def _placed(self, matted: Frame) -> Frame:
        """The frame as it lies over the scene."""
        placement = self._stages.placement
        if placement.is_as_filmed:
            return matted
        with self.timer.measure("place"):
            return placement.place(matted)

    def _correct(self, predict: Callable[[], Correction], frame: Frame, alpha: U8Array) -> Correction:
        """Predict a correction, or repeat the one before, and steady it.

        Args:
            predict: Gives the correction that the frame needs where the person is placed.
            frame: As the camera sees it, where light and motion are seen best.
            alpha: Its matte.
        """
        with self.timer.measure("light"):
            is_stepping = self._steps.is_step(frame.rgb, alpha) or self._is_scene_stepping
        self._repeated += 1
        if self._predicted is None or is_stepping or self._repeated >= self.harmonize_every:
            with self.timer.measure("harmonize"):
                self._predicted, self._repeated = predict(), 0
        with self.timer.measure("smooth"):
            if is_stepping:
                self._stages.smoother.notice_step()
            magnified = self._stages.placement.size
            return self._stages.smoother.update(self._predicted, frame.pts_ns, alpha, magnified=magnified)

    def _learn_noise(self, alpha: U8Array, correction: Correction) -> None:
        if self._stages.noise is not None:
            self._stages.noise.learn(alpha, correction)

    def _predict(self, placed: Frame, scene: U8Array) -> Correction:
        size = self._stages.harmonizer.input_size
        composite, alpha = make_input(placed.rgb, scene, placed.require_alpha(), size)
        return self._stages.harmonizer.predict(composite, alpha)


def _compile_loops() -> None:
    """Have the loops that watch light and outline at hand, so that no frame waits for them to be compiled."""
    pixel, alpha = np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8)
    steps, motion = StepDetector(), MatteMotion()
    for _ in range(2):
        steps.is_step(pixel, alpha)
        motion.update(alpha)


def _owned(stages: Stages) -> tuple[_Owned, ...]:
    """The stages that are opened and closed, in the order in which they are opened."""
    noise = () if stages.noise is None else (stages.noise,)
    if stages.whole is not None:
        return *noise, stages.whole, stages.background
    return *noise, stages.segmenter, stages.background, stages.harmonizer, stages.compositor
