from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.composite.fused import FusedCompositor
from livecomp.composite.kernels import compose_band
from livecomp.composite.reference import ReferenceCompositor
from livecomp.correction import Correction
from livecomp.errors import ContractError, MatteError
from livecomp.frame import Frame, freeze

SIZES = [(1, 1), (3, 5), (64, 33), (179, 321), (241, 640)]
OPTIONS = [
    {"light_wrap": wrap, "decontaminate": clean, "linear_light": linear}
    for wrap, clean, linear in itertools.product((0.0, 0.6), (False, True), (False, True))
] + [{"color_strength": 0.4, "shading_strength": 0.7}]


def random_picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return freeze(rng.integers(0, 256, (height, width, 3), np.uint8))


def soft_alpha(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """All kinds of alpha: flat 0, flat 255 and ramps between them."""
    noise = cv2.GaussianBlur(rng.random((height, width), np.float32), (0, 0), max(0.5, height / 30))
    spread = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    return np.clip(127 + 180 * spread, 0, 255).astype(np.uint8)


def random_correction(rng: np.random.Generator) -> Correction:
    return Correction(
        matrix=(np.eye(3) + rng.normal(0, 0.2, (3, 3))).astype(np.float32),
        curves=np.sort(rng.random((3, 32)), axis=1).astype(np.float32),
        log_gain=rng.uniform(-0.9, 0.9, (16, 16)).astype(np.float32),
    )


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_agrees_with_the_reference_within_one_level(size: tuple[int, int], options: dict[str, object]) -> None:
    rng = np.random.default_rng(sum(size))
    frame = Frame(random_picture(rng, *size), 0).with_alpha(soft_alpha(rng, *size))
    scene, correction = random_picture(rng, *size), random_correction(rng)
    fast = FusedCompositor(**options)  # type: ignore[arg-type]
    slow = ReferenceCompositor(**options)  # type: ignore[arg-type]
    assert difference(fast.compose(frame, scene, correction).rgb, slow.compose(frame, scene, correction).rgb) <= 1


@pytest.mark.parametrize("compositor", [FusedCompositor, ReferenceCompositor])
def test_identity_gives_the_frame_where_opaque_and_the_scene_where_empty(compositor: type) -> None:
    rng = np.random.default_rng(3)
    alpha = np.where(rng.random((90, 77)) > 0.5, 255, 0).astype(np.uint8)
    frame = Frame(random_picture(rng, 90, 77), 9).with_alpha(alpha)
    scene = random_picture(rng, 90, 77)
    shown = compositor(linear_light=True).compose(frame, scene, Correction.identity())
    assert shown.pts_ns == 9
    np.testing.assert_array_equal(shown.rgb, np.where(alpha[..., None] == 255, frame.rgb, scene))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_room_leaves_no_trace_where_nobody_stands(options: dict[str, object]) -> None:
    rng = np.random.default_rng(5)
    alpha = soft_alpha(rng, 180, 320)
    person, scene, correction = random_picture(rng, 180, 320), random_picture(rng, 180, 320), random_correction(rng)
    compositor = FusedCompositor(**options)  # type: ignore[arg-type]
    for room in ((255, 0, 255), (0, 255, 0)):
        rgb = freeze(np.where(alpha[..., None] == 0, np.uint8(room), person).astype(np.uint8))
        shown = compositor.compose(Frame(rgb, 0).with_alpha(alpha.copy()), scene, correction).rgb
        np.testing.assert_array_equal(shown[alpha == 0], scene[alpha == 0])


def test_decontamination_takes_the_room_out_of_the_edge() -> None:
    """A grey person before a magenta wall, blurred as by a lens: over a grey scene, no magenta rim may remain."""
    alpha = np.zeros((180, 320), np.uint8)
    cv2.circle(alpha, (160, 90), 60, 255, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 3)
    share = alpha[..., None] / 255
    rgb = freeze(np.round(share * 120 + (1 - share) * np.float32([255, 0, 255])).astype(np.uint8))
    scene = freeze(np.full((180, 320, 3), 120, np.uint8))
    frame = Frame(rgb, 0).with_alpha(alpha)

    def rim(decontaminate: bool) -> float:
        shown = FusedCompositor(decontaminate=decontaminate).compose(frame, scene, Correction.identity()).rgb
        return float(np.abs(shown.astype(int) - 120).max())

    assert rim(False) > 30  # a (1 - a) 135 at most
    assert rim(True) < 10


def test_light_wrap_brightens_the_edge_and_spares_the_middle() -> None:
    alpha = np.zeros((180, 320), np.uint8)
    cv2.circle(alpha, (160, 90), 70, 255, -1)
    frame = Frame(freeze(np.full((180, 320, 3), 40, np.uint8)), 0).with_alpha(alpha)
    scene = freeze(np.full((180, 320, 3), 240, np.uint8))
    shown = FusedCompositor(light_wrap=0.5).compose(frame, scene, Correction.identity()).rgb
    assert shown[90, 160].tolist() == [40, 40, 40]
    assert shown[90, 92].min() > 60


def test_threads_do_not_change_a_pixel_and_end_with_close() -> None:
    rng = np.random.default_rng(1)
    frame = Frame(random_picture(rng, 300, 200), 0).with_alpha(soft_alpha(rng, 300, 200))
    scene, correction = random_picture(rng, 300, 200), random_correction(rng)
    compositor = FusedCompositor(light_wrap=0.4, decontaminate=True, threads=3)
    alone = compositor.compose(frame, scene, correction).rgb
    compositor.open()
    together = compositor.compose(frame, scene, correction).rgb
    compositor.close()
    compositor.close()
    np.testing.assert_array_equal(alone, together)


def test_results_are_arrays_of_their_own() -> None:
    rng = np.random.default_rng(2)
    frame = Frame(random_picture(rng, 70, 50), 0).with_alpha(soft_alpha(rng, 70, 50))
    compositor = FusedCompositor()
    first = compositor.compose(frame, random_picture(rng, 70, 50), Correction.identity())
    kept = first.rgb.copy()
    compositor.compose(frame, random_picture(rng, 70, 50), Correction.identity())
    np.testing.assert_array_equal(first.rgb, kept)


@pytest.mark.parametrize("compositor", [FusedCompositor, ReferenceCompositor])
def test_no_matte_and_a_background_of_another_size_are_refused(compositor: type) -> None:
    rng = np.random.default_rng(4)
    frame = Frame(random_picture(rng, 8, 9), 0)
    with pytest.raises(MatteError):
        compositor().compose(frame, random_picture(rng, 8, 9), Correction.identity())
    with pytest.raises(ContractError, match=r"expected a background of \(8, 9, 3\)"):
        compositor().compose(
            frame.with_alpha(np.zeros((8, 9), np.uint8)), random_picture(rng, 9, 8), Correction.identity()
        )


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_an_absurd_matrix_saturates_instead_of_reading_beyond_the_tables(size: float) -> None:
    rng = np.random.default_rng(6)
    frame = Frame(random_picture(rng, 40, 50), 0).with_alpha(np.full((40, 50), 255, np.uint8))
    matrix = np.float32(size) * np.float32([[1, 1, -1], [1, 0, 0], [-1, -1, -1]])
    absurd = Correction(matrix, Correction.identity().curves, Correction.identity().log_gain)
    shown = FusedCompositor().compose(frame, random_picture(rng, 40, 50), absurd).rgb
    assert set(np.unique(shown)) <= {0, 255}
    np.testing.assert_array_equal(shown[..., 1] == 255, frame.rgb[..., 0] > 0)
    np.testing.assert_array_equal(shown[..., 2], 0)


def test_another_band_may_take_the_last_spare_arrays_at_any_moment() -> None:
    class Taken(list[object]):
        """Looks as if there were something in it."""

        def __bool__(self) -> bool:
            return True

        def __len__(self) -> int:
            return 1

    compositor, untouched = FusedCompositor(decontaminate=True), FusedCompositor(decontaminate=True)
    compositor._spare = Taken()  # type: ignore[assignment]
    rng = np.random.default_rng(5)
    frame = Frame(random_picture(rng, 70, 50), 0).with_alpha(soft_alpha(rng, 70, 50))
    scene = random_picture(rng, 70, 50)
    got = compositor.compose(frame, scene, Correction.identity()).rgb
    np.testing.assert_array_equal(got, untouched.compose(frame, scene, Correction.identity()).rgb)


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_compiled_after_open(threads: int) -> None:
    """Strides, flags, strengths and options may differ from picture to picture; a second compilation takes seconds."""
    rng = np.random.default_rng(8)
    wide = random_picture(rng, 60, 100)
    frame = Frame(freeze(wide[:, ::2]), 0).with_alpha(soft_alpha(rng, 60, 100)[:, 50:])
    writable = np.array(wide[::-1, 50:])
    compositor = FusedCompositor(threads=threads)
    compositor.open()
    known = len(compose_band.signatures)
    for options in OPTIONS:
        FusedCompositor(**options).compose(frame, writable[::-1], random_correction(rng))  # type: ignore[arg-type]
        FusedCompositor(**options).compose(frame, wide[:, 50:], Correction.identity(nodes=7, gain_size=3))  # type: ignore[arg-type]
    compositor.close()
    assert len(compose_band.signatures) == known == 1
    assert writable.flags.writeable


def test_the_light_of_a_scene_is_that_of_this_scene() -> None:
    """What is kept of a background must not light the person in front of another, or of one that has changed."""
    rng = np.random.default_rng(8)
    frame = Frame(random_picture(rng, 90, 160), 0).with_alpha(soft_alpha(rng, 90, 160))
    dark, bright = (freeze(np.full((90, 160, 3), level, np.uint8)) for level in (5, 250))
    moving = np.full((90, 160, 3), 5, np.uint8)
    kept, fresh = FusedCompositor(light_wrap=1.0), []
    for scene in (dark, bright):
        for _ in range(2):
            shown = kept.compose(frame, scene, Correction.identity()).rgb
        fresh.append(FusedCompositor(light_wrap=1.0).compose(frame, scene.copy(), Correction.identity()).rgb)
        np.testing.assert_array_equal(shown, fresh[-1])
    for level, expected in zip((5, 250), fresh, strict=True):
        moving[:] = level
        np.testing.assert_array_equal(kept.compose(frame, moving, Correction.identity()).rgb, expected)


@pytest.mark.parametrize("nodes", [2, 7, 32, 33, 100])
def test_curves_of_any_length_agree_with_the_reference(nodes: int) -> None:
    rng = np.random.default_rng(nodes)
    frame = Frame(random_picture(rng, 50, 77), 0).with_alpha(soft_alpha(rng, 50, 77))
    scene, like = random_picture(rng, 50, 77), random_correction(rng)
    curves = np.sort(rng.uniform(-0.1, 1.1, (3, nodes)), axis=1).astype(np.float32)
    correction = Correction(like.matrix, curves, like.log_gain)
    shown = [
        compositor(decontaminate=True).compose(frame, scene, correction).rgb
        for compositor in (FusedCompositor, ReferenceCompositor)
    ]
    assert difference(*shown) <= 1


@pytest.mark.parametrize("instructions", ["+avx2,+fma,+avx", ""])
def test_other_processors_show_the_same(instructions: str, tmp_path: Path) -> None:
    """Compiled for less than this processor has: another way to look up curves, and smaller vectors."""
    script = (
        "import sys, numpy as np\n"
        "from tests.livecomp.composite.test_fused import *\n"
        "rng = np.random.default_rng(1)\n"
        "frame = Frame(random_picture(rng, 70, 99), 0).with_alpha(soft_alpha(rng, 70, 99))\n"
        "scene, correction = random_picture(rng, 70, 99), random_correction(rng)\n"
        "options = {'light_wrap': 0.5, 'decontaminate': True}\n"
        "both = FusedCompositor, ReferenceCompositor\n"
        "shown = [one(**options).compose(frame, scene, correction).rgb for one in both]\n"
        "sys.exit(0 if difference(*shown) <= 1 else 'they differ')\n"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": instructions}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["MainThread", "livecomp-compositor"])
def test_a_band_that_fails_is_told_and_the_next_frame_is_whole(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    frame = Frame(random_picture(rng, 200, 99), 0).with_alpha(soft_alpha(rng, 200, 99))
    scene, correction = random_picture(rng, 200, 99), random_correction(rng)
    compositor = FusedCompositor(threads=2)
    compositor.open()
    try:
        expected = compositor.compose(frame, scene, correction).rgb

        def failing(*arguments: object) -> None:
            if threading.current_thread().name == where:
                raise MemoryError("injected")
            compose_band(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr("livecomp.composite.fused.compose_band", failing)
            with pytest.raises(MemoryError, match="injected"):
                compositor.compose(frame, scene, correction)
        np.testing.assert_array_equal(compositor.compose(frame, scene, correction).rgb, expected)
    finally:
        compositor.close()
