"""Tell people from furniture: of what a network takes for a person, keep what has a face or moves.

The selfie networks take some beds, chairs and hedges for people. These have no face, and nothing in them moves unless
the whole picture does; whoever sits still breathes and looks about. What looks again as it did when the room was empty
is nobody at once, and not only after the time for which somebody may sit still.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.correction import F32Array
from livecomp.errors import MatteError, ModelError
from livecomp.frame import U8Array
from livecomp.segment.faces import FaceDetector
from livecomp.segment.shrink import shrink

__all__ = ["PresenceFilter"]

_MEMORY_S = 5.0
"""In four clips of calls, even at a fourth of their speed, somebody is seen moving as often, without any face."""
_LOOK_NS = 90_000_000
"""Every third frame of 30 a second is looked at."""
_BACK_NS = 2_500_000_000
"""How far back the picture may lie that is compared with the present one."""
_EMPTY_NS = 10_000_000_000
"""Where neither anybody was seen nor anything moved for so long there is nobody."""
_LONG_AGO_NS = int(np.iinfo(np.int64).min // 2)

_LEAST_AREA = 0.001
"""Share of the matte from which on a region can be judged."""
_EDGE = 5
"""Somebody may move beside a region: so far around a pixel all must be of the region, in pixels of the matte."""
_ELSEWHERE = 17
"""So far around a pixel nothing must be of a region, for it to say what the whole picture does."""
_LEAST_MOVING = 0.03
"""Share of a region that changes when it is somebody."""
_TIMES_ELSEWHERE = 4.0
"""How much more must change in a region than elsewhere, or it is the camera that moves, or the light."""
_LEAST_CHANGE = 0.08
"""Change of a pixel's logarithm that counts, where there is no noise."""
_NOISES = 10.0
"""The same in standard deviations of the noise."""
_QUARTILE = 0.319
"""A quarter of what is normally distributed is less than so many standard deviations from the mean."""
_DARK = 32.0
"""Added to levels before their logarithm, in which noise and rounding would count too much in the dark."""
_LIGHT = 2.0
"""Change of levels in an empty room, on average, that is followed."""
_QUANTILES = 33
"""How many points of two histograms are compared."""
_AROUND = 0.15
"""How much of a region's box is added on each side where a face is looked for."""
_MOST_FACES = 4
"""Regions that are searched for a face at once, from the largest down."""


@dataclass(slots=True)
class _Region:
    """A connected part of a matte.

    Args:
        box: Rows and columns that it lies in.
        inside: (height, width) of the box, where the region is.
        area: In pixels.
        seen_ns: When somebody was last seen in it.
    """

    box: tuple[slice, slice]
    inside: NDArray[np.bool_]
    area: int
    seen_ns: int


class PresenceFilter:
    """Keeps regions in which somebody is. Given from one segmenter to the next, it remembers whom it has seen.

    Not safe to call from several threads at once.

    Args:
        memory_s: A region is kept so long after it moved or had a face, in seconds.
    """

    def __init__(self, *, memory_s: float = _MEMORY_S) -> None:
        self._faces = FaceDetector()
        self._memory_ns = int(memory_s * 1e9)
        self._seen_ns: NDArray[np.int64] | None = None
        self._pictures: deque[tuple[int, U8Array]] = deque()
        self._empty = _EmptyRoom()
        self._looked_ns = _LONG_AGO_NS

    def open(self) -> None:
        """Load the face detector; harmless when repeated.

        Raises:
            ModelError: It is damaged or cannot be run here.
        """
        self._faces.open()

    def keep(self, sure: U8Array, rgb: U8Array, pts_ns: int) -> U8Array:
        """The regions in which somebody is, or was less than `memory_s` ago.

        Args:
            sure: (h, w) uint8, 1 where a matte is sure of a person, else 0.
            rgb: (H, W, 3) uint8 sRGB, the picture of that matte.
            pts_ns: Its time in nanoseconds; one before the last starts anew.

        Returns:
            A new (h, w) uint8 array, 0 or 1, nowhere above `sure`.

        Raises:
            MatteError: The face detector failed, or is not open: whether somebody is there cannot be told.
        """
        if pts_ns < self._looked_ns:
            self.reset()
        seen_ns = self._seen_ns = _at_size(self._seen_ns, sure.shape)
        regions = _regions(sure, seen_ns)
        moving: _Moving | None = None
        if pts_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = pts_ns
            moving = self._moving(sure, rgb, pts_ns)
            self._look(regions, moving, rgb, pts_ns)
        kept = np.zeros_like(sure)
        for region in regions:
            seen_ns[region.box][region.inside] = region.seen_ns
            if pts_ns - region.seen_ns <= self._memory_ns:
                kept[region.box][region.inside] = 1
        if moving is not None:
            self._empty.learn(moving.present, _far_from(kept) & ~moving.where, pts_ns)
        return kept

    def reset(self) -> None:
        """Forget whom was seen: a cut, or another source."""
        self._seen_ns = None
        self._pictures.clear()
        self._empty = _EmptyRoom()
        self._looked_ns = _LONG_AGO_NS

    def close(self) -> None:
        """Release the face detector; harmless when repeated."""
        self._faces.close()

    def _look(self, regions: list[_Region], moving: _Moving, rgb: U8Array, pts_ns: int) -> None:
        """Note in which regions somebody is now."""
        shape = moving.present.shape
        other = self._empty.differs(moving.present)
        judged = [region for region in regions if region.area >= _LEAST_AREA * moving.present.size]
        for region in judged:
            if moving.share(region, other) < _LEAST_MOVING:
                region.seen_ns = _LONG_AGO_NS
            elif moving.is_in(region):
                region.seen_ns = pts_ns
        doubtful = [region for region in judged if pts_ns - region.seen_ns > self._memory_ns // 2]
        for region in sorted(doubtful, key=lambda region: -region.area)[:_MOST_FACES]:
            if self._has_face(region, shape, rgb):
                region.seen_ns = pts_ns

    def _moving(self, sure: U8Array, rgb: U8Array, pts_ns: int) -> _Moving:
        """What has changed against an earlier picture."""
        height, width = sure.shape
        picture = np.asarray(cv2.cvtColor(shrink(rgb, (width, height)), cv2.COLOR_RGB2GRAY), np.uint8)
        pictures = self._pictures
        while pictures and (pts_ns - pictures[0][0] > _BACK_NS or pictures[0][1].shape != picture.shape):
            pictures.popleft()
        pictures.append((pts_ns, picture))
        return _Moving(pictures[0][1], picture, sure)

    def _has_face(self, region: _Region, shape: tuple[int, ...], rgb: U8Array) -> bool:
        """Whether the middle of a face lies in a region."""
        rows, columns = (_grown(part, side) for part, side in zip(region.box, shape, strict=True))
        scale = np.array((rgb.shape[1] / shape[1], rgb.shape[0] / shape[0]))
        left, top = (np.array((columns.start, rows.start)) * scale).astype(int)
        right, bottom = np.ceil(np.array((columns.stop, rows.stop)) * scale).astype(int)
        try:
            faces = self._faces.find(rgb[top:bottom, left:right])
        except ModelError as error:
            raise MatteError(f"whether somebody is there cannot be told: {error}") from error
        x, y = (np.add(faces, (left, top)) / scale - (region.box[1].start, region.box[0].start)).astype(int).T
        high, wide = region.inside.shape
        within = (x >= 0) & (x < wide) & (y >= 0) & (y < high)
        return bool(region.inside[y[within], x[within]].any())


class _Moving:
    """Which pixels have changed, other than by the light.

    Args:
        past: (h, w) uint8, an earlier picture in grey, or the present one.
        present: The present one.
        sure: (h, w) uint8, 1 where a matte is sure of a person.
    """

    def __init__(self, past: U8Array, present: U8Array, sure: U8Array) -> None:
        self.present = present
        change = _change(past, present)
        noise = float(np.quantile(change[::3, ::3], 0.25)) / _QUARTILE
        self.where = change > max(_LEAST_CHANGE, _NOISES * noise)
        """(h, w) bool."""
        inner = cv2.erode(sure, np.ones((_EDGE, _EDGE), np.uint8), borderType=cv2.BORDER_REPLICATE)
        self._inner = inner.astype(bool)
        self._least = max(_LEAST_MOVING, _TIMES_ELSEWHERE * _share(self.where, _far_from(sure)))

    def is_in(self, region: _Region) -> bool:
        """Whether enough has changed within a region."""
        return self.share(region, self.where) >= self._least

    def share(self, region: _Region, where: NDArray[np.bool_]) -> float:
        """The share of a region, but for its edge, that lies where something is, 0..1."""
        return _share(where[region.box], region.inside & self._inner[region.box])


class _EmptyRoom:
    """What each pixel is like when nobody is there."""

    def __init__(self) -> None:
        self._picture: U8Array | None = None
        self._is_known = np.zeros((0, 0), bool)
        self._empty_since_ns = np.zeros((0, 0), np.int64)
        self._looked_ns = 0

    def differs(self, picture: U8Array) -> NDArray[np.bool_]:
        """Where a picture is another, or nothing is known: (h, w) bool."""
        if self._picture is None or self._picture.shape != picture.shape:
            return np.ones(picture.shape, bool)
        return (cv2.absdiff(_logarithms(self._picture), _logarithms(picture)) > _LEAST_CHANGE) | ~self._is_known

    def learn(self, picture: U8Array, is_empty: NDArray[np.bool_], pts_ns: int) -> None:
        """Remember the pixels of a picture that have been empty for long.

        Args:
            picture: (h, w) uint8, in grey.
            is_empty: (h, w), where nobody is and nothing moves.
            pts_ns: Its time, in nanoseconds.
        """
        if self._picture is None or self._picture.shape != picture.shape:
            self._picture = picture.copy()
            self._is_known = np.zeros(picture.shape, bool)
            self._empty_since_ns = np.full(picture.shape, pts_ns, np.int64)
        # what happened between two pictures that are far apart nobody knows
        is_gap, self._looked_ns = pts_ns - self._looked_ns > _BACK_NS, pts_ns
        self._empty_since_ns[~is_empty | is_gap] = pts_ns
        learned = pts_ns - self._empty_since_ns >= _EMPTY_NS
        again = learned & self._is_known
        if again.any() and float(cv2.absdiff(self._picture, picture)[again].mean()) > _LIGHT:
            # what somebody hides now is lit as the rest
            levels = np.rint(_turned(self._picture[again], picture[again])).astype(np.uint8)
            self._picture = np.asarray(cv2.LUT(self._picture, levels), np.uint8)
        learned &= self.differs(picture)
        self._picture[learned] = picture[learned]
        self._is_known |= learned


def _change(past: U8Array, present: U8Array) -> F32Array:
    """By how much each pixel has changed, but for what changed the levels of the whole picture alike.

    Exposure and lamps turn levels into others; which ones is read from both histograms.

    Returns:
        (h, w) float32, the absolute difference of logarithms.
    """
    before = np.log(_turned(past[::2, ::2], present[::2, ::2]) + np.float32(_DARK))
    return np.asarray(cv2.absdiff(_logarithms(present), cv2.LUT(past, before)), np.float32)


def _turned(past: U8Array, present: U8Array) -> F32Array:
    """(256,) float32: what each level of a picture has become in another of the same things."""
    steps = np.linspace(0, 1, _QUANTILES)
    return np.interp(np.arange(256), np.quantile(past, steps), np.quantile(present, steps)).astype(np.float32)


def _logarithms(picture: U8Array) -> F32Array:
    """Those of each pixel: (h, w) float32."""
    return np.asarray(cv2.LUT(picture, np.log(np.arange(256, dtype=np.float32) + np.float32(_DARK))), np.float32)


def _far_from(sure: U8Array) -> NDArray[np.bool_]:
    """Where no region is near."""
    return np.asarray(cv2.dilate(sure, np.ones((_ELSEWHERE, _ELSEWHERE), np.uint8)) == 0)


def _share(moving: NDArray[np.bool_], where: NDArray[np.bool_]) -> float:
    """Share of the pixels of a place that move, 0..1; 0 where there are none."""
    count = np.count_nonzero(where)
    return float(np.count_nonzero(moving & where) / count) if count else 0.0


def _regions(sure: U8Array, seen_ns: NDArray[np.int64]) -> list[_Region]:
    """The connected parts of a matte, each with the latest time at which somebody was seen where it lies."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(sure, connectivity=4)
    regions = []
    for label in range(1, count):
        left, top, width, height, area = (int(value) for value in statistics[label])
        box = slice(top, top + height), slice(left, left + width)
        inside = labels[box] == label
        regions.append(_Region(box, inside, area, int(seen_ns[box][inside].max())))
    return regions


def _at_size(seen_ns: NDArray[np.int64] | None, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """When somebody was seen in each pixel of a matte of another size, in nanoseconds."""
    if seen_ns is None:
        return np.full(shape, _LONG_AGO_NS, np.int64)
    if seen_ns.shape == shape:
        return seen_ns
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, seen_ns.shape, strict=True))
    return seen_ns[np.ix_(rows, columns)]


def _grown(part: slice, side: int) -> slice:
    """Rows or columns with some more on both sides, within the matte."""
    more = round(_AROUND * (part.stop - part.start)) + 1
    return slice(max(0, part.start - more), min(side, part.stop + more))
