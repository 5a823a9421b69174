from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from livecomp.composite import fused
from livecomp.composite.edges import (
    LEAST_WRAP,
    SIDE_REACH,
    WEIGHT_TOP,
    WRAP_REACH,
    box_side,
    measure_edges,
    small_size,
    taken_pixels,
)
from livecomp.composite.fused import FusedCompositor
from livecomp.composite.lanes import BLOCK
from livecomp.composite.reference import ReferenceCompositor
from livecomp.composite.surround import SIDES, measure_band
from livecomp.correction import Correction
from livecomp.frame import Frame, U8Array, freeze


def person(height: int, width: int) -> U8Array:
    """A soft-edged person of a third of the width who stands on the lower border, a little left of the middle."""
    alpha = np.zeros((height, width), np.uint8)
    cv2.ellipse(alpha, (width * 2 // 5, height), (width // 6, height * 2 // 3), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), height / 60), np.uint8)


def measured(rgb: U8Array, alpha: U8Array, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spans (H, 2), sides (h, w, 8) as shares, around (h, w); what was not written is NaN."""
    height, width = alpha.shape
    w, h = small_size((width, height))
    spans, kinds = np.full(2 * height, -1, np.int32), np.full(height * -(-width // BLOCK), 9, np.uint8)
    sides, around = np.full(h * w * SIDES, 2**32 - 1, np.uint32), np.full(h * w * 4, np.nan, np.float32)
    reaches = [box_side(reach, w) // 2 for reach in (SIDE_REACH, WRAP_REACH)]
    measure_band(
        freeze(rgb.reshape(-1)),
        freeze(alpha.reshape(-1)),
        width,
        height,
        top,
        bottom,
        spans,
        kinds,
        taken_pixels(width, w),
        taken_pixels(height, h),
        fused._WEIGHTS,
        *reaches,
        sides,
        around,
        np.float32(LEAST_WRAP),
        np.full((h * w + 2 * w) * SIDES, 2**32 - 1, np.uint32),
    )
    shares = sides.astype(np.float64) / (WEIGHT_TOP * (2 * reaches[0] + 1) ** 4)
    shares[sides == 2**32 - 1] = np.nan
    return spans.reshape(-1, 2), shares.reshape(h, w, SIDES), around.reshape(h, w, 4)[..., 3]


@pytest.mark.parametrize("size", [(360, 640), (719, 1283), (90, 160), (33, 40)], ids=str)
def test_the_maps_are_those_of_the_reference_where_the_person_is(size: tuple[int, int]) -> None:
    rgb, alpha = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8), person(*size)
    maps = measure_edges(rgb, alpha, freeze(rgb.copy()), decontaminate=True, light_wrap=True)
    _, sides, around = measured(rgb, alpha, 0, size[0])
    inside = np.isfinite(around)
    # nobody stands on the right: nothing was measured there, and all of it where the person is
    assert inside.any()
    assert not inside[:, int(0.6 * inside.shape[1]) + BLOCK :].any()
    rows, columns = (taken_pixels(size[axis], inside.shape[axis]) for axis in (0, 1))
    assert inside[alpha[np.ix_(rows, columns)] > 0].all()
    expected = np.concatenate([maps.person, maps.room], axis=-1)
    assert np.abs(sides - expected)[inside][..., [3, 7]].max() < 1e-5
    assert np.abs(sides - expected)[inside].max() < 255 * 1e-5
    assert np.abs(around - maps.wrap[..., 3])[inside].max() < 1e-5
    # whole numbers have no rounding: inside the person is exactly nothing
    assert (around[inside] == 0).any()


def test_a_band_sees_what_the_whole_picture_sees() -> None:
    rgb, alpha = np.random.default_rng(2).integers(0, 256, (360, 640, 3), np.uint8), person(360, 640)
    spans, sides, around = measured(rgb, alpha, 0, 360)
    for top, bottom in ((0, 123), (123, 250), (250, 360)):
        part_spans, part_sides, part_around = measured(rgb, alpha, top, bottom)
        np.testing.assert_array_equal(part_spans[top:bottom], spans[top:bottom])
        there = np.isfinite(part_around)
        assert there.any()
        np.testing.assert_array_equal(part_around[there], around[there])
        np.testing.assert_array_equal(part_sides[there], sides[there])


def test_spans_hold_every_pixel_of_the_person_in_whole_blocks() -> None:
    rng = np.random.default_rng(3)
    alpha = np.zeros((200, 333), np.uint8)
    for y in range(1, 200):
        begin, end = sorted(rng.integers(0, 334, 2))
        alpha[y, begin:end] = 1
    spans, _, _ = measured(np.zeros((200, 333, 3), np.uint8), alpha, 0, 200)
    for y, (begin, end) in enumerate(spans):
        there = np.flatnonzero(alpha[y])
        if there.size:
            assert begin % BLOCK == 0
            assert there[0] - BLOCK < begin <= there[0]
            assert there[-1] < end <= min(333, there[-1] + BLOCK)
        else:
            assert begin == end


def test_what_lies_in_the_scratch_arrays_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of frames before are used again: whatever they hold, not-a-number even, it may not reach the picture."""
    made: list[fused._Scratch] = []
    of = fused._Scratch.of

    def poisoned(size_wh: tuple[int, int]) -> fused._Scratch:
        scratch = of(size_wh)
        for array in (scratch.spans, scratch.kinds, scratch.sides, scratch.around, scratch.work):
            array.view(np.uint8)[:] = 0xFF  # as a float32: not a number
        made.append(scratch)
        return scratch

    monkeypatch.setattr(fused._Scratch, "of", poisoned)
    rng = np.random.default_rng(4)
    for size in ((360, 640), (181, 333), (361, 640)):
        alpha = person(*size)
        rgb, scene = (freeze(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(2))
        frame = Frame(rgb, 0).with_alpha(alpha)
        options = {"light_wrap": 0.7, "decontaminate": True}
        fast = FusedCompositor(**options).compose(frame, scene, Correction.identity()).rgb  # type: ignore[arg-type]
        slow = ReferenceCompositor(**options).compose(frame, scene, Correction.identity()).rgb  # type: ignore[arg-type]
        assert int(np.abs(fast.astype(int) - slow.astype(int)).max()) <= 1
    assert len(made) == 3


def test_lone_wisps_that_the_maps_miss_agree_with_the_reference() -> None:
    """Single pixels between those that the maps take, far from anyone, in corners and at the borders."""
    rng = np.random.default_rng(5)
    size = (720, 1280)
    alpha = np.zeros(size, np.uint8)
    alpha[rng.integers(0, 720, 300), rng.integers(0, 1280, 300)] = rng.integers(1, 256, 300)
    alpha[[0, 0, -1, -1], [0, -1, 0, -1]] = (255, 9, 128, 254)
    rgb, scene = (freeze(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(2))
    frame = Frame(rgb, 0).with_alpha(alpha)
    fast, slow = (
        compositor(light_wrap=1.0, decontaminate=True).compose(frame, scene, Correction.identity()).rgb.astype(int)
        for compositor in (FusedCompositor, ReferenceCompositor)
    )
    assert np.abs(fast - slow).max() <= 1
    np.testing.assert_array_equal(fast[alpha == 0], scene[alpha == 0])


def test_one_compositor_serves_callers_at_the_same_time() -> None:
    rng = np.random.default_rng(6)
    compositor = FusedCompositor(light_wrap=0.5, decontaminate=True)
    jobs = []
    for size in ((200, 320), (200, 320), (150, 320), (240, 427)):
        rgb, scene = (freeze(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(2))
        frame = Frame(rgb, 0).with_alpha(person(*size))
        jobs.append((frame, scene, compositor.compose(frame, scene, Correction.identity()).rgb))
    with ThreadPoolExecutor(4) as pool:
        shown = [
            (pool.submit(compositor.compose, frame, scene, Correction.identity()), expected)
            for _ in range(5)
            for frame, scene, expected in jobs
        ]
        for future, expected in shown:
            np.testing.assert_array_equal(future.result().rgb, expected)
