from __future__ import annotations

import numpy as np
import pytest

from livecomp.errors import MatteError
from livecomp.segment.check import MatteCheck

RGB = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
OTHER_RGB = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)


def person(coverage: float = 0.3) -> np.ndarray:
    """A person of full height with a soft edge."""
    ramp = np.clip((coverage * 64 - np.arange(64, dtype=np.float32)) / 2 + 0.5, 0, 1)
    return np.tile(ramp, (64, 1)).astype(np.float32)


def test_a_good_matte_passes_as_it_is_and_so_does_an_empty_one() -> None:
    check = MatteCheck()
    matte = person()
    assert check.check(matte, RGB) is matte
    empty = np.zeros((64, 64), np.float32)
    assert check.check(empty, RGB) is empty
    assert check.check(empty, OTHER_RGB) is empty
    assert check.check(np.full((64, 64), 0.03, np.float32), RGB).shape == (64, 64)


@pytest.mark.parametrize(
    ("matte", "says"),
    [
        (None, "NoneType"),
        (person().astype(np.float64), "float64"),
        ((person() * 255).astype(np.uint8), "uint8"),
        (person()[None], r"\(1, 64, 64\)"),
        (np.zeros((0, 5), np.float32), r"\(0, 5\)"),
        (person() * 255, "255"),
        (person() - 0.5, "-0.5"),
    ],
)
def test_what_is_no_matte_is_refused_and_the_message_shows_it(matte: object, says: str) -> None:
    with pytest.raises(MatteError, match=says):
        MatteCheck().check(matte, RGB)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 64 * 64])
def test_values_that_are_not_finite_are_refused(value: float, count: int) -> None:
    matte = person()
    matte.flat[-count:] = value
    with pytest.raises(MatteError, match="finite"):
        MatteCheck().check(matte, RGB)


@pytest.mark.parametrize("low", [0.905, 0.92, 0.96])
def test_a_matte_that_is_nearly_sure_of_everything_is_refused_as_one_that_is_sure(low: float) -> None:
    noise = np.random.default_rng(3).uniform(low, 0.97, (64, 64)).astype(np.float32)
    for matte in (np.full((64, 64), low, np.float32), noise):
        with pytest.raises(MatteError, match="takes 100%"):
            MatteCheck().check(matte, RGB)


@pytest.mark.parametrize("value", [0.2, 0.5, 0.8])
def test_the_same_half_transparency_everywhere_is_refused(value: float) -> None:
    with pytest.raises(MatteError, match="everywhere"):
        MatteCheck().check(np.full((64, 64), value, np.float32), RGB)


def test_noise_is_refused() -> None:
    noise = np.random.default_rng(2).random((64, 64), np.float32)
    with pytest.raises(MatteError, match="neither person nor background"):
        MatteCheck().check(noise, RGB)


@pytest.mark.parametrize("matte", [np.ones((64, 64), np.float32), person(0.99)])
def test_a_matte_that_shows_everything_is_refused_at_first_and_after_an_ordinary_one(matte: np.ndarray) -> None:
    check = MatteCheck()
    for _ in range(3):
        with pytest.raises(MatteError, match="takes"):
            check.check(matte, RGB)
    check.check(person(0.4), RGB)
    for _ in range(3):
        with pytest.raises(MatteError, match=r"4[01]% just before"):
            check.check(matte, RGB)


def test_somebody_who_comes_close_is_not_refused_until_the_next_reset() -> None:
    check = MatteCheck()
    for coverage in (0.4, 0.6, 0.8, 0.99):
        check.check(person(coverage), RGB)
    ones = np.ones((64, 64), np.float32)
    check.check(ones, RGB)
    check.reset()
    with pytest.raises(MatteError, match="takes"):
        check.check(ones, RGB)


def test_a_stalled_model_is_refused_even_when_it_reuses_its_buffer() -> None:
    check = MatteCheck()
    buffer = person()
    check.check(buffer, RGB)
    for rgb in (OTHER_RGB, RGB, OTHER_RGB):
        with pytest.raises(MatteError, match="stalled"):
            check.check(buffer, rgb)
    buffer[:, 20] += 0.001
    check.check(np.clip(buffer, 0, 1), OTHER_RGB)


def test_a_stalled_model_is_refused_however_slowly_the_picture_changes_and_after_a_cut() -> None:
    check = MatteCheck()
    check.check(person(), RGB)
    for step in range(1, 3):
        check.check(person(), np.clip(RGB.astype(int) + step, 0, 255).astype(np.uint8))
    for rgb in (np.clip(RGB.astype(int) + 3, 0, 255).astype(np.uint8), RGB, OTHER_RGB):
        with pytest.raises(MatteError, match="stalled"):
            check.check(person(), rgb)
        check.reset()
    check.check(person(0.4), OTHER_RGB)


def test_the_same_matte_for_the_same_picture_is_fine_and_so_it_is_after_reset() -> None:
    check = MatteCheck()
    check.check(person(), RGB)
    check.check(person(), RGB.copy())
    check.reset()
    check.check(person(), RGB)


def test_large_mattes_are_judged_as_small_ones() -> None:
    big = np.repeat(np.repeat(person(), 12, axis=0), 20, axis=1)
    assert MatteCheck().check(big, RGB) is big
    big[700, 1200] = np.nan
    with pytest.raises(MatteError, match="finite"):
        MatteCheck().check(big, RGB)
    with pytest.raises(MatteError, match="takes"):
        MatteCheck().check(np.ones((1080, 1920), np.float32), RGB)
