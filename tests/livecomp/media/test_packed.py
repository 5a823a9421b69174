from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from livecomp.frame import U8Array
from livecomp.media.packed import PackedConverter, PackedFormat

COLOURS = ((255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 40, 90))
TOLERANCE = 3  # levels: 1 of each of the two roundings, and swscale's fast path


def yuv(rgb: tuple[int, int, int], *, is_full: bool, is_bt709: bool) -> NDArray[np.uint8]:
    """Y, U and V by the definition of BT.601 and BT.709."""
    kr, kb = (0.2126, 0.0722) if is_bt709 else (0.299, 0.114)
    r, g, b = (value / 255 for value in rgb)
    luma = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)
    values = (255 * luma, 128 + 255 * u, 128 + 255 * v) if is_full else (16 + 219 * luma, 128 + 224 * u, 128 + 224 * v)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def packed_bytes(fourcc: str, y: int, u: int, v: int, size_wh: tuple[int, int], padding: int) -> U8Array:
    width, height = size_wh
    if fourcc == "NV12":
        rows = np.full((height * 3 // 2, width + padding), 99, np.uint8)
        rows[:height, :width] = y
        rows[height:, :width] = np.tile(np.array([u, v], np.uint8), width // 2)
        return rows.ravel()
    pair = (y, u, y, v) if fourcc == "YUYV" else (u, y, v, y)
    rows = np.full((height, width * 2 + padding), 99, np.uint8)
    rows[:, : width * 2] = np.tile(np.array(pair, np.uint8), width // 2)
    return rows.ravel()


@pytest.mark.parametrize("is_bt709", [False, True])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("fourcc", ["YUYV", "UYVY", "NV12"])
def test_colours_come_out_as_they_went_in(fourcc: str, padding: int, is_full: bool, is_bt709: bool) -> None:
    size_wh = (34, 18)
    stride = size_wh[0] * (1 if fourcc == "NV12" else 2) + padding
    converter = PackedConverter(PackedFormat(fourcc, size_wh, stride, is_full, is_bt709))
    for colour in COLOURS:
        y, u, v = yuv(colour, is_full=is_full, is_bt709=is_bt709).tolist()
        rgb = converter.convert(packed_bytes(fourcc, y, u, v, size_wh, padding))
        assert rgb is not None
        assert rgb.shape == (18, 34, 3)
        assert not rgb.flags.writeable
        assert np.abs(rgb.astype(int) - colour).max() <= TOLERANCE


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(
    ("fourcc", "order"),
    [("RGB3", (0, 1, 2)), ("BGR3", (2, 1, 0)), ("XB24", (0, 1, 2, 3)), ("AB24", (0, 1, 2, 3)), ("XR24", (2, 1, 0, 3)),
     ("AR24", (2, 1, 0, 3))],
)  # fmt: skip
def test_rgb_comes_out_as_it_went_in(fourcc: str, order: tuple[int, ...], padding: int) -> None:
    width, height = 7, 5
    rgbx = np.random.default_rng(5).integers(0, 256, (height, width, 4), np.uint8)
    rows = np.full((height, width * len(order) + padding), 99, np.uint8)
    rows[:, : width * len(order)] = rgbx[..., order].reshape(height, -1)
    data = rows.ravel()
    converter = PackedConverter(PackedFormat(fourcc, (width, height), rows.shape[1]))
    rgb = converter.convert(data)
    assert rgb is not None
    assert np.array_equal(rgb, rgbx[..., :3])
    assert not rgb.flags.writeable
    data[:] = 0  # the camera's memory, which it fills again
    assert np.array_equal(rgb, rgbx[..., :3])
    assert converter.convert(data[: data.size - padding - 1]) is None


def test_a_picture_that_is_cut_short_is_refused_but_for_the_padding_of_its_last_row() -> None:
    converter = PackedConverter(PackedFormat("YUYV", (8, 4), 20))
    data = np.full(80, 128, np.uint8)
    assert converter.convert(data[:76]) is not None
    assert converter.convert(data[:75]) is None


def test_jpeg_is_full_range_and_damage_is_seen() -> None:
    picture = np.full((18, 34, 3), (250, 128, 20), np.uint8)
    jpeg = np.frombuffer(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1], np.uint8)
    converter = PackedConverter(PackedFormat("MJPG", (34, 18)))
    rgb = converter.convert(np.concatenate([jpeg, np.zeros(100, np.uint8)]))  # cameras pad
    assert rgb is not None
    assert np.abs(rgb.astype(int) - picture).max() <= TOLERANCE
    for damaged in (jpeg[:0], jpeg[:2], jpeg[:40], jpeg[3:], np.zeros(200, np.uint8)):
        assert converter.convert(damaged) is None
    assert PackedConverter(PackedFormat("MJPG", (18, 34))).convert(jpeg) is None
