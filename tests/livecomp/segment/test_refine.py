from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.frame import freeze
from livecomp.segment.kernels import FULL, MIXED, classify_cells, fit_coefficients
from livecomp.segment.refine import EPS, GuidedRefiner
from livecomp.segment.segmenter import upsample


def disc(size_wh: tuple[int, int], blur: float = 6.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of an orange disc before a blue gradient, its exact alpha, and a small matte that is blurred."""
    width, height = size_wh
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = 0.3 * min(size_wh)
    distance = np.hypot(x - width / 2, y - height / 2) + 0.06 * radius * np.sin(x / radius * 9)
    alpha = np.clip(radius - distance + 0.5, 0, 1)
    scene = np.stack([40 + 30 * x / width, 60 + 40 * y / height, 150 + 30 * x / width], axis=-1)
    rgb = scene + alpha[..., None] * (np.array([220, 120, 40], np.float32) - scene)
    rgb += np.random.default_rng(0).normal(0, 2, rgb.shape)
    small = cv2.resize(alpha, (256, 256), interpolation=cv2.INTER_AREA)
    matte = cv2.GaussianBlur(small, (0, 0), blur)
    return freeze(np.clip(rgb, 0, 255).astype(np.uint8)), alpha, matte.astype(np.float32)


def error(alpha: np.ndarray, true: np.ndarray) -> float:
    return float(np.abs(alpha / 255 - true).sum())


@pytest.mark.parametrize("size_wh", [(1280, 720), (639, 361), (360, 640)])
def test_the_edge_moves_to_the_edge_of_the_picture(size_wh: tuple[int, int]) -> None:
    rgb, true, matte = disc(size_wh, blur=2.5)
    plain, refined = error(upsample(matte, size_wh), true), error(GuidedRefiner().refine(matte, rgb), true)
    assert refined < 0.4 * plain


def test_inside_and_outside_are_decided_and_no_haze_remains() -> None:
    rgb, true, matte = disc((960, 540), blur=2.5)
    alpha = GuidedRefiner().refine(matte, rgb)
    distance_in = cv2.distanceTransform((true > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    distance_out = cv2.distanceTransform((true <= 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    assert int(alpha[distance_in > 6].min()) > 200
    assert int(alpha[distance_out > 6].max()) < 55
    assert int(alpha[distance_in > 20].min()) == 255
    assert int(alpha[distance_out > 20].max()) == 0


def reference(rgb: np.ndarray, matte: np.ndarray, side: int, radius: int, eps: float) -> np.ndarray:
    """The same filter over the whole picture in plain float64 with OpenCV's box filter, levels .1 and .9."""
    height, width = rgb.shape[:2]
    size = (side, round(height * side / width))
    guide = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    p = cv2.resize(matte, size, interpolation=cv2.INTER_LINEAR).astype(np.float64)
    kernel = (2 * radius + 1,) * 2

    def mean(a: np.ndarray) -> np.ndarray:
        return cv2.blur(a, kernel, borderType=cv2.BORDER_REPLICATE)

    mean_guide, mean_p = mean(guide), mean(p)
    sigma = np.empty((*p.shape, 3, 3))
    for i in range(3):
        for j in range(3):
            sigma[..., i, j] = mean(guide[..., i] * guide[..., j]) - mean_guide[..., i] * mean_guide[..., j]
    sigma += eps * np.eye(3)
    covariance = np.stack([mean(guide[..., i] * p) - mean_guide[..., i] * mean_p for i in range(3)], axis=-1)
    a = np.linalg.solve(sigma, covariance[..., None])[..., 0]
    b = mean_p - (a * mean_guide).sum(-1)
    a_full = cv2.resize(mean(a), (width, height), interpolation=cv2.INTER_LINEAR)
    b_full = cv2.resize(mean(b), (width, height), interpolation=cv2.INTER_LINEAR)
    q = (a_full * rgb / 255).sum(-1) + b_full
    return np.clip((q - 0.1) / 0.8, 0, 1) * 255


def test_compression_does_not_show_in_the_edge() -> None:
    """Hair before a wall of nearly its colour, and the same as a camera sends it: the blocks of JPEG are no edges."""
    _, true, matte = disc((960, 540), blur=2.5)
    grain = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 20, (540, 960, 3)), (0, 0), 3).astype(np.float32)
    hair, wall = np.array([132, 126, 122], np.float32), np.array([146, 143, 141], np.float32)
    rgb = np.clip(wall + true[..., None] * (hair - wall) + grain, 0, 255).astype(np.uint8)
    sent = cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    alphas = [GuidedRefiner().refine(matte, freeze(np.asarray(one, np.uint8))).astype(int) for one in (rgb, sent)]
    undecided = (alphas[0] > 0) & (alphas[0] < 255)
    assert float(np.abs(alphas[0] - alphas[1])[undecided].mean()) < 5


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_it_agrees_with_the_filter_over_the_whole_picture(shift: float) -> None:
    """The edge in the middle, at the right border, and in all four corners."""
    rgb, _, matte = disc((640, 360))
    down = 180 if shift == 0.5 else 0
    rgb = freeze(np.roll(rgb, (down, int(640 * shift)), axis=(0, 1)))
    matte = np.roll(matte, (128 if down else 0, int(256 * shift)), axis=(0, 1))
    found = GuidedRefiner().refine(matte, rgb).astype(np.float64)
    difference = np.abs(found - reference(rgb, matte, 320, 3, EPS))
    assert float(difference.mean()) < 0.2
    assert float(np.quantile(difference, 0.999)) < 2  # half a level of rounding, and the guide's two ways of shrinking


def test_cells_meet_without_a_seam() -> None:
    rgb, _, matte = disc((640, 360))
    found = GuidedRefiner().refine(matte, rgb).astype(np.float64)
    whole = reference(rgb, matte, 320, 3, EPS)
    border = np.zeros(found.shape, bool)
    border[::16] = border[:, ::16] = border[15::16] = border[:, 15::16] = True
    assert float(np.abs(found - whole)[border].max()) < 4


def test_decided_mattes_cost_no_filter_and_stay_decided() -> None:
    rgb = freeze(np.random.default_rng(1).integers(0, 256, (90, 160, 3), np.uint8))
    for value in (0.0, 0.05, 0.95, 1.0):
        matte = np.full((64, 64), value, np.float32)
        assert not (classify_cells(matte, 8, np.float32(0.1), np.float32(0.9)) == MIXED).any()
        assert set(np.unique(GuidedRefiner().refine(matte, rgb))) == {255 * round(value)}


def test_cells_beside_an_edge_are_mixed_and_others_are_not() -> None:
    matte = np.zeros((64, 64), np.float32)
    matte[:, 32:] = 1
    kinds = classify_cells(matte, 8, np.float32(0.1), np.float32(0.9))
    assert kinds.shape == (8, 8)
    assert (kinds[:, 3:5] == MIXED).all()
    assert not (kinds[:, :3] != 0).any()
    assert (kinds[:, 5:] == FULL).all()


def test_a_guide_without_contrast_gives_a_smoothed_matte_not_nan() -> None:
    grey = freeze(np.full((120, 160, 3), 128, np.uint8))
    matte = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    alpha = GuidedRefiner().refine(matte, grey).astype(int)
    assert (np.diff(alpha[60]) >= 0).all()
    assert alpha[60, 0] == 0
    assert alpha[60, -1] == 255
    black = fit_coefficients(
        np.zeros((5, 4, 3), np.uint8),
        np.ones((5, 4), np.float32),
        3,
        np.float32(EPS),
        np.float32(0.1),
        np.float32(0.9),
    )
    assert np.isfinite(black).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (7, 1001), (1001, 7), (33, 65), (319, 321)])
@pytest.mark.parametrize("matte_shape", [(1, 1), (9, 5), (256, 256)])
def test_any_size_gives_a_full_alpha(shape: tuple[int, int], matte_shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    rgb = freeze(rng.integers(0, 256, (*shape, 3), np.uint8))
    ones = GuidedRefiner().refine(np.ones(matte_shape, np.float32), rgb)
    zeros = GuidedRefiner().refine(np.zeros(matte_shape, np.float32), rgb)
    mixed = GuidedRefiner().refine(rng.random(matte_shape, np.float32), rgb)
    assert ones.shape == zeros.shape == mixed.shape == shape
    assert ones.dtype == mixed.dtype == np.uint8
    assert (ones == 255).all()
    assert not zeros.any()


def test_the_matte_is_left_as_it_is_and_the_result_is_new() -> None:
    rgb, _, matte = disc((320, 180))
    before = matte.copy()
    refiner = GuidedRefiner()
    first = refiner.refine(matte, rgb)
    kept = first.copy()
    refiner.refine(np.ascontiguousarray(matte[:, ::-1]), rgb)
    np.testing.assert_array_equal(matte, before)
    np.testing.assert_array_equal(first, kept)
