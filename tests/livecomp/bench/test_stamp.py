"""Numbers that survive what a virtual camera and a codec do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.bench.stamp import BITS, draw_stamp, read_stamp
from livecomp.errors import InputError


def stamped(number: int, size_wh: tuple[int, int] = (640, 360)) -> np.ndarray:
    rgb = np.random.default_rng(1).integers(0, 255, (size_wh[1], size_wh[0], 3), np.uint8)
    draw_stamp(rgb, number)
    return rgb


@pytest.mark.parametrize("number", [0, 1, 2**BITS - 1, 123456789012345])
@pytest.mark.parametrize("size_wh", [(96, 64), (640, 360), (1280, 720), (1920, 1080)])
def test_a_number_is_read_back(number: int, size_wh: tuple[int, int]) -> None:
    assert read_stamp(cv2.cvtColor(stamped(number, size_wh), cv2.COLOR_RGB2GRAY)) == number


def test_it_survives_limited_range_and_a_codec() -> None:
    rgb = stamped(987654321012)
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    assert read_stamp(yuv[:360]) == 987654321012
    _, jpeg = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert read_stamp(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)) == 987654321012


def test_black_white_and_torn_pictures_have_no_number() -> None:
    assert read_stamp(np.zeros((360, 640), np.uint8)) is None
    assert read_stamp(np.full((360, 640), 255, np.uint8)) is None
    upper, lower = (cv2.cvtColor(stamped(n), cv2.COLOR_RGB2GRAY) for n in (1000, 2**47 + 1_000_000_000))
    torn = upper.copy()
    torn[9:] = lower[9:]
    assert read_stamp(torn) is None


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="too small"):
        draw_stamp(np.zeros((16, 20, 3), np.uint8), 1)
    with pytest.raises(InputError, match="48 bits"):
        draw_stamp(np.zeros((360, 640, 3), np.uint8), 2**48)
