"""The stages of smoothing, applied to one recording after the fact, and judged.

================  =====================================================================================================
``input``         The clip itself.
``unharmonized``  The person over the scene, without any correction.
``constant``      One correction throughout, the mean of all predictions: what steadiness could be had at best.
``raw``           The prediction for each frame, as it is.
``live``          As in a call: predictions for some frames only, steadied by the default filter.
``offline``       As for files: predictions for every third frame, smoothed to both sides.
================  =====================================================================================================

The last two take the noise that their corrections make stronger from the small pictures, and keep the recorded mattes;
a call does so before it finds the matte, which is steadier for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livecomp.composite.fused import FusedCompositor
from livecomp.config import Config
from livecomp.correction import Correction
from livecomp.frame import Frame, U8Array
from livecomp.smooth.ahead import LookAheadSmoother
from livecomp.smooth.noise import NoiseFilter
from livecomp.smooth.registry import make_smoother
from livecomp.smooth.vector import stack, unstack
from tools.temporal_metrics import F64Array, flicker, flows, mean_lab, temporal_loss
from tools.temporal_record import Moment, Recording

__all__ = ["STAGES", "Judged", "corrections", "judge", "mean_correction"]

_PERSON = 127
PREDICT_EVERY = 3
"""As `Foresight` has it by default."""

STAGES = ("input", "unharmonized", "constant", "raw", "live", "offline")
QUIETED = ("live", "offline")


@dataclass(frozen=True, slots=True)
class Judged:
    """How one stage did on one recording.

    Args:
        tl_input: See `tools.temporal_metrics`; None where the motion is not known.
        flicker: (3,) of L*, a*, b*.
        labs: (N, 3) mean colour of the person over time.
        fmse: Mean squared error on the person, 0..255, mean over frames; None without a truth.
        smooth_ms: Median time of the filter for a frame; None where there is none.
    """

    tl_input: float | None
    flicker: F64Array
    labs: F64Array
    fmse: float | None
    smooth_ms: float | None


@dataclass(frozen=True, slots=True)
class _Applied:
    """The corrections of a stage, None where none is applied, and what finding them took."""

    corrections: Sequence[Correction | None]
    smooth_ms: float | None = None


def mean_correction(moments: Sequence[Moment]) -> Correction:
    """The mean of the predictions for some frames."""
    mean = np.mean([stack(moment.raw) for moment in moments], axis=0)
    return unstack(mean.astype(np.float32), moments[0].raw)


def corrections(recording: Recording) -> dict[str, _Applied]:
    """What each stage applies; the clip itself has nothing to apply."""
    moments = recording.moments
    neutral = Correction.identity()
    return {
        "input": _Applied([None] * len(moments)),
        "unharmonized": _Applied([neutral] * len(moments)),
        "constant": _Applied([mean_correction(moments)] * len(moments)),
        "raw": _Applied([moment.raw for moment in moments]),
        "live": _live(moments),
        "offline": _offline(moments),
    }


def _live(moments: Sequence[Moment]) -> _Applied:
    config = Config()
    smoother = make_smoother(config.smooth.filter)
    found: list[Correction] = []
    predicted, age = moments[0].raw, 0
    took_ms = []
    for moment in moments:
        if moment.starts_anew:
            smoother.reset()
        if moment.starts_anew or moment.is_step or age % config.live.harmonize_every == 0:
            predicted, age = moment.raw, 0
        age += 1
        if moment.is_step:
            smoother.notice_step()
        start_ns = time.perf_counter_ns()
        found.append(smoother.update(predicted, moment.frame.pts_ns, moment.frame.require_alpha()))
        took_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
    return _Applied(found, float(np.median(took_ms)))


def _offline(moments: Sequence[Moment]) -> _Applied:
    """As `livecomp.foresight` does it: predictions for every few frames, interpolated but not across cuts."""
    smoother = LookAheadSmoother(reach_s=Config().smooth.look_ahead_s)
    known: list[tuple[int, Correction]] = []
    seen: list[Moment] = []
    took_ms, since = [], PREDICT_EVERY

    def drain() -> None:
        while (next_known := smoother.pop()) is not None:
            known.append(next_known)

    for moment in moments:
        since += 1
        if since < PREDICT_EVERY and not (moment.starts_anew or moment.is_step):
            continue
        since = 0
        seen.append(moment)
        start_ns = time.perf_counter_ns()
        alpha = moment.frame.require_alpha()
        smoother.push(moment.raw, moment.frame.pts_ns, alpha, is_cut=moment.starts_anew, is_step=moment.is_step)
        drain()
        took_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
    smoother.finish()
    drain()
    found, last = [], 0
    for moment in moments:
        pts_ns = moment.frame.pts_ns
        while last + 1 < len(known) and known[last + 1][0] <= pts_ns:
            last += 1
        (at_ns, before), following = known[last], last + 1
        if pts_ns == at_ns or following == len(known) or seen[following].starts_anew or seen[following].is_step:
            found.append(before)
        else:
            next_ns, after = known[following]
            found.append(before.lerp(after, (pts_ns - at_ns) / (next_ns - at_ns)))
    return _Applied(found, float(np.median(took_ms[len(took_ms) // 2 :])) / PREDICT_EVERY)


def judge(recordings: Sequence[Recording], *, with_motion: bool = True) -> list[dict[str, Judged]]:
    """Judge all stages on recordings of one clip over several backgrounds.

    Args:
        recordings: Their frames are the same, so the optical flow is computed once.
        with_motion: Compute the optical flow, which takes most of the time, and `tl_input` with it.

    Returns:
        For each recording the result by stage.
    """
    compositor = FusedCompositor(threads=1)
    applied = [corrections(recording) for recording in recordings]
    keys = [(number, stage) for number in range(len(recordings)) for stage in STAGES]
    losses: dict[tuple[int, str], list[float]] = {key: [] for key in keys}
    errors: dict[tuple[int, str], list[float]] = {key: [] for key in keys}
    labs: dict[tuple[int, str], list[F64Array]] = {key: [] for key in keys}
    before: dict[tuple[int, str], U8Array] = {}
    quieted = {(number, stage): NoiseFilter(Config().smooth.noise) for number, stage in keys if stage in QUIETED}
    motions = flows([moment.frame for moment in recordings[0].moments]) if with_motion else None
    for index in range(len(recordings[0].moments)):
        flow = next(motions) if motions is not None and index else None
        for key in keys:
            number, stage = key
            moment = recordings[number].moments[index]
            correction = applied[number][stage].corrections[index]
            frame = moment.frame
            if correction is not None and key in quieted:
                frame = _quieted(quieted[key], moment, correction)
            shown = frame.rgb if correction is None else compositor.compose(frame, moment.scene, correction).rgb
            labs[key].append(mean_lab(shown, frame.require_alpha()))
            if flow is not None and not moment.starts_anew:
                losses[key].append(temporal_loss(before[key], shown, flow))
            if moment.truth is not None:
                errors[key].append(_error(shown, moment.truth, frame.require_alpha() > _PERSON))
            before[key] = shown
    return [
        {
            stage: Judged(
                tl_input=float(np.mean(losses[number, stage])) if losses[number, stage] else None,
                flicker=flicker(np.stack(labs[number, stage]), recording.seconds),
                labs=np.stack(labs[number, stage]),
                fmse=float(np.mean(errors[number, stage])) if errors[number, stage] else None,
                smooth_ms=applied[number][stage].smooth_ms,
            )
            for stage in STAGES
        }
        for number, recording in enumerate(recordings)
    ]


def _quieted(noise: NoiseFilter, moment: Moment, correction: Correction) -> Frame:
    """The frame without the noise that this correction and those before make stronger."""
    if moment.starts_anew:
        noise.reset()
    alpha = moment.frame.require_alpha()
    quiet = noise.update(moment.frame)
    noise.learn(alpha, correction)
    return quiet.with_alpha(alpha)


def _error(shown: U8Array, truth: U8Array, person: NDArray[np.bool_]) -> float:
    """Mean squared error on the person; 0 where nobody is."""
    if not person.any():
        return 0.0
    difference = shown[person].astype(np.float32) - truth[person]
    return float(np.mean(difference * difference))
