"""One suite over every smoother."""

from __future__ import annotations

import numpy as np
import pytest

from livecomp.correction import Correction
from livecomp.smooth import Smoother
from livecomp.smooth.registry import SMOOTHERS, make_smoother

FRAME_NS = 33_333_333


@pytest.fixture(params=SMOOTHERS)
def smoother(request: pytest.FixtureRequest) -> Smoother:
    return make_smoother(str(request.param))


def random_correction(rng: np.random.Generator) -> Correction:
    return Correction(
        matrix=(np.eye(3) + rng.normal(0, 0.2, (3, 3))).astype(np.float32),
        curves=np.sort(rng.random((3, 32)), axis=1).astype(np.float32),
        log_gain=rng.uniform(-1, 1, (16, 16)).astype(np.float32),
    )


def test_wild_input_at_wild_times_stays_between_its_extremes(smoother: Smoother) -> None:
    rng = np.random.default_rng(0)
    inputs = [random_correction(rng) for _ in range(100)]
    pts_ns = np.cumsum(rng.integers(1, 3_000_000_000, 100))
    for correction, time_ns in zip(inputs, pts_ns, strict=True):
        steadied = smoother.update(correction, int(time_ns))
        assert np.abs(steadied.log_gain).max() <= 1
        assert steadied.matrix.min() >= min(c.matrix.min() for c in inputs) - 1e-5
        assert steadied.matrix.max() <= max(c.matrix.max() for c in inputs) + 1e-5


def test_after_a_reset_the_past_has_no_influence(smoother: Smoother) -> None:
    rng = np.random.default_rng(1)
    past = [random_correction(rng) for _ in range(5)]
    future = [random_correction(rng) for _ in range(5)]
    for index, correction in enumerate(past):
        smoother.update(correction, index * FRAME_NS)
    smoother.reset()
    times = [(10 + index) * FRAME_NS for index in range(5)]
    after = [smoother.update(correction, pts) for correction, pts in zip(future, times, strict=True)]
    smoother.reset()
    times = [pts + FRAME_NS * 10 for pts in times]
    fresh = [smoother.update(correction, pts) for correction, pts in zip(future, times, strict=True)]
    assert after[0] is future[0]
    for one, other in zip(after, fresh, strict=True):
        np.testing.assert_array_equal(one.matrix, other.matrix)
        np.testing.assert_array_equal(one.log_gain, other.log_gain)
