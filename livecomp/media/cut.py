"""Whether a file's end is missing, of formats of which FFmpeg gives what there is and says nothing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["is_cut_off"]

_ASF_HEAD = 1 << 16
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1  # of such a recording nobody knew the size
_FLV_TAG = 11
_FLV_SIZE = 4  # behind each tag
_TS_SYNC = 0x47
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and where in it the sync byte is


def is_cut_off(path: Path, container_format: str) -> bool:
    """Whether a file ends in the middle of a packet, or is smaller than it says.

    Args:
        path: An MPEG-TS, FLV or ASF (WMV) file; of another format nothing is known.
        container_format: FFmpeg's name of the format.
    """
    look = {"asf": _asf, "flv": _flv, "mpegts": _mpegts}.get(container_format)
    try:
        with path.open("rb") as file:
            return look is not None and look(file, path.stat().st_size)
    except (OSError, struct.error):  # decoding it has said what is wrong
        return False


def _asf(file: BinaryIO, size: int) -> bool:
    head = file.read(_ASF_HEAD)
    place = head.find(_ASF_PROPERTIES)
    if place < 0:
        return False
    (stated,) = struct.unpack_from("<Q", head, place + 40)
    (flags,) = struct.unpack_from("<I", head, place + 88)
    return not flags & _ASF_BROADCAST and size < stated


def _flv(file: BinaryIO, size: int) -> bool:
    (place,) = struct.unpack_from(">I", file.read(9), 5)
    place += _FLV_SIZE
    while place + _FLV_TAG <= size:
        file.seek(place)
        length = int.from_bytes(file.read(_FLV_TAG)[1:4], "big")
        place += _FLV_TAG + length + _FLV_SIZE
    return place not in (size, size + _FLV_SIZE)  # some leave out the last size


def _mpegts(file: BinaryIO, size: int) -> bool:
    head = file.read(3 * _TS_PACKETS[-1][0])
    for packet, sync in _TS_PACKETS:
        if all(head[place : place + 1] == bytes([_TS_SYNC]) for place in range(sync, 3 * packet, packet)):
            return size % packet > 0
    return False
