"""Tell people from furniture: of what a network takes for a person, keep what has a face or moves.

The selfie networks take some beds, chairs and hedges for people. These have no face, and nothing in them moves unless
the whole picture does; whoever sits still breathes and looks about.
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
        if pts_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = pts_ns
            self._look(regions, sure, rgb, pts_ns)
        kept = np.zeros_like(sure)
        for region in regions:
            seen_ns[region.box][region.inside] = region.seen_ns
            if pts_ns - region.seen_ns <= self._memory_ns:
                kept[region.box][region.inside] = 1
        return kept

    def reset(self) -> None:
        """Forget whom was seen: a cut, or another source."""
        self._seen_ns = None
        self._pictures.clear()
        self._looked_ns = _LONG_AGO_NS

    def close(self) -> None:
        """Release the face detector; harmless when repeated."""
        self._faces.close()

    def _look(self, regions: list[_Region], sure: U8Array, rgb: U8Array, pts_ns: int) -> None:
        """Note in which regions somebody is now."""
        moving = self._moving(sure, rgb, pts_ns)
        judged = [region for region in regions if region.area >= _LEAST_AREA * sure.size]
        for region in judged:
            if moving is not None and moving.is_in(region):
                region.seen_ns = pts_ns
        doubtful = [region for region in judged if pts_ns - region.seen_ns > self._memory_ns // 2]
        for region in sorted(doubtful, key=lambda region: -region.area)[:_MOST_FACES]:
            if self._has_face(region, sure.shape, rgb):
                region.seen_ns = pts_ns

    def _moving(self, sure: U8Array, rgb: U8Array, pts_ns: int) -> _Moving | None:
        """What has changed against an earlier picture; None where there is none."""
        height, width = sure.shape
        picture = np.asarray(cv2.cvtColor(shrink(rgb, (width, height)), cv2.COLOR_RGB2GRAY), np.uint8)
        pictures = self._pictures
        while pictures and (pts_ns - pictures[0][0] > _BACK_NS or pictures[0][1].shape != picture.shape):
            pictures.popleft()
        past = pictures[0][1] if pictures else None
        pictures.append((pts_ns, picture))
        return None if past is None else _Moving(past, picture, sure)

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
        past: (h, w) uint8, an earlier picture in grey.
        present: The present one.
        sure: (h, w) uint8, 1 where a matte is sure of a person.
    """

    def __init__(self, past: U8Array, present: U8Array, sure: U8Array) -> None:
        change = np.abs(_change(past, present))
        noise = float(np.quantile(change[::3, ::3], 0.25)) / _QUARTILE
        self._is_moving = change > max(_LEAST_CHANGE, _NOISES * noise)
        inner = cv2.erode(sure, np.ones((_EDGE, _EDGE), np.uint8), borderType=cv2.BORDER_REPLICATE)
        self._inner = inner.astype(bool)
        elsewhere = cv2.dilate(sure, np.ones((_ELSEWHERE, _ELSEWHERE), np.uint8)) == 0
        self._least = max(_LEAST_MOVING, _TIMES_ELSEWHERE * _share(self._is_moving, elsewhere))

    def is_in(self, region: _Region) -> bool:
        """Whether enough has changed within a region."""
        return _share(self._is_moving[region.box], region.inside & self._inner[region.box]) >= self._least


def _change(past: U8Array, present: U8Array) -> F32Array:
    """By how much the logarithm of each pixel has changed, but for what changed the levels of the whole picture alike.

    Exposure and lamps turn levels into others; which ones is read from both histograms.
    """
    levels, steps = np.arange(256, dtype=np.float32), np.linspace(0, 1, _QUANTILES)
    were, are = (np.quantile(picture[::2, ::2], steps) for picture in (past, present))
    before = np.log(np.interp(levels, were, are) + _DARK).astype(np.float32)
    now = np.log(levels + np.float32(_DARK))
    return cv2.LUT(present, now) - cv2.LUT(past, before)


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
