from __future__ import annotations

import numpy as np
import pytest

from livecomp.frame import U8Array
from livecomp.media.defocus import defocused


def lamp(size_wh: tuple[int, int] = (400, 300)) -> U8Array:
    """A white spot of 4x4 pixels in the middle of black."""
    width, height = size_wh
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2] = 255
    return rgb


def light(rgb: U8Array) -> float:
    return float(np.square(rgb, dtype=np.float64).sum())


def test_without_it_the_picture_is_the_very_same() -> None:
    rgb = lamp()
    assert defocused(rgb, 0.0) is rgb


@pytest.mark.parametrize("amount", [0.1, 0.3, 0.6, 1.0])
def test_a_lamp_becomes_a_round_spot_of_the_same_light(amount: float) -> None:
    rgb = lamp()
    spread = defocused(rgb, amount)
    assert spread.shape == rgb.shape
    assert not spread.flags.writeable
    assert light(spread) == pytest.approx(light(rgb), rel=0.12)
    rows, columns = np.nonzero(spread[..., 0] > spread.max() / 2)
    across, along = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert abs(int(across) - int(along)) <= 1
    assert across == pytest.approx(2 * (amount * 0.03 * 300) + 4, abs=4)
    assert columns.mean() == pytest.approx(199.5, abs=0.6)
    assert rows.mean() == pytest.approx(149.5, abs=0.6)


def test_more_of_it_hides_more() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    contrasts = [float(defocused(rgb, amount).std()) for amount in (0.0, 0.2, 0.4, 0.7, 1.0)]
    assert contrasts == sorted(contrasts, reverse=True)
    assert contrasts[-1] < contrasts[0] / 3


@pytest.mark.parametrize("size_wh", [(1, 1), (3, 200), (401, 7), (64, 48)])
@pytest.mark.parametrize("amount", [0.01, 0.5, 1.0])
def test_one_colour_stays_that_colour_at_any_size(size_wh: tuple[int, int], amount: float) -> None:
    rgb = np.full((size_wh[1], size_wh[0], 3), (250, 20, 128), np.uint8)
    assert np.abs(defocused(rgb, amount).astype(int) - (250, 20, 128)).max() <= 1
