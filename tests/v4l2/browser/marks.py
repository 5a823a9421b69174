"""Pictures that say which one they are: a band of black and white cells at the top, the same inverted at the bottom.

The first two cells are always white and black (black and white at the bottom), so that a picture without a number, a
slate for instance, is told from number 0. Both numbers of a whole picture are the same; a torn one shows two.
`page.html` reads the same cells.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from livecomp.frame import U8Array

__all__ = ["NUMBERS", "draw_number", "read_number", "write_numbered_video"]

_CELLS = 16
_BITS = _CELLS - 2
_BAND = 8
NUMBERS = 1 << _BITS
"""Numbers there are; after the last comes 0."""

_SCENE = (58, 44, 92)


def draw_number(rgb: U8Array, number: int) -> None:
    """Write a number into a picture.

    Args:
        rgb: (H, W, 3) uint8; an eighth of its rows is overwritten at the top and at the bottom.
        number: 0 to `NUMBERS` - 1.
    """
    height, width = rgb.shape[:2]
    cells = np.array([True, False, *(bool(number >> bit & 1) for bit in range(_BITS))])
    row = cells[np.arange(width) * _CELLS // width]
    rgb[: height // _BAND] = np.where(row, 255, 0).astype(np.uint8)[:, None]
    rgb[height - height // _BAND :] = np.where(row, 0, 255).astype(np.uint8)[:, None]


def read_number(luma: U8Array) -> tuple[int, int] | None:
    """The numbers at the top and at the bottom of a picture; None where there are none.

    Args:
        luma: (H, W) uint8.
    """
    height, width = luma.shape
    columns = (np.arange(_CELLS) * 2 + 1) * width // (2 * _CELLS)
    half = height // _BAND // 2
    top, bottom = luma[half, columns] > 127, luma[height - 1 - half, columns] <= 127
    if [*top[:2], *bottom[:2]] != [True, False, True, False]:
        return None
    weights = 1 << np.arange(_BITS)
    return int(weights[top[2:]].sum()), int(weights[bottom[2:]].sum())


def write_numbered_video(path: Path, *, size_wh: tuple[int, int], fps: int, seconds: float) -> None:
    """A scene to stand behind somebody, whose pictures count from 0.

    Args:
        path: Where to write it; the suffix says how.
        size_wh: Width and height, pixels.
        fps: Pictures per second; with more than the camera gives, no two composites show the same one.
        seconds: Length; numbers must suffice.

    Raises:
        ValueError: They do not.
    """
    count = round(seconds * fps)
    if count > NUMBERS:
        raise ValueError(f"{count} pictures are too many: {NUMBERS} numbers at most")
    width, height = size_wh
    rgb = np.full((height, width, 3), _SCENE, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", Fraction(fps), {"preset": "ultrafast", "crf": "12", "tune": "fastdecode"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            draw_number(rgb, number)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
