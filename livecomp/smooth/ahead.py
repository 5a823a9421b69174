"""Smoothing for files, where what comes next is known: no lag, sharp transitions, and steadier than any live filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from livecomp.correction import Correction, F32Array
from livecomp.frame import U8Array
from livecomp.smooth.motion import MatteMotion, carried
from livecomp.smooth.vector import gain_part, measure, neutral, stack, unstack

__all__ = ["LookAheadSmoother"]

_LEAST_PERSON = 0.004
_MEDIAN = 2  # frames to each side whose median says what the light is, free of spikes
_AROUND_S = 0.8
_EPSILON_S, _EPSILON = 1e-6, 1e-3
_PACE_S = 0.25
_RESTLESS = 0.06
"""How fast the light may change before less time is averaged over, in parts of full scale a second."""
_LEAST_SPREAD_S = 0.08
_GRAIN = 1 / 128
"""Places are told apart by this part of the picture, an eighth of a cell of the shading: each costs a move of it."""


@dataclass(slots=True)
class _Entry:
    """One frame: its prediction, None when nobody is there, and what was found out about it since."""

    pts_ns: int
    like: Correction
    vector: F32Array | None
    place: tuple[float, float]
    scene: int
    light: int
    guide: F32Array | None = None
    sound: bool | None = None
    steadied: F32Array | None = None

    @property
    def at_s(self) -> float:
        return self.pts_ns / 1e9


class LookAheadSmoother:
    """A mean over the time before and after each frame, over those frames that are lit alike.

    Bilateral filter (Tomasi and Manduchi, ICCV 1998) over time, in the space of the parameters: a frame counts by a
    Gaussian of its distance in time, times Tukey's biweight of the distance of its light from that of the present
    frame. The light of a frame is the median of the predictions around it, so a spike does not count as a light, and a
    lamp that is switched on is a sharp edge which nothing is averaged across. While a fade lasts, less time is averaged
    over. A light that lasts shorter than `lasting_s` is an accident, such as a hand before the lens, or part of a quick
    fade: such frames are left out, and get what lies between the frames before and after. Nothing is averaged across
    cuts and steps of light that were seen in the pictures, nor over frames with nobody in them. Shading is moved with
    the person before it is averaged.

    Frames go in one by one and come out `ahead_s` and the few frames of a median later, so that memory is bounded,
    however long the file is. What is found out about a frame before those after it are there is not kept.

    Args:
        spread_s: Standard deviation of the Gaussian, in seconds.
        reach_s: How far it looks to both sides, in seconds.
        lasting_s: How long a light must last, in seconds.
        alike: Distance of lights from which on they have nothing to do with one another, in parts of full scale, see
            `vector.measure`. Below it a change that nobody saw in the pictures is rather noise of predictions.
    """

    def __init__(
        self,
        *,
        spread_s: float = 1.0,
        reach_s: float = 2.5,
        lasting_s: float = 0.4,
        alike: float = 0.08,
    ) -> None:
        self._spread_s = spread_s
        self._reach_s = reach_s
        self._lasting_s = lasting_s
        self._alike = alike
        self._motion = MatteMotion()
        self._entries: list[_Entry] = []
        self._next = 0
        self._scene = self._light = 0
        self._place = (0.0, 0.0)
        self._finished = False

    @property
    def ahead_s(self) -> float:
        """How long after a frame lights must be known before it comes out, in seconds."""
        return self._reach_s + _AROUND_S

    def push(
        self,
        correction: Correction,
        pts_ns: int,
        alpha: U8Array | None = None,
        *,
        magnified: float = 1.0,
        is_cut: bool = False,
        is_step: bool = False,
    ) -> None:
        """Give the next frame.

        Args:
            correction: Its raw prediction.
            pts_ns: Its time in nanoseconds; later than at the call before.
            alpha: Its matte as filmed, (H, W) uint8, 255 = person; None where that is not known.
            magnified: How many times larger than filmed the person is shown, and so moves farther.
            is_cut: Another scene starts with it.
            is_step: Another light starts with it.
        """
        self._light += is_step
        if is_cut:
            self._scene += 1
            self._motion.reset()
        right, down = (0.0, 0.0) if alpha is None else self._motion.update(alpha)
        self._place = (self._place[0] + magnified * right, self._place[1] + magnified * down)
        place = (round(self._place[0] / _GRAIN) * _GRAIN, round(self._place[1] / _GRAIN) * _GRAIN)
        present = alpha is None or self._motion.area >= _LEAST_PERSON
        vector = stack(correction) if present else None
        self._entries.append(_Entry(pts_ns, correction, vector, place, self._scene, self._light))

    def finish(self) -> None:
        """Say that there are no more frames."""
        self._finished = True

    def pop(self) -> tuple[int, Correction] | None:
        """Time and correction of the next frame; None until enough is known after it, and when there are no more."""
        if self._next >= len(self._entries):
            return None
        entry = self._entries[self._next]
        if not self._knows(self._next, self.ahead_s + _EPSILON_S):
            return None
        steadied = unstack(self._steadied(self._next), entry.like)
        self._next += 1
        old = entry.at_s - self.ahead_s
        forgotten = 0
        while forgotten < self._next - _MEDIAN - 1 and self._entries[forgotten].at_s < old:
            forgotten += 1
        del self._entries[:forgotten]
        self._next -= forgotten
        return entry.pts_ns, steadied

    def _knows(self, index: int, seconds: float) -> bool:
        """Whether the lights of all frames that come so soon after one are known for good."""
        if self._finished:
            return True
        known = len(self._entries) - 1 - _MEDIAN
        return known >= index and self._entries[known].at_s - self._entries[index].at_s >= seconds

    def _near(self, index: int, seconds: float) -> list[int]:
        """Frames of the same scene with somebody in them, so near in time, in order."""
        entries, entry = self._entries, self._entries[index]
        first, last = index, index
        while first > 0 and entry.at_s - entries[first - 1].at_s <= seconds:
            first -= 1
        while last + 1 < len(entries) and entries[last + 1].at_s - entry.at_s <= seconds:
            last += 1
        return [
            other
            for other in range(first, last + 1)
            if entries[other].scene == entry.scene and entries[other].vector is not None
        ]

    def _guide(self, index: int) -> F32Array:
        """The light of a frame in which somebody is."""
        entry = self._entries[index]
        if entry.guide is not None:
            return entry.guide
        low, high = max(0, index - _MEDIAN), index + _MEDIAN + 1
        near = [e.vector for e in self._entries[low:high] if _share_light(e, entry) and e.vector is not None]
        guide = np.asarray(np.median(np.stack(near), axis=0), np.float32)
        if self._knows(index, 0):
            entry.guide = guide
        return guide

    def _is_sound(self, index: int) -> bool:
        """Whether the light of a frame lasts."""
        entry = self._entries[index]
        if entry.sound is not None:
            return entry.sound
        near = self._near(index, _AROUND_S)
        alike = _apart(self._guides(near), self._guide(index), measure(entry.like)) < self._alike / 2
        length_s = self._entries[near[-1]].at_s - self._entries[near[0]].at_s
        share = float(np.mean(alike))
        sound = share * length_s >= min(self._lasting_s, length_s / 2)
        if self._knows(index, _AROUND_S):
            entry.sound = sound
        return sound

    def _steadied(self, index: int) -> F32Array:
        """The vector that comes out for a frame."""
        entry = self._entries[index]
        if entry.steadied is not None:
            return entry.steadied
        near = self._near(index, self._reach_s)
        usable = [other for other in near if self._is_sound(other)] or near
        if not usable:
            steadied = neutral(entry.like)
        elif index in usable:
            alike = [other for other in usable if _share_light(self._entries[other], entry)]
            steadied = self._mean(index, alike)
        else:
            steadied = self._between(index, usable)
        if self._knows(index, self.ahead_s + _EPSILON_S):
            entry.steadied = steadied
        return steadied

    def _mean(self, index: int, others: Sequence[int]) -> F32Array:
        """The mean of lights around a frame."""
        entry = self._entries[index]
        lights, scale = self._guides(others), measure(entry.like)
        elapsed_s = np.array([self._entries[other].at_s - entry.at_s for other in others], np.float32)
        apart = _apart(lights, self._guide(index), scale)
        alike = np.maximum(1 - (apart / np.float32(self._alike)) ** 2, 0) ** 2
        pace = _pace(lights, alike, elapsed_s, scale)
        spread_s = max(self._spread_s * min(1.0, _RESTLESS / max(pace, _RESTLESS)) ** 2, _LEAST_SPREAD_S)
        weights = np.exp(np.float32(-0.5) * (elapsed_s / np.float32(spread_s)) ** 2) * alike
        return self._blend(others, lights, weights / weights.sum(), entry)

    def _between(self, index: int, others: Sequence[int]) -> F32Array:
        """For a frame with no light of its own: what lies between those before and after."""
        entry = self._entries[index]
        before = max((other for other in others if other < index), default=None)
        after = min((other for other in others if other > index), default=None)
        if before is None or after is None:
            ends, shares = [others[0] if before is None else before], [1.0]
        else:
            start_s, end_s = self._entries[before].at_s, self._entries[after].at_s
            share = (entry.at_s - start_s) / (end_s - start_s)
            ends, shares = [before, after], [1 - share, share]
        vectors = np.stack([self._steadied(end) for end in ends])
        return self._blend(ends, vectors, np.array(shares, np.float32), entry)

    def _guides(self, others: Sequence[int]) -> F32Array:
        """The lights of some frames, (n, P)."""
        return np.stack([self._guide(other) for other in others])

    def _blend(self, others: Sequence[int], vectors: F32Array, weights: F32Array, entry: _Entry) -> F32Array:
        """A weighted mean of other frames' vectors, their shading moved to where the person is."""
        mean = np.asarray(weights @ vectors, np.float32)
        places = [self._entries[other].place for other in others]
        if any(place != entry.place for place in places):
            shading = gain_part(mean, entry.like)
            gains = vectors[:, mean.size - shading.size :]
            moved = np.zeros_like(shading)
            for place in dict.fromkeys(places):
                there = np.array([other == place for other in places])
                part = (weights[there] @ gains[there]).reshape(shading.shape)
                moved += carried(part, entry.place[0] - place[0], entry.place[1] - place[1])
            shading[:] = moved
        return mean


def _share_light(one: _Entry, other: _Entry) -> bool:
    """Whether neither a cut nor a step lies between two frames."""
    return (one.scene, one.light) == (other.scene, other.light)


def _apart(lights: F32Array, light: F32Array, scale: F32Array) -> F32Array:
    """How far each of (n, P) lights lies from one, (n,) float32, as `vector.distance` does."""
    change = lights - light
    return np.asarray(np.sqrt((change * change) @ scale), np.float32)


def _pace(lights: F32Array, alike: F32Array, elapsed_s: F32Array, scale: F32Array) -> float:
    """How fast the light changes from just before to just after, a second; 0 at an edge, with nothing alike beyond."""
    sides = []
    for side in (elapsed_s < 0, elapsed_s > 0):
        weights = np.where(side & (np.abs(elapsed_s) <= _PACE_S), alike, np.float32(0))
        total = float(weights.sum())
        if total < _EPSILON:
            return 0.0
        sides.append((weights @ lights) / np.float32(total))
    return float(_apart(sides[0][None], sides[1], scale)[0]) / _PACE_S
