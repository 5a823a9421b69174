"""The compositor that runs: the compiled loop of `kernels`, in bands of rows on a few threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from livecomp.color import encoded_from_linear, linear_from_encoded
from livecomp.composite.edges import measure_edges
from livecomp.composite.kernels import ENCODE_STEPS, LUT_STEPS, compose_band
from livecomp.composite.reference import check_background
from livecomp.correction import Correction, F32Array
from livecomp.frame import Composite, Frame, U8Array, freeze

__all__ = ["FusedCompositor"]

_LINEAR = linear_from_encoded(np.arange(256, dtype=np.float32) / np.float32(255))
_ENCODE = encoded_from_linear(np.linspace(0, 1, ENCODE_STEPS, dtype=np.float32) ** 2) * np.float32(255)
_NO_TABLES = np.zeros((3, LUT_STEPS), np.float32)
_ROWS_WORTH_A_THREAD = 64
_MOST_MATRIX = np.float32(1e4)
"""Beyond it, sums could overflow to values for which the compiled loop has no index."""


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
        weakened = correction.with_strength(self._color_strength, self._shading_strength)
        maps = measure_edges(
            frame.rgb, alpha, background, decontaminate=self._decontaminate, light_wrap=bool(self._light_wrap > 0)
        )
        out = np.empty(frame.rgb.shape, np.uint8)
        colored = _changes_colors(weakened)
        shared = (
            colored,
            np.clip(weakened.matrix, -_MOST_MATRIX, _MOST_MATRIX) * np.float32((LUT_STEPS - 1) / 255),
            _tables(weakened.curves) if colored else _NO_TABLES,
            weakened.log_gain,
            bool(weakened.log_gain.any()),
            maps.person,
            maps.room,
            self._decontaminate,
            maps.wrap,
            self._light_wrap,
            _LINEAR,
            _ENCODE,
            self._linear_light,
        )

        height = alpha.shape[0]
        pictures = (
            _rows(frame.rgb),
            _rows(alpha),
            _rows(background),
            out.reshape(height, -1),
        )

        def band(top: int, bottom: int) -> None:
            compose_band(*pictures, top, bottom, *shared)

        count = 1 if self._pool is None else max(1, min(self._threads, height // _ROWS_WORTH_A_THREAD))
        edges = [height * index // count for index in range(count + 1)]
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


def _rows(picture: U8Array) -> U8Array:
    """(H, W * C), contiguous and read-only: one type for the compiler, whatever the strides and flags were."""
    return freeze(np.ascontiguousarray(picture).reshape(picture.shape[0], -1).view())


def _changes_colors(correction: Correction) -> bool:
    """Whether matrix and curves differ from identity."""
    straight = np.linspace(0, 1, correction.curves.shape[1], dtype=np.float32)
    return not (np.array_equal(correction.matrix, np.eye(3)) and bool((correction.curves == straight).all()))


def _tables(curves: F32Array) -> F32Array:
    """Each curve as a table over its domain: (3, LUT_STEPS) float32, 0..255."""
    nodes = np.linspace(0, 1, curves.shape[1])
    steps = np.linspace(0, 1, LUT_STEPS)
    tables = [np.interp(steps, nodes, np.clip(curve, 0, 1)) for curve in curves]
    return np.asarray(tables, np.float32) * np.float32(255)
