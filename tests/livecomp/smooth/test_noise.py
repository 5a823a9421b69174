from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from livecomp.config import Config
from livecomp.correction import Correction
from livecomp.frame import Frame, U8Array, freeze
from livecomp.smooth.noise import NoiseFilter

FRAME_NS = 33_333_333
SIZE_WH = (150, 90)


def scaled(gain: float, of_shading: bool = False) -> Correction:
    """Makes everything brighter, noise included."""
    neutral = Correction.identity()
    if of_shading:
        return Correction(neutral.matrix, neutral.curves, np.full_like(neutral.log_gain, math.log(gain)))
    return Correction(np.float32(gain) * neutral.matrix, neutral.curves, neutral.log_gain)


BRIGHTER = scaled(1.3)


def everyone(size_wh: tuple[int, int] = SIZE_WH) -> U8Array:
    return freeze(np.full(size_wh[::-1], 255, np.uint8))


def frame(picture: np.ndarray, index: int) -> Frame:
    return Frame(freeze(np.ascontiguousarray(picture, np.uint8)), index * FRAME_NS)


def noisy(sigma: float, count: int, mean: float = 90.0, size_wh: tuple[int, int] = SIZE_WH) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(4)
    for _ in range(count):
        yield np.clip(np.round(rng.normal(mean, sigma, (*size_wh[::-1], 3))), 0, 255).astype(np.uint8)


def run(
    pictures: Iterable[np.ndarray],
    correction: Correction = BRIGHTER,
    noise: NoiseFilter | None = None,
    alpha: U8Array | None = None,
) -> list[U8Array]:
    noise = noise or NoiseFilter()
    shown = []
    for index, picture in enumerate(pictures):
        shown.append(noise.update(frame(picture, index)).rgb)
        size_wh = picture.shape[1], picture.shape[0]
        noise.learn(everyone(size_wh) if alpha is None else alpha, correction)
    return shown


def still_noise(shown: list[U8Array]) -> float:
    """Standard deviation over time of the later half, rounding left out."""
    later = np.stack(shown[len(shown) // 2 :]).astype(np.float64)
    return float(np.sqrt(later.var(axis=0, ddof=1).mean()))


@pytest.mark.parametrize("size_wh", [SIZE_WH, (37, 23), (64, 1), (21, 65)])
def test_static_noise_falls_as_predicted(size_wh: tuple[int, int]) -> None:
    """Tails of the noise count as motion, and what comes out is rounded to levels: that is a tenth more."""
    count = 150 if size_wh == SIZE_WH else 1500
    pictures = list(noisy(3.0, count, size_wh=size_wh))
    before, after = still_noise([freeze(p) for p in pictures]), still_noise(run(pictures))
    assert 1.0 < after / before / math.sqrt((1 - 0.6) / (1 + 0.6)) < 1.25


@pytest.mark.parametrize(("sigma", "left"), [(1.0, 0.65), (2.0, 0.6), (4.0, 0.6), (5.0, 0.65), (6.0, 0.73)])
def test_noise_of_any_camera_is_halved_or_nearly_so(sigma: float, left: float) -> None:
    pictures = list(noisy(sigma, 250))
    assert still_noise(run(pictures)) < left * still_noise([freeze(p) for p in pictures])


def test_nothing_is_biased() -> None:
    """Rounded always up or down, a mean of many would drift away by half a level."""
    pictures = list(noisy(2.0, 60, mean=90.4))
    shown = run(pictures)
    assert np.mean(shown[20:]) == pytest.approx(np.mean(pictures[20:]), abs=0.02)


@pytest.mark.parametrize("step", [-3, -1, 1, 3])
def test_a_still_picture_is_reached_exactly(step: int) -> None:
    """A filter that rounds to the nearest stops a level before."""
    before, after = np.full((40, 50, 3), 90), np.full((40, 50, 3), 90 + step)
    shown = run([*[before] * 5, *[after] * 20])
    assert (shown[5] != after).any()
    assert (shown[-1] == after).all()


def test_motion_passes_unblurred() -> None:
    """A bar that differs by more than the noise, on every frame elsewhere: not one value of it is touched."""

    def moved(index: int) -> np.ndarray:
        picture = np.full((*SIZE_WH[::-1], 3), 60, np.uint8)
        picture[:, 7 * index : 7 * index + 20] = 75
        return picture

    pictures = [moved(index) for index in range(15)]
    for picture, shown in zip(pictures, run(pictures), strict=True):
        np.testing.assert_array_equal(picture, shown)


@pytest.mark.parametrize(("contrast", "kept"), [(4, 0.8), (8, 0.97)])
def test_a_texture_that_moves_is_not_smeared_though_it_is_as_weak_as_noise(contrast: float, kept: float) -> None:
    """Its values differ from picture to picture by as much as noise, but all of them do; else 0.67 and 0.9 are kept."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (60, 400, 3)), (0, 0), 1.2)
    texture *= contrast / texture.std()
    moved = [texture[:, 3 * index : 3 * index + 200] for index in range(40)]
    shown = run(90 + one + rng.normal(0, 1, one.shape) for one in moved)
    pairs = list(zip(shown, moved, strict=True))[20:]
    amplitude = [float(np.mean((got - 90.0) * one) / np.mean(one * one)) for got, one in pairs]
    assert np.mean(amplitude) > kept


def test_a_step_of_light_passes_at_once() -> None:
    pictures = [np.full((30, 40, 3), level, np.uint8) for level in [60] * 5 + [80] * 3]
    assert (run(pictures)[5] == 80).all()


@pytest.mark.parametrize("strength", [0.3, 0.6, 0.9])
def test_no_value_is_ever_far_from_the_cameras_own(strength: float) -> None:
    """Whatever came before: an earlier picture can never be seen. Every pair of values occurs."""
    noise = NoiseFilter(strength)
    rng = np.random.default_rng(1)
    loud = list(noisy(9.0, 200))
    shown = run(loud, noise=noise)
    assert noise._noise > 5.5
    for index in range(200, 210):
        picture = rng.integers(0, 256, (*SIZE_WH[::-1], 3)).astype(np.uint8)
        near = np.clip(picture.astype(np.int32) + rng.integers(-20, 21, picture.shape), 0, 255)
        for wanted in (picture, near):
            got = noise.update(frame(wanted, 2 * index + int(wanted is near))).rgb
            assert np.abs(got.astype(np.int32) - wanted).max() <= noise.farthest
            noise._weight = strength
    differences = [np.abs(a.astype(np.int32) - b) for a, b in zip(shown, loud, strict=True)]
    assert max(int(difference.max()) for difference in differences) <= noise.farthest
    assert NoiseFilter().farthest == 6


def test_where_nothing_becomes_stronger_the_very_frames_pass() -> None:
    noise = NoiseFilter()
    for correction in (Correction.identity(), scaled(0.999), scaled(0.7), scaled(0.9, of_shading=True)):
        noise.reset()
        for index, picture in enumerate(noisy(3.0, 5)):
            given = frame(picture, index)
            assert noise.update(given) is given
            noise.learn(everyone(), correction)
            assert not noise.is_active
            assert noise._past is None


@pytest.mark.parametrize(
    ("correction", "strengths", "active"),
    [
        (scaled(1.3), {}, True),
        (scaled(1.3, of_shading=True), {}, True),
        (scaled(1.3), {"color_strength": 0.0}, False),
        (scaled(1.3), {"shading_strength": 0.0}, True),
        (scaled(1.3, of_shading=True), {"shading_strength": 0.0}, False),
    ],
)
def test_what_the_compositor_applies_decides(correction: Correction, strengths: dict[str, float], active: bool) -> None:
    noise = NoiseFilter(**strengths)
    run(noisy(2.0, 3), correction, noise)
    assert noise.is_active == active


def test_the_weight_grows_with_what_the_correction_does() -> None:
    weights = []
    for gain in (0.99, 1.0033, 1.0067, 1.01, 2.0):
        noise = NoiseFilter()
        run(noisy(2.0, 2), scaled(gain), noise)
        weights.append(noise._weight)
    assert weights == pytest.approx([0, 0.2, 0.4, 0.6, 0.6], abs=0.02)


def test_a_curve_counts_where_the_persons_tones_are() -> None:
    neutral = Correction.identity()
    nodes = np.linspace(0, 1, 32, dtype=np.float32)
    lifted = np.where(nodes < 0.3, 2 * nodes, 0.6 + (nodes - 0.3) * 4 / 7).astype(np.float32)
    correction = Correction(neutral.matrix, np.tile(lifted, (3, 1)), neutral.log_gain)
    for level, active in ((40, True), (180, False)):
        noise = NoiseFilter()
        run([np.full((30, 40, 3), level, np.uint8)] * 2, correction, noise)
        assert noise.is_active == active


def test_pixels_far_from_the_person_are_the_cameras() -> None:
    alpha = np.zeros(SIZE_WH[::-1], np.uint8)
    alpha[50:, 60:90] = 255
    pictures = list(noisy(2.0, 6))
    shown = run(pictures, alpha=freeze(alpha))[-1]
    touched = shown != pictures[-1]
    assert touched[50:, 60:90].mean() > 0.3
    assert not touched[:40].any()
    # what is worked on at a time is 64 values long, 21 pixels
    assert not touched[:, :30].any()
    assert not touched[:, 120:].any()


def test_only_the_person_counts() -> None:
    """A room that swings wildly, and would be brightened, beside a person who rests and is not."""
    alpha = np.zeros((60, 80), np.uint8)
    alpha[:, 40:] = 255
    gain = np.full((16, 16), math.log(1.6), np.float32)
    gain[:, 8:] = 0
    neutral = Correction.identity()
    noise, rng = NoiseFilter(), np.random.default_rng(0)

    def picture() -> np.ndarray:
        drawn = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        drawn[:, 40:] = 90
        return drawn

    run([picture() for _ in range(60)], Correction(neutral.matrix, neutral.curves, gain), noise, freeze(alpha))
    assert not noise.is_active
    assert noise._noise == 2.0


def test_the_noise_is_measured() -> None:
    for sigma, found in ((1.0, 2.0), (3.0, 3.0), (5.0, 5.0), (12.0, 6.0)):
        noise = NoiseFilter()
        run(noisy(sigma, 600, size_wh=(100, 60)), noise=noise)
        assert noise._noise == pytest.approx(found, abs=0.15)


def test_somebody_who_moves_for_a_moment_is_no_noise() -> None:
    noise, rng = NoiseFilter(), np.random.default_rng(0)
    calm = list(noisy(1.0, 60))
    wild = [rng.integers(60, 120, calm[0].shape).astype(np.uint8) for _ in range(15)]
    run([*calm, *wild], noise=noise)
    assert noise._noise < 2.7


def _first(noise: NoiseFilter) -> int:
    run(noisy(3.0, 6), noise=noise)
    assert noise.is_active
    return 6


def _by_reset(noise: NoiseFilter) -> Frame:
    index = _first(noise)
    noise.reset()
    return frame(next(noisy(3.0, 1)), index)


def _by_size(noise: NoiseFilter) -> Frame:
    return frame(next(noisy(3.0, 1, size_wh=(40, 30))), _first(noise))


def _by_a_pause(noise: NoiseFilter) -> Frame:
    return frame(next(noisy(3.0, 1)), _first(noise) + 9)


def _by_time_that_runs_back(noise: NoiseFilter) -> Frame:
    _first(noise)
    return frame(next(noisy(3.0, 1)), 2)


@pytest.mark.parametrize("cause", [_by_reset, _by_size, _by_a_pause, _by_time_that_runs_back])
def test_the_past_is_dropped(cause: Callable[[NoiseFilter], Frame]) -> None:
    noise = NoiseFilter()
    given = cause(noise)
    assert noise.update(given) is given
    noise.learn(everyone(given.size_wh), BRIGHTER)
    for later in (1, 2):  # and acts on from there
        shown = noise.update(Frame(freeze(given.rgb + np.uint8(later)), given.pts_ns + later * FRAME_NS))
        noise.learn(everyone(given.size_wh), BRIGHTER)
    assert (shown.rgb != given.rgb + np.uint8(later)).any()


def test_a_size_with_as_many_pixels_is_another_size() -> None:
    noise = NoiseFilter()
    index = _first(noise)
    turned = frame(next(noisy(3.0, 1)).reshape(SIZE_WH[0], SIZE_WH[1], 3), index)
    assert noise.update(turned) is turned


def test_frames_stay_as_they_were_given() -> None:
    pictures = list(noisy(2.0, 8))
    copies = [picture.copy() for picture in pictures]
    noise, shown = NoiseFilter(), []
    for index, picture in enumerate(pictures):
        got = noise.update(frame(picture, index))
        shown.append((got.rgb, got.rgb.copy()))
        assert not got.rgb.flags.writeable
        noise.learn(everyone(), BRIGHTER)
    for picture, copy in zip(pictures, copies, strict=True):
        np.testing.assert_array_equal(picture, copy)
    for rgb, copy in shown:  # nor is what was handed out written to later
        np.testing.assert_array_equal(rgb, copy)


def test_a_matte_of_other_pixels_is_not_kept_but_their_shape_is() -> None:
    noise = NoiseFilter()
    index = _first(noise)
    given = frame(next(noisy(3.0, 1)), index).with_alpha(np.full(SIZE_WH[::-1], 255, np.uint8))
    got = noise.update(replace(given, sample_aspect_ratio=Fraction(64, 45)))
    assert got.alpha is None
    assert got.sample_aspect_ratio == Fraction(64, 45)


def test_mattes_of_any_size_and_of_nobody() -> None:
    noise = NoiseFilter()
    for index, picture in enumerate(noisy(2.0, 4)):
        noise.update(frame(picture, index))
        noise.learn(freeze(np.full((64, 64), 255, np.uint8)), BRIGHTER)
    assert noise.is_active
    noise.learn(freeze(np.zeros((64, 64), np.uint8)), BRIGHTER)  # a second time for one frame: nothing to measure
    assert noise.is_active
    noise.update(frame(next(noisy(2.0, 1)), 4))
    noise.learn(freeze(np.zeros((64, 64), np.uint8)), BRIGHTER)
    assert not noise.is_active


def test_the_configuration_has_it() -> None:
    def built(**options: object) -> NoiseFilter | None:
        return Config.from_options({"compute": "cpu", **options}).build("#204060").noise

    assert built() is not None
    assert built(smooth={"noise": 0}) is None
    weak = built(smooth={"noise": 0.3}, composite={"color_strength": 0.0, "shading_strength": 0.0})
    assert weak is not None
    assert weak.farthest == 3
    run(noisy(2.0, 3), BRIGHTER, weak)
    assert not weak.is_active
