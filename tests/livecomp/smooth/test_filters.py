from __future__ import annotations

import numpy as np
import pytest

from livecomp.correction import Correction
from livecomp.errors import ConfigError
from livecomp.smooth.filters import ExponentialSmoother, OneEuroSmoother
from livecomp.smooth.registry import SMOOTHERS, make_smoother

MS = 1_000_000


def level(value: float) -> Correction:
    """A correction whose matrix diagonal is `value`."""
    neutral = Correction.identity()
    return Correction(neutral.matrix * np.float32(value), neutral.curves, neutral.log_gain)


def read(correction: Correction) -> float:
    return float(correction.matrix[0, 0])


@pytest.mark.parametrize("name", SMOOTHERS)
def test_contract(name: str) -> None:
    smoother = make_smoother(name)
    first = level(0.5)
    assert read(smoother.update(first, 0)) == 0.5
    for step in range(1, 20):
        assert read(smoother.update(level(0.5), step * 33 * MS)) == pytest.approx(0.5)
    smoother.reset()
    assert read(smoother.update(level(1.5), 20 * 33 * MS)) == 1.5


@pytest.mark.parametrize("name", ["exponential", "one_euro", "steady"])
def test_a_long_gap_or_time_running_back_starts_anew(name: str) -> None:
    for pts_ns in (5_000 * MS, 50 * MS, -10 * MS):
        smoother = make_smoother(name)
        smoother.update(level(0.5), 0)
        smoother.update(level(0.5), 50 * MS)
        assert read(smoother.update(level(1.5), pts_ns)) == 1.5


@pytest.mark.parametrize("frame_ms", [10, 33, 100])
def test_exponential_follows_63_percent_in_a_time_constant_at_any_rate(frame_ms: int) -> None:
    smoother = ExponentialSmoother(time_constant_s=0.5)
    smoother.update(level(0), 0)
    for pts_ms in range(frame_ms, 501, frame_ms):
        got = read(smoother.update(level(1), pts_ms * MS))
    assert got == pytest.approx(1 - np.exp(-pts_ms / 500), abs=1e-3)


def test_one_euro_calms_noise_and_follows_a_step() -> None:
    rng = np.random.default_rng(0)
    smoother = OneEuroSmoother()
    noisy = 1 + rng.normal(0, 0.01, 200)
    calm = [read(smoother.update(level(value), i * 33 * MS)) for i, value in enumerate(noisy)]
    assert np.std(calm[60:]) < 0.5 * np.std(noisy[60:])
    after = [read(smoother.update(level(1.6), (200 + i) * 33 * MS)) for i in range(30)]
    reached = next(i for i, value in enumerate(after) if value > 1 + 0.9 * 0.6)
    assert reached * 33 <= 600
    assert max(after) <= 1.6 * 1.001


@pytest.mark.parametrize("name", ["none", "exponential", "one_euro"])
def test_a_step_that_was_seen_is_taken_as_it_is(name: str) -> None:
    smoother = make_smoother(name)
    for step in range(10):
        smoother.update(level(1.0), step * 33 * MS)
    smoother.notice_step()
    assert read(smoother.update(level(1.5), 10 * 33 * MS)) == 1.5


def test_another_grid_starts_anew_instead_of_failing() -> None:
    smoother = OneEuroSmoother()
    smoother.update(Correction.identity(), 0)
    other = Correction.identity(gain_size=8)
    assert smoother.update(other, 33 * MS) is other


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="steady, one_euro, exponential, none"):
        make_smoother("kalman")
