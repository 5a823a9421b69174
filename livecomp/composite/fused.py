"""The compositor that runs: the compiled loops of `surround` and `kernels`, in bands of rows on a few threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from livecomp.color import encoded_from_linear, linear_from_encoded
from livecomp.composite.curves import NODES_AT_ONCE
from livecomp.composite.edges import (
    LEAST_WRAP,
    OF_PERSON,
    OF_ROOM,
    SIDE_REACH,
    WEIGHT_TOP,
    WRAP_REACH,
    box_side,
    scene_light,
    small_size,
    taken_pixels,
)
from livecomp.composite.kernels import compose_band
from livecomp.composite.lanes import BLOCK
from livecomp.composite.planes import ENCODE_STEPS
from livecomp.composite.reference import check_background
from livecomp.composite.surround import SIDES, measure_band
from livecomp.correction import Correction, F32Array
from livecomp.frame import Composite, Frame, U8Array, flat, freeze

__all__ = ["FusedCompositor"]

_LINEAR = linear_from_encoded(np.arange(256, dtype=np.float32) / np.float32(255))
_ENCODE = encoded_from_linear(np.linspace(0, 1, ENCODE_STEPS, dtype=np.float32) ** 2) * np.float32(255)
_WEIGHTS = np.round(np.concatenate([OF_PERSON, OF_ROOM]) * WEIGHT_TOP).astype(np.uint32)
_NO_LIGHT = np.zeros(4, np.float32)
_ROWS_WORTH_A_THREAD = 64
_SAMPLES = 48
_PER_PIXEL, _PER_PERSON, _PER_MIXED = 1, 4, 10
"""What a pixel takes, and what it takes more where the person is and at the edge: to share rows out fairly."""
_MOST_MATRIX = np.float32(1e4)
"""Beyond it, sums could overflow to values for which the compiled loop has no index."""


@dataclass(frozen=True, slots=True)
class _Scratch:
    """What one band writes down on its way; see `measure_band`."""

    size_wh: tuple[int, int]
    spans: NDArray[np.int32]
    kinds: U8Array
    sides: NDArray[np.uint32]
    around: F32Array
    work: NDArray[np.uint32]

    @classmethod
    def of(cls, size_wh: tuple[int, int]) -> _Scratch:
        width, height = small_size(size_wh)
        nodes = width * height
        return cls(
            size_wh,
            np.empty(2 * size_wh[1], np.int32),
            np.empty(size_wh[1] * -(-size_wh[0] // BLOCK), np.uint8),
            np.empty(nodes * SIDES, np.uint32),
            np.empty(nodes * 4, np.float32),
            np.empty((nodes + 2 * width) * SIDES, np.uint32),
        )


class FusedCompositor:
    """Agrees with `ReferenceCompositor` within one 8-bit level; what the steps do is written there.

    Args:
        color_strength: How much of matrix and curves is applied, 0..1.
        shading_strength: How much of the log-gain is applied, 0..1.
        light_wrap: How much of the scene's light bleeds over the person's edge, 0..1.
        decontaminate: Take the room's colour out of mixed pixels.
        linear_light: Blend in linear light instead of on encoded values.
        threads: Bands of rows composed at the same time.
    """

    def __init__(
        self,
        *,
        color_strength: float = 1.0,
        shading_strength: float = 1.0,
        light_wrap: float = 0.0,
        decontaminate: bool = False,
        linear_light: bool = False,
        threads: int = 2,
    ) -> None:
        self._color_strength = color_strength
        self._shading_strength = shading_strength
        self._light_wrap = np.float32(light_wrap)
        self._decontaminate = decontaminate
        self._linear_light = linear_light
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._spare: list[_Scratch] = []

    def open(self) -> None:
        """See `Compositor.open`: start the threads and compile the loop, seconds the first time on a machine."""
        if self._pool is None and self._threads > 1:
            self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="livecomp-compositor")
        pixel = freeze(np.full((1, 1, 3), 128, np.uint8))
        frame = Frame(pixel, 0).with_alpha(np.full((1, 1), 128, np.uint8))
        self.compose(frame, pixel, Correction.identity())

    def compose(self, frame: Frame, background: U8Array, correction: Correction) -> Composite:
        """See `Compositor.compose`; the picture is a new array. Uses one thread unless open."""
        alpha = frame.require_alpha()
        check_background(frame, background)
        height, width = alpha.shape
        weakened = correction.with_strength(self._color_strength, self._shading_strength)
        small_wh = small_size((width, height))
        wrapped = bool(self._light_wrap > 0)
        sides_side, wrap_side = (box_side(reach, small_wh[0]) for reach in (SIDE_REACH, WRAP_REACH))
        out = np.empty(frame.rgb.shape, np.uint8)
        pictures = (flat(frame.rgb), flat(alpha), flat(background), out.reshape(-1))
        measured = (
            taken_pixels(width, small_wh[0]),
            taken_pixels(height, small_wh[1]),
            _WEIGHTS,
            sides_side // 2 if self._decontaminate else 0,
            wrap_side // 2 if wrapped else 0,
        )
        nodes = weakened.curves.shape[1]
        corrected = (
            _changes_colors(weakened),
            (np.clip(weakened.matrix, -_MOST_MATRIX, _MOST_MATRIX) * np.float32((nodes - 1) / 255)).reshape(-1),
            _tables(weakened.curves),
            nodes,
            np.array(weakened.log_gain, order="C"),
            bool(weakened.log_gain.any()),
            small_wh,
        )
        blended = (
            scene_light(background, small_wh).reshape(-1) if wrapped else _NO_LIGHT,
            self._light_wrap,
            _LINEAR,
            _ENCODE,
            self._linear_light,
        )
        per_side = np.float32(1 / (WEIGHT_TOP * sides_side**4))

        def band(top: int, bottom: int) -> None:
            scratch = self._take((width, height))
            sides, around = scratch.sides, scratch.around
            rows = (width, height, top, bottom, scratch.spans, scratch.kinds)
            measure_band(*pictures[:2], *rows, *measured, sides, around, np.float32(LEAST_WRAP), scratch.work)
            compose_band(*pictures, *rows, *corrected, sides, per_side, self._decontaminate, around, *blended)
            self._spare.append(scratch)

        edges = _shares(alpha, 1 if self._pool is None else min(self._threads, height // _ROWS_WORTH_A_THREAD))
        others = [self._pool.submit(band, *rows) for rows in pairwise(edges[1:])] if self._pool is not None else []
        band(edges[0], edges[1])
        for other in others:
            other.result()
        return Composite(freeze(out), frame.pts_ns)

    def close(self) -> None:
        """See `Compositor.close`."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None
        self._spare.clear()

    def _take(self, size_wh: tuple[int, int]) -> _Scratch:
        """Arrays that no other band has: of the frame before, if it had this size."""
        while True:
            try:  # asked first, another band's thread may take the last one in between
                scratch = self._spare.pop()
            except IndexError:
                return _Scratch.of(size_wh)
            if scratch.size_wh == size_wh:
                return scratch


def _shares(alpha: U8Array, count: int) -> list[int]:
    """Rows where `count` bands begin, and where the last ends, such that each has about the same work."""
    height = alpha.shape[0]
    if count < 2:
        return [0, height]
    down, across = (max(1, length // _SAMPLES) for length in alpha.shape)
    sampled = alpha[::down, ::across]
    people, mixed = sampled > 0, sampled - np.uint8(1) < np.uint8(254)
    work = np.cumsum((_PER_PIXEL + _PER_PERSON * people + _PER_MIXED * mixed).sum(axis=1))
    inner = np.searchsorted(work, work[-1] * np.arange(1, count) / count) * down
    return [0, *(int(row) for row in inner), height]


def _changes_colors(correction: Correction) -> bool:
    """Whether matrix and curves differ from identity."""
    straight = np.linspace(0, 1, correction.curves.shape[1], dtype=np.float32)
    return not (np.array_equal(correction.matrix, np.eye(3)) and bool((correction.curves == straight).all()))


def _tables(curves: F32Array) -> F32Array:
    """See `compose_band`: (6 * N,) float32."""
    nodes = curves.shape[1]
    tables = np.zeros((3, 2, -(-nodes // NODES_AT_ONCE) * NODES_AT_ONCE), np.float32)
    tables[:, 0, :nodes] = np.clip(curves, 0, 1) * np.float32(255)
    tables[:, 1, : nodes - 1] = np.diff(tables[:, 0, :nodes], axis=1)
    return tables.reshape(-1)
