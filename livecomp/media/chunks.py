"""What PNG and WebP files say beside their pixels: how they are turned, and whether they move."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from livecomp.frame import U8Array

__all__ = ["is_animated", "orientation_of", "turned"]

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = (b"eXIf", b"EXIF")
_ORIENTATION, _SHORT = 0x0112, 3


def is_animated(data: bytes) -> bool:
    """Whether a PNG or WebP file holds several pictures to be shown one after the other."""
    pictures = 0
    for kind, body in _chunks(data):
        if kind == b"acTL" and len(body) >= 4:
            pictures = int.from_bytes(body[:4], "big")
        pictures += kind == b"ANMF"
    return pictures > 1


def orientation_of(data: bytes) -> int:
    """The orientation that a PNG or WebP file states in its EXIF notes: 1 to 8, 1 where there is none."""
    for kind, body in _chunks(data):
        if kind in _EXIF:
            return _orientation(bytes(body).removeprefix(b"Exif\0\0"))
    return 1


def turned(grey: U8Array, orientation: int) -> U8Array:
    """A picture as it is meant to be seen.

    Args:
        grey: (H, W) uint8, as stored.
        orientation: As EXIF numbers them, 1 to 8.

    Returns:
        (H, W) uint8, or (W, H) from orientation 5 on; a view.
    """
    if orientation >= 5:
        grey = grey.T
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return grey[rows, columns]


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and contents of each part of the file, as far as it goes; none of a file of another kind."""
    is_png = data.startswith(_PNG)
    if not is_png and (data[:4], data[8:12]) != (b"RIFF", b"WEBP"):
        return
    place, order = (len(_PNG), ">I4s") if is_png else (12, "<4sI")
    while place + 8 <= len(data):
        first, second = struct.unpack_from(order, data, place)
        kind, length = (second, first) if is_png else (first, second)
        yield kind, memoryview(data)[place + 8 : place + 8 + length]
        place += 12 + length if is_png else 8 + length + length % 2


def _orientation(tiff: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (place,) = struct.unpack_from(f"{order}I", tiff, 4)
    if place + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, place)
    for entry in range(place + 2, min(place + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if (tag, kind) == (_ORIENTATION, _SHORT):
            return value if 1 <= value <= 8 else 1
    return 1
