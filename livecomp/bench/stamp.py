"""A number drawn into a picture, that survives a virtual camera, chroma subsampling and a video codec.

Fifty-six cells of black or white in the upper left corner: 48 bits of the number, the most significant first, and 8 of
a checksum. Whoever reads the picture elsewhere knows when it was captured, or that it is torn.
"""

from __future__ import annotations

import numpy as np

from livecomp.errors import InputError
from livecomp.frame import U8Array

__all__ = ["BITS", "age_ns", "draw_stamp", "draw_time", "read_stamp", "stamp_size"]

BITS = 48
_COLUMNS, _ROWS = 14, 4
_SHARE = 40
"""A cell is the picture's height divided by this, but at least 4 pixels."""


def stamp_size(height: int) -> tuple[int, int]:
    """Width and height of a stamp in a picture of this height, pixels."""
    cell = max(4, height // _SHARE)
    return _COLUMNS * cell, _ROWS * cell


def draw_stamp(rgb: U8Array, number: int) -> None:
    """Draw a number.

    Args:
        rgb: (H, W, 3) uint8, written to.
        number: 0 to 2**48 - 1.

    Raises:
        InputError: The picture is too small, or the number too large.
    """
    cell = _cell(rgb.shape)
    if not 0 <= number < 2**BITS:
        raise InputError(f"a stamp holds a number of {BITS} bits, received {number}")
    bits = f"{number:0{BITS}b}{_checksum(number):08b}"
    cells = np.array([int(bit) * 255 for bit in bits], np.uint8).reshape(_ROWS, _COLUMNS)
    rgb[: _ROWS * cell, : _COLUMNS * cell] = cells.repeat(cell, 0).repeat(cell, 1)[..., None]


def draw_time(rgb: U8Array, at_ns: int) -> None:
    """Draw a time, in nanoseconds; of a machine's own clock, which passes 48 bits after three days, the rest of it.

    Raises:
        InputError: The picture is too small.
    """
    draw_stamp(rgb, at_ns % (1 << BITS))


def age_ns(stamp: int, now_ns: int) -> int:
    """How long ago the time was that `draw_time` drew, in nanoseconds; of one in the future over three days, nearly."""
    return (now_ns - stamp) % (1 << BITS)


def read_stamp(luma: U8Array) -> int | None:
    """The number that was drawn; None when there is none, or it is torn.

    Args:
        luma: (H, W) uint8, a brightness of the picture, any range.
    """
    cell = _cell(luma.shape)
    area = luma[: _ROWS * cell, : _COLUMNS * cell].reshape(_ROWS, cell, _COLUMNS, cell)
    inner = area[:, cell // 4 : cell - cell // 4, :, cell // 4 : cell - cell // 4]
    means = inner.mean(axis=(1, 3)).ravel()
    bits = "".join("1" if mean > 127 else "0" for mean in means)
    number = int(bits[:BITS], 2)
    return number if int(bits[BITS:], 2) == _checksum(number) else None


def _checksum(number: int) -> int:
    # never 0 for 0, so that a black corner is no stamp
    return (sum(number.to_bytes(BITS // 8, "big")) * 31 + 0x5A) & 0xFF


def _cell(shape: tuple[int, ...]) -> int:
    width, height = stamp_size(shape[0])
    if shape[0] < height or shape[1] < width:
        raise InputError(f"a picture of {shape[1]}x{shape[0]} is too small for a stamp of {width} pixels")
    return height // _ROWS
