"""A clip over one background, as `tools.temporal` judges it: small frames with mattes, and players of the stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from livecomp.background import Background, open_background
from livecomp.capture import Source
from livecomp.capture.registry import open_source
from livecomp.config import Config
from livecomp.cuts import CutDetector
from livecomp.frame import Frame, U8Array
from livecomp.segment import Segmenter
from tools.temporal_play import Player, Take, play_clip, play_takes, shrink

__all__ = ["Recording", "record_clip", "record_takes"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A clip over one background.

    Args:
        name: Of the clip.
        background: Name of the background.
        frames: Its frames, small, with their mattes, in order.
        starts: For each frame, whether a cut, of the clip or of the scene, lies before it.
        truths: The composites as they should be, small; empty where nobody knows.
        play: Plays it as one of `PLAYED`.
    """

    name: str
    background: str
    frames: Sequence[Frame]
    starts: Sequence[bool]
    truths: Sequence[U8Array]
    play: Callable[[str], AbstractContextManager[Player]]

    @property
    def seconds(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """(N,) times of the frames in seconds."""
        return np.array([frame.pts_ns / 1e9 for frame in self.frames])


def record_clip(clip: str | Path, backgrounds: Sequence[str], *, frames: int, lines: int) -> list[Recording]:
    """Record a clip over several backgrounds.

    Args:
        clip: A video, or "demo".
        backgrounds: What `open_background` takes.
        frames: Read at most so many.
        lines: Rows of the small pictures at most.

    Raises:
        LiveCompError: The clip or a background cannot be read, or a stage failed.
    """
    segmenter = Config().build().segmenter
    scenes = [open_background(spec) for spec in backgrounds]
    with ExitStack() as opened:
        source = open_source(clip)
        parts: list[Source | Segmenter | Background] = [source, segmenter, *scenes]
        for part in parts:
            opened.callback(part.close)
            part.open()
        seen: list[Frame] = []
        cuts, scene_cuts = CutDetector(), [CutDetector() for _ in scenes]
        starts: list[list[bool]] = [[] for _ in scenes]
        while len(seen) < frames and (frame := source.read()) is not None:
            small = _small(segmenter.segment(frame), lines)
            seen.append(small)
            is_cut = cuts.is_cut(frame.rgb)
            for scene, detector, found in zip(scenes, scene_cuts, starts, strict=True):
                found.append(is_cut | (scene.is_moving and detector.is_cut(scene.render(small))))
    return [
        Recording(Path(clip).stem, Path(spec).stem, seen, found, (), partial(play_clip, clip, spec, lines=lines))
        for spec, found in zip(backgrounds, starts, strict=True)
    ]


def record_takes(name: str, takes: Sequence[Take], *, model: str = "live", lines: int) -> Recording:
    """Record frames that already have their mattes, scenes and truths; there are no cuts between them.

    Args:
        name: Of the recording.
        takes: The frames, in order.
        model: Name of the harmonizer.
        lines: Rows of the small pictures at most.
    """
    return Recording(
        name,
        "itself",
        [_small(take.frame, lines) for take in takes],
        [False] * len(takes),
        [shrink(take.truth, lines) for take in takes if take.truth is not None],
        partial(play_takes, takes, model=model, lines=lines),
    )


def _small(frame: Frame, lines: int) -> Frame:
    return Frame(shrink(frame.rgb, lines), frame.pts_ns, shrink(frame.require_alpha(), lines))
