from __future__ import annotations

import numpy as np
import pytest

from livecomp.correction import CURVE_NODES, MAX_LOG_GAIN, Correction
from livecomp.errors import ContractError

IDENTITY = Correction.identity()


def make(**replaced: np.ndarray) -> Correction:
    parts = {"matrix": IDENTITY.matrix, "curves": IDENTITY.curves, "log_gain": IDENTITY.log_gain, **replaced}
    return Correction(**{name: np.array(part, np.float32) for name, part in parts.items()})


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3), np.float32)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 33)])
def test_identity_changes_nothing(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    np.testing.assert_allclose(IDENTITY.apply(rgb), rgb, atol=1e-6)


def test_the_order_is_matrix_then_curves_then_gain() -> None:
    swap = make(
        matrix=np.float32([[0, 1, 0], [1, 0, 0], [0, 0, 0.5]]),
        curves=np.stack([np.linspace(0.2, 1, CURVE_NODES), np.linspace(0, 0.5, CURVE_NODES), np.linspace(0, 1, 32)]),
        log_gain=np.full((4, 4), np.log(0.5)),
    )
    out = swap.apply(np.float32([[[0.4, 0.5, 0.8]]]))
    np.testing.assert_allclose(out, [[[(0.2 + 0.8 * 0.5) * 0.5, 0.5 * 0.4 * 0.5, 0.4 * 0.5]]], atol=1e-5)


def test_values_are_clipped_between_the_steps() -> None:
    double = make(matrix=2 * np.eye(3), log_gain=np.full((2, 2), np.log(0.5)))
    np.testing.assert_allclose(double.apply(np.full((1, 1, 3), 0.9, np.float32)), 0.5, atol=1e-5)


def test_gain_is_stretched_with_half_pixel_centres() -> None:
    shaded = make(log_gain=np.log(np.float32([[0.5, 1.0]])))
    out = shaded.apply(np.full((1, 4, 3), 0.5, np.float32))[0, :, 0]
    steps = np.exp(np.log(0.5) * np.array([1, 0.75, 0.25, 0]))
    np.testing.assert_allclose(out, 0.5 * steps, atol=1e-5)


def test_lerp_and_strength_meet_at_the_ends() -> None:
    other = make(matrix=np.full((3, 3), 0.3), curves=np.sqrt(IDENTITY.curves), log_gain=np.full((16, 16), 0.4))
    for t, expected in ((0.0, IDENTITY), (1.0, other)):
        got = IDENTITY.lerp(other, t)
        np.testing.assert_allclose(got.matrix, expected.matrix, atol=1e-6)
        np.testing.assert_allclose(got.curves, expected.curves, atol=1e-6)
        np.testing.assert_allclose(got.log_gain, expected.log_gain, atol=1e-6)
    weak = other.with_strength(0.5, 0.25)
    np.testing.assert_allclose(weak.matrix, (np.eye(3) + 0.3) / 2, atol=1e-6)
    np.testing.assert_allclose(weak.log_gain, 0.1, atol=1e-6)
    assert other.with_strength(1, 1) is other
    np.testing.assert_allclose(other.with_strength(0, 0).apply(picture(3, 3)), picture(3, 3), atol=1e-6)


BAD = {
    "a matrix of another shape": {"matrix": np.eye(4)},
    "one curve too few": {"curves": np.tile(np.linspace(0, 1, 32), (2, 1))},
    "a single node": {"curves": np.zeros((3, 1))},
    "a falling curve": {"curves": np.tile(np.linspace(1, 0, 32), (3, 1))},
    "a NaN": {"matrix": np.full((3, 3), np.nan)},
    "an infinite gain": {"log_gain": np.full((16, 16), np.inf)},
    "a gain out of bounds": {"log_gain": np.full((16, 16), MAX_LOG_GAIN + 0.01)},
    "an empty gain": {"log_gain": np.zeros((0, 16))},
}


@pytest.mark.parametrize("parts", BAD.values(), ids=BAD.keys())
def test_broken_parameters_are_refused(parts: dict[str, np.ndarray]) -> None:
    with pytest.raises(ContractError, match=r"Correction\.\w+: expected .* received"):
        make(**parts)


def test_other_dtypes_and_sizes_are_refused() -> None:
    with pytest.raises(ContractError, match="float64"):
        Correction(np.eye(3), IDENTITY.curves, IDENTITY.log_gain)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="lerp"):
        IDENTITY.lerp(Correction.identity(nodes=16), 0.5)


def test_parameters_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        IDENTITY.matrix[0, 0] = 2
