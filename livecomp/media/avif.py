"""Pictures as AVIF, which the web serves and OpenCV reads without their orientation, if at all."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from livecomp.errors import InputError
from livecomp.frame import U8Array

__all__ = ["decode_avif", "is_avif"]

log = logging.getLogger(__name__)

_BRANDS = (b"avif", b"avis")
_NCLX = b"colrnclx"  # ISO 23000-22: primaries, then transfer characteristics, as two bytes each
_HDR = {16: "PQ", 18: "HLG"}  # ITU-T H.273, table 3


def is_avif(data: bytes) -> bool:
    """Whether a file begins as an AVIF picture does."""
    return data[4:8] == b"ftyp" and data[8:12] in _BRANDS


def decode_avif(path: Path, data: bytes) -> U8Array:
    """The picture, turned as it is meant to be seen; of an animation the first.

    Args:
        path: Its name, for errors.
        data: The file.

    Returns:
        (H, W, 3) uint8, in the RGB space of its profile. Transparency is dropped.

    Raises:
        InputError: It is damaged or too large, has a high dynamic range, or Pillow has been built without AVIF.
    """
    if not features.check("avif"):
        raise InputError(f"{path} is an AVIF picture, which this Pillow cannot read; save it as JPEG or PNG")
    if kind := _high_dynamic_range(data):
        raise InputError(f"{path} has a high dynamic range ({kind}), which would need tone mapping; save it as JPEG")
    try:
        with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
            if getattr(image, "n_frames", 1) > 1:
                log.warning("%s is an animation, of which only the first picture is taken", path)
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture, or is damaged") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be decoded as a picture: {error}") from error


def _high_dynamic_range(data: bytes) -> str:
    """The name of the transfer function of a picture with a high dynamic range; empty for others."""
    place = data.find(_NCLX)
    if place < 0:
        return ""
    transfer = int.from_bytes(data[place + len(_NCLX) + 2 : place + len(_NCLX) + 4], "big")
    return _HDR.get(transfer, "")
