"""The compositor that runs: the compiled loops of `surround` and `kernels`, in bands of rows on a few threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from threading import Thread

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
from livecomp.composite.prepare import prepare_curves, share_rows
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


_Outcome = SimpleQueue[BaseException | None]
"""Where a band says that it is done, with what it raised."""


class _Helper:
    """A thread that runs what it is given, in less time than a pool of threads takes to hand it over."""

    def __init__(self) -> None:
        self._given: SimpleQueue[tuple[Callable[[], None], _Outcome] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="livecomp-compositor", daemon=True)
        self._thread.start()

    def start(self, work: Callable[[], None], outcome: _Outcome) -> None:
        """Run `work`, and put what it raised, or None, into `outcome`."""
        self._given.put((work, outcome))

    def close(self) -> None:
        """End the thread."""
        self._given.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            work, outcome = given
            error: BaseException | None = None
            try:
                work()
            except BaseException as raised:  # by whoever waits, again
                error = raised
            outcome.put(error)
            del given, work, outcome, error  # no frame is kept until the next one


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
        self._helpers: list[_Helper] = []
        self._spare: list[_Scratch] = []

    def open(self) -> None:
        """See `Compositor.open`: start the threads and compile the loop, seconds the first time on a machine."""
        while len(self._helpers) < self._threads - 1:
            self._helpers.append(_Helper())
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
        parts, nodes = (weakened.matrix, weakened.curves, weakened.log_gain), weakened.curves.shape[1]
        numbers = np.concatenate([part.reshape(-1) for part in parts])
        matrix, tables = np.empty(9, np.float32), np.empty(6 * NODES_AT_ONCE * -(-nodes // NODES_AT_ONCE), np.float32)
        colored, shaded = prepare_curves(numbers, nodes, matrix, tables)
        log_gain = numbers[9 + 3 * nodes :].reshape(weakened.log_gain.shape)
        corrected = (colored, matrix, tables, nodes, log_gain, shaded, small_wh)
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
            where = (width, height, top, bottom, scratch.spans, scratch.kinds)
            measure_band(*pictures[:2], *where, *measured, sides, around, np.float32(LEAST_WRAP), scratch.work)
            compose_band(*pictures, *where, *corrected, sides, per_side, self._decontaminate, around, *blended)
            self._spare.append(scratch)

        edges = np.empty(1 + max(1, min(1 + len(self._helpers), height // _ROWS_WORTH_A_THREAD)), np.int64)
        share_rows(pictures[1], width, height, edges)
        own, *others = pairwise(edges.tolist())
        outcome: _Outcome = SimpleQueue()
        for helper, rows in zip(self._helpers, others, strict=False):
            helper.start(partial(band, *rows), outcome)
        try:
            band(*own)
        finally:
            failures = [outcome.get() for _ in others]
        for failure in failures:
            if failure is not None:
                raise failure
        return Composite(freeze(out), frame.pts_ns)

    def close(self) -> None:
        """See `Compositor.close`."""
        for helper in self._helpers:
            helper.close()
        self._helpers.clear()
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
