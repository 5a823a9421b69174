"""Pictures in HEIF's containers: AVIF, which the web serves, and HEIC, which phones take.

OpenCV reads the first without its orientation, if at all, and the second not.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image, ImageOps, UnidentifiedImageError, features

from livecomp.errors import DependencyError, InputError
from livecomp.frame import U8Array
from livecomp.media.colorimetry import SrgbMapper, needs_mapping, tell_of_hdr

__all__ = ["HEIF_SUFFIXES", "decode_heif", "kind_of_heif"]

log = logging.getLogger(__name__)

HEIF_SUFFIXES = frozenset({".avif", ".heic", ".heif"})

_BRANDS: dict[bytes, Literal["AVIF", "HEIF"]] = {b"avif": "AVIF", b"avis": "AVIF"}
_BRANDS |= dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1"), "HEIF")
_NCLX = b"colrnclx"  # ISO/IEC 14496-12: primaries, then transfer characteristics, as two bytes each


def kind_of_heif(data: bytes) -> Literal["AVIF", "HEIF"] | None:
    """What a file begins as, by its brand; None for other pictures."""
    return _BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None


def decode_heif(path: Path, data: bytes) -> U8Array:
    """The picture, turned as it is meant to be seen; of an animation the first.

    Args:
        path: Its name, for errors.
        data: The file.

    Returns:
        (H, W, 3) uint8, in the RGB space of its profile, or sRGB where it has none. Transparency is dropped.

    Raises:
        DependencyError: What decodes it is not installed.
        InputError: It is damaged or too large.
    """
    kind = kind_of_heif(data)
    _require(kind == "AVIF", path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, and of damaged notes beside one
            with Image.open(io.BytesIO(data), formats=[str(kind)]) as image:
                if kind == "AVIF" and getattr(image, "n_frames", 1) > 1:
                    log.warning("%s is an animation, of which only the first picture is taken", path)
                display = None if image.info.get("icc_profile") else _display(image, data)
                rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture, or is damaged") from error
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be decoded as a picture: {error}") from error
    if display is None or not needs_mapping(*display):
        return rgb
    tell_of_hdr(path, display[0])
    return np.asarray(SrgbMapper(*display).map(VideoFrame.from_ndarray(rgb, format="rgb24")).to_ndarray(), np.uint8)


def _require(is_avif: bool, path: Path) -> None:
    if is_avif:
        if not features.check("avif"):
            raise DependencyError(f"{path} is an AVIF picture, which this Pillow cannot read; save it as JPEG or PNG")
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise DependencyError(
            f"{path} is a HEIC picture; save it as JPEG or PNG, or install what reads it: "
            "python -m pip install 'livecomp[heif]'"
        ) from error
    register_heif_opener()


def _display(image: Image.Image, data: bytes) -> tuple[int, int] | None:
    """Transfer characteristics and primaries of the display that a picture is for; None where it does not say."""
    if profile := image.info.get("nclx_profile"):
        return int(profile["transfer_characteristics"]), int(profile["color_primaries"])
    place = data.find(_NCLX)  # of AVIF, Pillow does not tell
    if place < 0:
        return None
    primaries, transfer = (data[place + len(_NCLX) + at :][:2] for at in (0, 2))
    return int.from_bytes(transfer, "big"), int.from_bytes(primaries, "big")
