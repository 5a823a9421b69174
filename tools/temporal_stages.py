"""The stages of smoothing, and how steady each is.

================  =====================================================================================================
``input``         The clip itself.
``unharmonized``  The person over the scene, without any correction.
``raw``           The prediction for each frame, as it is.
``live``          As in a call: predictions for some frames only, steadied by the default filter.
``offline``       As for files: predictions for every third frame, smoothed to both sides.
================  =====================================================================================================

All but the first are what the pipeline shows, made at the clip's full size and then made small. The last two, as there,
take the noise that their corrections make stronger from the picture before they find the matte, which is steadier for
it; motion and the person's place are those of the clip for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livecomp.correction import Correction
from livecomp.frame import U8Array
from tools.temporal_metrics import F64Array, Flow, flicker, flows, mean_lab, temporal_loss
from tools.temporal_play import PLAYED
from tools.temporal_record import Recording

__all__ = ["STAGES", "Judged", "judge"]

_PERSON = 127

STAGES = ("input", "unharmonized", "raw", "live", "offline")


@dataclass(frozen=True, slots=True)
class Judged:
    """How one stage did on one recording.

    Args:
        tl_input: See `tools.temporal_metrics`; None where the motion is not known.
        flicker: (3,) of L*, a*, b*.
        labs: (N, 3) mean colour of the person over time.
        fmse: Mean squared error on the person, 0..255, mean over frames; None without a truth.
        smooth_ms: Median time of the filter for a frame; None where there is none.
        corrections: What was applied; empty for "input" and "unharmonized".
    """

    tl_input: float | None
    flicker: F64Array
    labs: F64Array
    fmse: float | None
    smooth_ms: float | None
    corrections: Sequence[Correction]


def judge(recordings: Sequence[Recording], *, with_motion: bool = True) -> list[dict[str, Judged]]:
    """Judge all stages on recordings of one clip over several backgrounds.

    Args:
        recordings: Their frames are the same, so the optical flow is computed once.
        with_motion: Compute the optical flow, which takes most of the time, and `tl_input` with it.

    Returns:
        For each recording the result by stage.

    Raises:
        LiveCompError: A stage failed.
    """
    frames = recordings[0].frames
    watches = [{stage: _Watch() for stage in STAGES} for _ in recordings]
    motions = flows(frames) if with_motion else None
    with ExitStack() as opened:
        players = [{stage: opened.enter_context(recording.play(stage)) for stage in PLAYED} for recording in recordings]
        for index, frame in enumerate(frames):
            flow = next(motions) if motions is not None and index else None
            for recording, watched, by_stage in zip(recordings, watches, players, strict=True):
                pictures = {"input": frame.rgb}
                for stage, player in by_stage.items():
                    played = player.next()
                    pictures.update(played.pictures)
                    watched[stage].corrections.append(played.correction)
                for stage, picture in pictures.items():
                    watched[stage].add(recording, index, picture, flow)
        for watched, by_stage in zip(watches, players, strict=True):
            for stage, player in by_stage.items():
                watched[stage].smooth_ms = player.smooth_ms
    return [
        {stage: watch.judged(recording) for stage, watch in watched.items()}
        for recording, watched in zip(recordings, watches, strict=True)
    ]


class _Watch:
    """Sees the pictures of one stage go by."""

    def __init__(self) -> None:
        self.corrections: list[Correction] = []
        self.smooth_ms: float | None = None
        self._losses: list[float] = []
        self._errors: list[float] = []
        self._labs: list[F64Array] = []
        self._before: U8Array | None = None

    def add(self, recording: Recording, index: int, picture: U8Array, flow: Flow | None) -> None:
        alpha = recording.frames[index].require_alpha()
        self._labs.append(mean_lab(picture, alpha))
        if flow is not None and self._before is not None and not recording.starts[index]:
            self._losses.append(temporal_loss(self._before, picture, flow))
        if recording.truths:
            self._errors.append(_error(picture, recording.truths[index], alpha > _PERSON))
        self._before = picture

    def judged(self, recording: Recording) -> Judged:
        labs = np.stack(self._labs)
        return Judged(
            tl_input=float(np.mean(self._losses)) if self._losses else None,
            flicker=flicker(labs, recording.seconds),
            labs=labs,
            fmse=float(np.mean(self._errors)) if self._errors else None,
            smooth_ms=self.smooth_ms,
            corrections=self.corrections,
        )


def _error(shown: U8Array, truth: U8Array, person: NDArray[np.bool_]) -> float:
    """Mean squared error on the person; 0 where nobody is."""
    if not person.any():
        return 0.0
    difference = shown[person].astype(np.float32) - truth[person]
    return float(np.mean(difference * difference))
