"""What LiveComp itself makes of a clip, at its full size, with the default options.

There is the pipeline of a call, that of files, which looks ahead, and one that predicts for every frame and steadies
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from livecomp.capture import Source, SourceInfo
from livecomp.capture.registry import open_source
from livecomp.config import Config, Stages
from livecomp.correction import Correction
from livecomp.errors import InputError, MatteError
from livecomp.foresight import Foresight, make_foresight
from livecomp.frame import Frame, U8Array, freeze
from livecomp.pipeline import Pipeline
from livecomp.smooth.ahead import LookAheadSmoother
from livecomp.smooth.registry import make_smoother

__all__ = ["PLAYED", "Played", "Player", "Take", "play_clip", "play_takes", "shrink"]

PLAYED = ("raw", "live", "offline")

_FPS = 30  # for the record only: frames carry their own time


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


def shrink(picture: U8Array, lines: int) -> U8Array:
    """A picture or matte of at most `lines` rows, read-only, averaged over areas."""
    height, width = picture.shape[:2]
    if height <= lines:
        return picture
    size_wh = (max(1, round(width * lines / height)), lines)
    return freeze(np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8))


class Played(NamedTuple):
    """One frame, played.

    Args:
        pictures: By stage, (h, w, 3) uint8, with at most so many rows as asked for.
        correction: What was applied.
    """

    pictures: Mapping[str, U8Array]
    correction: Correction


class Player:
    """Gives the composites of a clip one after the other.

    Args:
        source: Open.
        pipeline: Open.
        name: Of the harmonized stage, one of `PLAYED`.
        lines: Rows of the composites at most.
    """

    def __init__(self, source: Source, pipeline: Pipeline, name: str, lines: int) -> None:
        self._source = source
        self._pipeline = pipeline
        self._name = name
        self._lines = lines

    def next(self) -> Played:
        """The next frame, by stage: the one that is played and, with "raw", "unharmonized".

        Raises:
            LiveCompError: A stage failed, or the clip has ended.
        """
        frame = self._source.read()
        if frame is None:
            raise InputError("the clip has fewer frames than when it was read before")
        processed = self._pipeline.process(frame)
        assert processed.correction is not None  # without a matte the pipeline has stopped
        pictures = {self._name: shrink(processed.composite.rgb, self._lines)}
        if processed.plain is not None:
            pictures["unharmonized"] = shrink(processed.plain.rgb, self._lines)
        return Played(pictures, processed.correction)

    @property
    def smooth_ms(self) -> float | None:
        """Median time that smoothing has taken for a frame of a call; None for the other stages."""
        took = {row.stage: row.p50_ms for row in self._pipeline.timer.summary()}
        return took.get("smooth") if self._name == "live" else None


def play_clip(clip: str | Path, background: str, name: str, *, lines: int) -> AbstractContextManager[Player]:
    """Play a clip over a background, with the default options.

    Args:
        clip: A video, or "demo".
        background: What `open_background` takes.
        name: One of `PLAYED`.
        lines: Rows of the composites at most.

    Raises:
        LiveCompError: The clip or the background cannot be read, or a stage cannot be had.
    """
    config = Config()
    foresight = make_foresight(open_source(clip), background, config) if name == "offline" else None
    return _playing(open_source(clip), config.build(background), foresight, name, lines)


def play_takes(takes: Sequence[Take], name: str, *, model: str, lines: int) -> AbstractContextManager[Player]:
    """Play frames that already have their mattes and scenes; everything else is as for `play_clip`.

    Args:
        takes: The frames, in order.
        name: One of `PLAYED`.
        model: Name of the harmonizer.
        lines: Rows of the composites at most.
    """
    config = Config.from_options({"harmonize": {"model": model}, "compute": "cpu"})

    def stages() -> Stages:
        return replace(config.build(), segmenter=_GivenMattes(takes), background=_GivenScenes(takes))

    foresight = None
    if name == "offline":
        foresight = Foresight(_GivenFrames(takes), stages(), LookAheadSmoother(reach_s=config.smooth.look_ahead_s))
    return _playing(_GivenFrames(takes), stages(), foresight, name, lines)


@contextmanager
def _playing(source: Source, stages: Stages, foresight: Foresight | None, name: str, lines: int) -> Iterator[Player]:
    with ExitStack() as opened:
        opened.enter_context(closing(source)).open()
        if foresight is not None:
            pipeline = Pipeline(stages, foreseen=opened.enter_context(foresight).correction)
        elif name == "live":
            pipeline = Pipeline(stages, harmonize_every=Config().live.harmonize_every)
        else:
            unsteadied = replace(stages, smoother=make_smoother("none"), noise=None)
            pipeline = Pipeline(unsteadied, keep_plain=True)
        yield Player(source, opened.enter_context(pipeline), name, lines)


class _GivenFrames:
    """The pictures of takes, as a camera would give them."""

    def __init__(self, takes: Sequence[Take]) -> None:
        self._takes = takes
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        size_wh = self._takes[0].frame.size_wh
        return SourceInfo("takes", size_wh, Fraction(_FPS), Fraction(1, _FPS), len(self._takes))

    def open(self) -> None:
        self._next = 0

    def read(self) -> Frame | None:
        if self._next == len(self._takes):
            return None
        frame = self._takes[self._next].frame
        self._next += 1
        return Frame(frame.rgb, frame.pts_ns)

    def close(self) -> None:
        """Nothing is held."""


class _GivenMattes:
    """Gives each frame the matte of its take."""

    def __init__(self, takes: Sequence[Take]) -> None:
        self._alphas = {take.frame.pts_ns: take.frame.require_alpha() for take in takes}

    def open(self) -> None:
        """Nothing is loaded."""

    def segment(self, frame: Frame) -> Frame:
        if frame.pts_ns not in self._alphas:
            raise MatteError(f"no take at {frame.pts_ns} ns")
        return frame.with_alpha(self._alphas[frame.pts_ns])

    def reset(self) -> None:
        """Mattes do not depend on each other."""

    def close(self) -> None:
        """Nothing is held."""


class _GivenScenes:
    """Gives each frame the scene of its take."""

    def __init__(self, takes: Sequence[Take]) -> None:
        self._scenes = {take.frame.pts_ns: take.scene for take in takes}
        self.is_moving = any(take.scene is not takes[0].scene for take in takes)

    @property
    def name(self) -> str:
        return "takes"

    def open(self) -> None:
        """Nothing is loaded."""

    def render(self, frame: Frame) -> U8Array:
        return self._scenes[frame.pts_ns]

    def close(self) -> None:
        """Nothing is held."""
