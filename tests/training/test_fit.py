"""The fit of parameters to pairs of pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.fit import FitOptions, fit_parameters
from training.parameters import MAX_LOG_GAIN, Parameters

SIZE = (72, 96)


def picture(seed: int = 0) -> np.ndarray:
    """Smooth colours with some texture, 0.1..0.9."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.1, 0.9, (6, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(smooth + rng.normal(0, 0.05, smooth.shape), 0, 1).astype(np.float32)


def person() -> np.ndarray:
    mask = np.zeros(SIZE, np.float32)
    mask[12:, 20:80] = 1
    return mask


def some_parameters() -> Parameters:
    matrix = np.array([[0.8, 0.15, 0.0], [0.05, 0.9, 0.02], [0.0, 0.1, 0.7]])
    nodes = np.linspace(0, 1, 32)
    curves = np.stack([nodes**0.8, nodes, nodes**1.2])
    log_gain = np.linspace(-0.3, 0.3, 16)[None, :] * np.ones((16, 1))
    return Parameters(matrix, curves, log_gain)


def distance(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Root mean squared difference inside the mask, 0..255."""
    return 255 * float(np.sqrt(np.square(a - b)[mask > 0.5].mean()))


def test_a_known_correction_is_found() -> None:
    composite, mask = picture(), person()
    target = some_parameters().apply(composite)
    assert distance(composite, target, mask) > 20
    fit = fit_parameters(composite, target, mask, FitOptions(rounds=20))
    assert distance(fit.parameters.apply(composite), target, mask) < 1.0
    assert fit.psnr > 48
    assert fit.pixels == int(mask.sum())


def test_report_is_the_distance_of_the_fit() -> None:
    composite, mask = picture(), person()
    fit = fit_parameters(composite, picture(3), mask)
    residual = distance(fit.parameters.apply(composite), picture(3), mask)
    assert fit.fmse == pytest.approx(residual**2, rel=1e-3)
    assert fit.psnr == pytest.approx(10 * np.log10(255**2 / fit.fmse))


@pytest.mark.parametrize("seed", range(4))
def test_unrelated_pictures_still_give_valid_parameters(seed: int) -> None:
    composite, mask = picture(seed), person()
    target = np.random.default_rng(seed).uniform(0, 1, composite.shape).astype(np.float32)
    parameters = fit_parameters(composite, target, mask).parameters
    assert np.isfinite(parameters.matrix).all()
    assert np.diff(parameters.curves, axis=1).min() >= -1e-9
    assert parameters.curves.min() >= 0
    assert parameters.curves.max() <= 1
    assert np.abs(parameters.log_gain).max() <= MAX_LOG_GAIN
    assert distance(parameters.apply(composite), target, mask) <= distance(composite, target, mask)


def test_gain_stays_bounded_when_the_target_is_black() -> None:
    composite = picture()
    fit = fit_parameters(composite, np.zeros_like(composite), person(), FitOptions(use_curves=False, use_matrix=False))
    assert fit.parameters.log_gain[8, 8] == pytest.approx(-MAX_LOG_GAIN)


def test_identical_pictures_need_nothing() -> None:
    composite = picture()
    fit = fit_parameters(composite, composite, person())
    assert distance(fit.parameters.apply(composite), composite, person()) < 0.1
    assert fit.fmse < 0.01


def test_each_part_can_be_left_out() -> None:
    composite, mask = picture(), person()
    target, identity = some_parameters().apply(composite), Parameters.identity()
    errors = {}
    for left_out in ("matrix", "curves", "log_gain"):
        options = FitOptions(
            use_matrix=left_out != "matrix", use_curves=left_out != "curves", use_gain=left_out != "log_gain"
        )
        fit = fit_parameters(composite, target, mask, options)
        np.testing.assert_array_equal(getattr(fit.parameters, left_out), getattr(identity, left_out))
        errors[left_out] = fit.fmse
    full = fit_parameters(composite, target, mask).fmse
    assert all(error > 2 * full for error in errors.values()), (errors, full)


def test_more_rounds_are_never_worse() -> None:
    composite, target, mask = picture(0), picture(1), person()
    errors = [fit_parameters(composite, target, mask, FitOptions(rounds=n)).fmse for n in (1, 3, 9)]
    assert errors[0] >= errors[1] >= errors[2]


def test_many_rounds_on_a_person_of_one_colour_are_never_worse() -> None:
    grey, target = np.full((24, 24, 3), 0.6, np.float32), np.random.default_rng(0).random((24, 24, 3), np.float32)
    errors = [fit_parameters(grey, target, np.ones((24, 24), np.float32), FitOptions(rounds=r)).fmse for r in (16, 40)]
    assert errors[1] <= errors[0]


def test_only_the_person_counts() -> None:
    composite, mask = picture(), person()
    target = some_parameters().apply(composite)
    poisoned = np.where(mask[..., None] > 0.5, target, np.float32(0))
    a, b = fit_parameters(composite, target, mask), fit_parameters(composite, poisoned, mask)
    np.testing.assert_array_equal(a.parameters.curves, b.parameters.curves)


def test_fit_is_deterministic_and_samples_large_pictures() -> None:
    large = cv2.resize(picture(), None, fx=4, fy=4)
    mask = cv2.resize(person(), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    target = some_parameters().apply(large)
    a, b = (fit_parameters(large, target, mask, FitOptions(max_pixels=3000)) for _ in range(2))
    assert a.pixels <= 3500
    np.testing.assert_array_equal(a.parameters.matrix, b.parameters.matrix)
    assert distance(a.parameters.apply(large), target, mask) < 2


@pytest.mark.parametrize("pixels", [0, 5])
def test_hardly_any_person_gives_the_identity(pixels: int) -> None:
    mask = np.zeros(SIZE, np.float32)
    mask[0, :pixels] = 1
    fit = fit_parameters(picture(), picture(1), mask)
    np.testing.assert_array_equal(fit.parameters.matrix, np.eye(3))
    assert fit.pixels == pixels
    assert np.isnan(fit.psnr)


def test_bad_input_is_named() -> None:
    composite, mask = picture(), person()
    with pytest.raises(ValueError, match=r"two \(H, W, 3\) pictures"):
        fit_parameters(composite, composite[:-1], mask)
    with pytest.raises(ValueError, match="expected a mask"):
        fit_parameters(composite, composite, mask[:-1])
    broken = composite.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fit_parameters(broken, composite, mask)
