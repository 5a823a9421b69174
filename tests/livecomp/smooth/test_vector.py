from __future__ import annotations

import numpy as np
import pytest

from livecomp.correction import Correction
from livecomp.smooth.vector import alike, distance, gain_part, measure, neutral, stack, unstack


def some(seed: int, nodes: int = 32, gain: int = 16) -> Correction:
    rng = np.random.default_rng(seed)
    return Correction(
        matrix=rng.normal(0, 1, (3, 3)).astype(np.float32),
        curves=np.sort(rng.random((3, nodes)), axis=1).astype(np.float32),
        log_gain=rng.uniform(-1, 1, (gain, gain)).astype(np.float32),
    )


@pytest.mark.parametrize(("nodes", "gain"), [(32, 16), (2, 1)])
def test_a_correction_survives_the_way_there_and_back(nodes: int, gain: int) -> None:
    correction = some(0, nodes, gain)
    back = unstack(stack(correction), correction)
    np.testing.assert_array_equal(back.matrix, correction.matrix)
    np.testing.assert_array_equal(back.curves, correction.curves)
    np.testing.assert_array_equal(back.log_gain, correction.log_gain)


def test_a_mean_of_valid_corrections_passes_the_checks_that_it_is_spared() -> None:
    rng = np.random.default_rng(5)
    vectors = np.stack([stack(some(seed)) for seed in range(20)])
    for weights in rng.dirichlet(np.full(20, 0.2), 50).astype(np.float32):
        mean = unstack((weights[:, None] * vectors).sum(0), some(0))
        Correction(mean.matrix, mean.curves, mean.log_gain)
        assert not any(array.flags.writeable for array in (mean.matrix, mean.curves, mean.log_gain))


def test_neutral_is_the_identity() -> None:
    like = some(1, 8, 4)
    plain = unstack(neutral(like), like)
    expected = Correction.identity(8, 4)
    np.testing.assert_array_equal(plain.matrix, expected.matrix)
    np.testing.assert_allclose(plain.curves, expected.curves, atol=1e-6)
    np.testing.assert_array_equal(plain.log_gain, expected.log_gain)


def test_the_part_of_the_shading_is_a_view() -> None:
    correction = some(2)
    vector = stack(correction)
    part = gain_part(vector, correction)
    np.testing.assert_allclose(2 * part, correction.log_gain, atol=1e-6)
    part[:] = 0
    assert not unstack(vector, correction).log_gain.any()


def test_a_colour_cast_counts_as_much_as_shading_of_the_same_effect() -> None:
    plain = Correction.identity()
    weights = measure(plain)
    brighter = Correction(plain.matrix, plain.curves, plain.log_gain + np.float32(0.2))
    scaled = Correction(plain.matrix * np.float32(1.2), plain.curves, plain.log_gain)
    shading = distance(stack(brighter), stack(plain), weights)
    matrix = distance(stack(scaled), stack(plain), weights)
    assert shading == pytest.approx(0.1 / np.sqrt(3), rel=1e-3)
    assert matrix == pytest.approx(shading, rel=1e-3)


def test_alike_needs_the_same_numbers_of_parameters() -> None:
    assert alike(some(3), some(4))
    assert not alike(some(3), some(3, nodes=16))
    assert not alike(some(3), some(3, gain=8))
