"""The order of the stages, from a frame to what may be shown of it.

``Source -> Segmenter -> Harmonizer -> Smoother -> Compositor -> Sink``. A frame whose matte is missing or invalid is
never shown: the run stops, or a slate takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from livecomp.composite.slate import make_slate
from livecomp.config import OnMiss, Stages
from livecomp.correction import Correction
from livecomp.cuts import CutDetector
from livecomp.errors import MatteError
from livecomp.frame import Composite, Frame, U8Array
from livecomp.harmonizers.lowres import make_input
from livecomp.stats import StageTimer

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
        self._repeated = 0
        self._on_miss = on_miss
        self._keep_plain = keep_plain
        self._foreseen = foreseen
        self._cuts = CutDetector()
        self._scene_cuts = CutDetector()
        self._resources = ExitStack()
        self.timer = StageTimer()
        self.missed = 0
        self._is_missing = False

    def open(self) -> Self:
        """Load models, background and compiled code.

        Raises:
            LiveCompError: One of the stages cannot be had; those already open are closed again.
        """
        with ExitStack() as opened:
            for index, stage in enumerate(_owned(self._stages)):
                opened.callback(self._close_stage, index)
                stage.open()
            self._resources = opened.pop_all()
        return self

    def _close_stage(self, index: int) -> None:
        """Close the stage that is at this place now, which need not be the one that was opened first."""
        _owned(self._stages)[index].close()

    def close(self) -> None:
        """Release every stage; harmless when repeated."""
        self._resources.close()

    def replace_stages(self, changed: Stages) -> None:
        """Go on with other stages from the next frame on; to be called between two frames.

        Args:
            changed: The present stages but for those that change; new ones are open, and owned by the pipeline from
                now on. Those that are no longer there are closed.
        """
        before, self._stages = self._stages, changed
        self._predicted = None
        for old, new in zip(_owned(before), _owned(changed), strict=True):
            if old is not new:
                old.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reset(self) -> None:
        """Forget everything about earlier frames: the next one belongs to another scene."""
        self._stages.segmenter.reset()
        self._stages.smoother.reset()
        self._cuts.reset()
        self._scene_cuts.reset()
        self._predicted = None

    def process(self, frame: Frame) -> Processed:
        """Put the person of one frame into the scene.

        Raises:
            MatteError: The frame has no valid matte and `on_miss` is "stop".
            LiveCompError: Another stage failed.
        """
        stages, timer = self._stages, self.timer
        if self._cuts.is_cut(frame.rgb):
            log.info("cut at %.3f s: filters start anew", frame.pts_ns / 1e9)
            stages.segmenter.reset()
            stages.smoother.reset()
            self._predicted = None
        try:
            with timer.measure("segment"):
                matted = self._segment(frame)
        except MatteError as error:
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
        with timer.measure("background"):
            scene = stages.background.render(matted)
            if stages.background.is_moving and self._scene_cuts.is_cut(scene):
                stages.smoother.reset()
                self._predicted = None
        if self._foreseen is None:
            correction = self._correct(matted, scene)
        else:
            with timer.measure("look ahead"):
                correction = self._foreseen(frame.pts_ns)
        with timer.measure("composite"):
            composite = stages.compositor.compose(matted, scene, correction)
        plain = stages.compositor.compose(matted, scene, Correction.identity()) if self._keep_plain else None
        return Processed(composite, correction, plain)

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

    def _correct(self, matted: Frame, scene: U8Array) -> Correction:
        """Predict a correction, or repeat the one before, and steady it."""
        self._repeated += 1
        if self._predicted is None or self._repeated >= self.harmonize_every:
            with self.timer.measure("harmonize"):
                self._predicted, self._repeated = self._predict(matted, scene), 0
        with self.timer.measure("smooth"):
            return self._stages.smoother.update(self._predicted, matted.pts_ns, matted.require_alpha())

    def _predict(self, matted: Frame, scene: U8Array) -> Correction:
        size = self._stages.harmonizer.input_size
        composite, alpha = make_input(matted.rgb, scene, matted.require_alpha(), size)
        return self._stages.harmonizer.predict(composite, alpha)


def _owned(stages: Stages) -> tuple[_Owned, ...]:
    """The stages that are opened and closed, in the order in which they are opened."""
    return stages.segmenter, stages.background, stages.harmonizer, stages.compositor
