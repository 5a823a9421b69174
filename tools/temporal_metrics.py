"""How steady and how quick a sequence of composites is.

==================  ===================================================================================================
``tl_input``        Temporal loss: the composite of frame t is warped to t + 1 by the motion of the *input* frames and
                    compared with the composite there, inside the warped matte and where the input frames agree:
                    ``v = mean_c exp(-|W(R_t) - R_t+1|)``, ``m = W(M_t) v``,
                    ``TL = Σ((W(O_t) - O_t+1) m)² 255² / Σ m``, mean over pairs. Here R are the input frames, hence the
                    name. The flow is backward (from t + 1 to t), by OpenCV's DIS, preset medium, on luma.
``flicker``         High-pass energy of the mean colour of the person, in CIE L*a*b*: mean square of what is left after
                    a centred moving average over half a second, for L*, a*, b*, and their sum.
``StepResponse``    Lag, overshoot and settling time after a step of light, see there.
==================  ===================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.correction import F32Array
from livecomp.frame import Frame, U8Array

__all__ = ["Flow", "StepResponse", "flicker", "flows", "mean_lab", "step_response", "temporal_loss"]

F64Array = NDArray[np.float64]

_HIGH_PASS_S = 0.5
_PERSON = 127
_REACHED = 0.9


@dataclass(frozen=True, slots=True)
class Flow:
    """Where the pixels of a frame were in the frame before.

    Args:
        source_xy: (H, W, 2) float32, for each pixel the place in the frame before, pixels.
        weight: (H, W) float32, the warped matte times visibility, 0..1: ``m`` of the module.
    """

    source_xy: F32Array
    weight: F32Array

    def warp(self, picture: U8Array) -> F32Array:
        """A picture of the frame before, moved to this frame; float32, 0..255."""
        return _remap(picture.astype(np.float32), self.source_xy)


def flows(frames: Sequence[Frame]) -> Iterator[Flow]:
    """The flow between each two consecutive frames, which have mattes."""
    height, width = frames[0].rgb.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    lumas = (cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY) for frame in frames)
    for (before, after), (luma_before, luma_after) in zip(pairwise(frames), pairwise(lumas), strict=True):
        motion = dis.calc(luma_after, luma_before, np.zeros((height, width, 2), np.float32))
        source_xy = grid + np.asarray(motion, np.float32)
        moved = _remap(before.rgb.astype(np.float32), source_xy)
        visible = np.exp(-np.abs(moved - after.rgb) / np.float32(255)).mean(axis=2)
        matte = _remap(before.require_alpha().astype(np.float32), source_xy) / np.float32(255)
        yield Flow(source_xy, (matte * visible).astype(np.float32))


def temporal_loss(before: U8Array, after: U8Array, flow: Flow) -> float:
    """``TL`` of one pair of composites, each (H, W, 3) uint8; 0 where nobody is."""
    weight = flow.weight
    total = float(weight.sum())
    if total < 1:
        return 0.0
    difference = (flow.warp(before) - after) * weight[..., None]
    return float((difference * difference).sum()) / total


def _remap(picture: F32Array, source_xy: F32Array) -> F32Array:
    x, y = source_xy[..., 0], source_xy[..., 1]
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def mean_lab(rgb: U8Array, alpha: U8Array) -> F64Array:
    """Mean CIE L*, a*, b* of the person.

    Args:
        rgb: (H, W, 3) uint8.
        alpha: (H, W) uint8; pixels of at least one half count. NaN where there are none.
    """
    inside = alpha > _PERSON
    if not inside.any():
        return np.full(3, np.nan)
    pixels = rgb[inside][None].astype(np.float32) / np.float32(255)
    return np.asarray(np.mean(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0], axis=0), np.float64)


def flicker(labs: F64Array, seconds: F64Array) -> F64Array:
    """High-pass energy of L*, a* and b*: (3,), mean squares in units of L*a*b*.

    Args:
        labs: (N, 3) mean colours; frames with NaN are left out.
        seconds: (N,) times of the frames.
    """
    known = ~np.isnan(labs).any(axis=1)
    labs, seconds = labs[known], seconds[known]
    if not len(labs):
        return np.zeros(3)
    near = np.abs(seconds[:, None] - seconds[None, :]) <= _HIGH_PASS_S / 2
    slow = near.astype(np.float64) @ labs / near.sum(axis=1, keepdims=True)
    return np.asarray(np.mean((labs - slow) ** 2, axis=0))


@dataclass(frozen=True, slots=True)
class StepResponse:
    """How the person's mean colour goes from "new light, old correction" to "new light, new correction".

    Args:
        size: Length of that way in units of L*a*b*: what there was to correct.
        lag_ms: From the step until 90 % of the way are done; None if never.
        overshoot: How far beyond the end it went, in parts of the way.
        settling_ms: From the step until it stays within 10 % of the end; None if never.
        early_ms: How long before the step it left the old colour by more than 10 % of the way; 0 for all causal stages.
    """

    size: float
    lag_ms: float | None
    overshoot: float
    settling_ms: float | None
    early_ms: float


def step_response(
    labs: F64Array, ideal: F64Array, uncorrected: F64Array, seconds: F64Array, at_s: float
) -> StepResponse:
    """Measure the answer to a step of light.

    Args:
        labs: (N, 3) mean colours of the stage.
        ideal: (N, 3) of what it should reach at once: the prediction for each frame, its noise averaged out on each
            side of the step.
        uncorrected: (N, 3) of the correction from before the step, applied throughout.
        seconds: (N,) times of the frames.
        at_s: Time of the first frame in the new light.
    """
    after = seconds >= at_s - 1e-6
    way = (ideal - uncorrected)[after].mean(axis=0)
    size = float(np.linalg.norm(way))
    progress = ((labs - uncorrected) @ way) / max(size * size, 1e-12)
    elapsed_ms = (seconds - at_s) * 1e3
    return StepResponse(
        size=size,
        lag_ms=next((float(at_ms) for at_ms in elapsed_ms[after & (progress >= _REACHED)]), None),
        overshoot=max(0.0, float(progress[after].max()) - 1),
        settling_ms=_since(after & (np.abs(progress - 1) > 1 - _REACHED), elapsed_ms),
        early_ms=_early(~after & (np.abs(progress) > 1 - _REACHED), elapsed_ms),
    )


def _since(bad: NDArray[np.bool_], elapsed_ms: F64Array) -> float | None:
    """Time of the first frame after the last bad one; None if the last frame is bad."""
    last = np.flatnonzero(bad)
    if not len(last):
        return 0.0
    return None if last[-1] + 1 >= len(bad) else float(elapsed_ms[last[-1] + 1])


def _early(bad: NDArray[np.bool_], elapsed_ms: F64Array) -> float:
    first = np.flatnonzero(bad)
    return -float(elapsed_ms[first[0]]) if len(first) else 0.0
