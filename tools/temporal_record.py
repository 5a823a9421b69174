"""What happened in a clip, small enough to be kept: pictures, mattes, scenes and raw predictions of every frame.

Segmentation and prediction run once, at the clip's full size, as in a call; what differs between the stages that
`tools.temporal` compares is then only which correction is applied, and that is done on small pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from livecomp.background import Background, open_background
from livecomp.capture.registry import open_source
from livecomp.config import Config
from livecomp.correction import Correction
from livecomp.cuts import CutDetector
from livecomp.frame import Frame, U8Array, freeze
from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.lowres import make_input
from livecomp.harmonizers.registry import make_harmonizer
from livecomp.segment import Segmenter
from livecomp.steps import StepDetector

__all__ = ["Moment", "Recorder", "Recording", "Take", "record_clip", "record_takes", "shrink", "shrink_frame"]


class Take(NamedTuple):
    """One frame as it enters the comparison.

    Args:
        frame: With its matte.
        scene: (H, W, 3) uint8, what stands behind the person.
        truth: (H, W, 3) uint8, the composite as it should be; None where nobody knows.
    """

    frame: Frame
    scene: U8Array
    truth: U8Array | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One recorded frame.

    Args:
        frame: Small, with its matte.
        scene: Small, (h, w, 3) uint8.
        truth: Small, (h, w, 3) uint8, or None.
        raw: The prediction for this frame, made at full size.
        starts_anew: Whether a cut, of the clip or of the scene, lies before it.
        is_step: Whether another light begins with it, on the person or in the scene.
    """

    frame: Frame
    scene: U8Array
    truth: U8Array | None
    raw: Correction
    starts_anew: bool
    is_step: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip over one background.

    Args:
        name: Of the clip.
        background: Name of the background.
        moments: Its frames, in order.
    """

    name: str
    background: str
    moments: Sequence[Moment]

    @property
    def seconds(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(N,) times of the frames in seconds."""
        return np.array([moment.frame.pts_ns / 1e9 for moment in self.moments])


def shrink(picture: U8Array, lines: int) -> U8Array:
    """A picture or matte of at most `lines` rows, read-only, averaged over areas."""
    height, width = picture.shape[:2]
    if height <= lines:
        return picture
    size_wh = (max(1, round(width * lines / height)), lines)
    return freeze(np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8))


class Recorder:
    """Predicts a correction for every frame and keeps it with small copies of the pictures.

    Args:
        harmonizer: Open.
        lines: Rows of the small copies at most.
    """

    def __init__(self, harmonizer: Harmonizer, lines: int) -> None:
        self.moments: list[Moment] = []
        self._harmonizer = harmonizer
        self._lines = lines
        self._cuts = CutDetector()
        self._scene_cuts = CutDetector()
        self._steps = StepDetector()
        self._scene_steps = StepDetector()
        self._scene = self._small_scene = freeze(np.zeros((0, 0, 3), np.uint8))

    def add(self, take: Take, small: Frame) -> None:
        """Record one frame.

        Args:
            take: The frame at full size.
            small: The same frame from `shrink_frame`.
        """
        frame, scene, truth = take
        composite, mask = make_input(frame.rgb, scene, frame.require_alpha(), self._harmonizer.input_size)
        raw = self._harmonizer.predict(composite, mask)
        starts_anew = self._cuts.is_cut(frame.rgb)
        if scene is not self._scene:
            starts_anew |= self._scene_cuts.is_cut(scene)
            self._scene, self._small_scene = scene, shrink(scene, self._lines)
        if starts_anew:
            self._steps.reset()
            self._scene_steps.reset()
        is_step = self._steps.is_step(frame.rgb, frame.require_alpha()) | self._scene_steps.is_step(scene)
        small_truth = None if truth is None else shrink(truth, self._lines)
        self.moments.append(Moment(small, self._small_scene, small_truth, raw, starts_anew, is_step))


def shrink_frame(frame: Frame, lines: int) -> Frame:
    """A frame and its matte at a size that can be kept."""
    return Frame(shrink(frame.rgb, lines), frame.pts_ns, shrink(frame.require_alpha(), lines))


def record_clip(clip: str | Path, backgrounds: Sequence[str], *, frames: int, lines: int) -> list[Recording]:
    """Record a clip over several backgrounds with the default stages.

    Args:
        clip: A video, or "demo".
        backgrounds: What `open_background` takes.
        frames: Read at most so many.
        lines: Rows of the small copies at most.

    Raises:
        LiveCompError: The clip or a background cannot be read, or a stage failed.
    """
    stages = Config().build()
    scenes = [open_background(spec) for spec in backgrounds]
    with ExitStack() as opened:
        everything: list[Background | Harmonizer | Segmenter] = [*scenes, stages.harmonizer, stages.segmenter]
        for stage in everything:
            opened.callback(stage.close)
            stage.open()
        source = opened.enter_context(closing(open_source(clip)))
        source.open()
        recorders = [Recorder(stages.harmonizer, lines) for _ in scenes]
        for _ in range(frames):
            if (frame := source.read()) is None:
                break
            matted = stages.segmenter.segment(frame)
            small = shrink_frame(matted, lines)
            for scene, recorder in zip(scenes, recorders, strict=True):
                recorder.add(Take(matted, scene.render(matted)), small)
    return [
        Recording(Path(clip).stem, Path(spec).stem, recorder.moments)
        for spec, recorder in zip(backgrounds, recorders, strict=True)
    ]


def record_takes(
    name: str, takes: Iterable[Take], *, background: str = "itself", lines: int, model: str = "live"
) -> Recording:
    """Record frames that already have their mattes and scenes.

    Args:
        name: Of the recording.
        takes: The frames, in order.
        background: What the scene is called.
        lines: Rows of the small copies at most.
        model: Name of the harmonizer.
    """
    harmonizer = make_harmonizer(model)
    with closing(harmonizer):
        harmonizer.open()
        recorder = Recorder(harmonizer, lines)
        for take in takes:
            recorder.add(take, shrink_frame(take.frame, lines))
    return Recording(name, background, recorder.moments)
