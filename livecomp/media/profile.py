"""Embedded colour profiles: what the numbers of a picture mean, where they are not sRGB."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from livecomp.frame import U8Array

__all__ = ["srgb_from_embedded"]

log = logging.getLogger(__name__)

_RGB_SPACE = "RGB "  # ICC.1:2022, table 19; profiles of CMYK and grey pictures do not fit decoded RGB
_STEPS = 6  # per channel of the colours that tell whether a profile is sRGB under another name
_SAME_LEVELS = 2


def srgb_from_embedded(rgb: U8Array, data: bytes, path: Path) -> U8Array:
    """A picture in sRGB, whatever RGB space its file's embedded ICC profile names; phones write Display P3.

    Relative colorimetric with black point compensation, as browsers do it. Colours outside sRGB are clipped.

    Args:
        rgb: (H, W, 3) uint8, the numbers as decoded.
        data: The file that they come from.
        path: Its name, for the warning about a profile that cannot be used.

    Returns:
        (H, W, 3) uint8 sRGB; `rgb` itself where there is no RGB profile, where it is sRGB to within 2 levels, or where
        it is damaged.
    """
    profile = _embedded_profile(data)
    if profile is None:
        return rgb
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _RGB_SPACE:
            return rgb
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            "RGB",
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError) as error:  # the last for a space whose name is no text
        log.warning("%s: its colour profile cannot be used (%s); its colours are taken for sRGB", path, error)
        return rgb
    levels = np.linspace(0, 255, _STEPS).astype(np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    if np.abs(_applied(transform, probe).astype(int) - probe).max() <= _SAME_LEVELS:
        return rgb
    return _applied(transform, rgb)


def _embedded_profile(data: bytes) -> bytes | None:
    with warnings.catch_warnings():
        # nothing is decompressed here, and damaged notes beside the picture are nobody's concern
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as header:
                return header.info.get("icc_profile") or None
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ):  # it could be decoded, so it is no error
            return None


def _applied(transform: ImageCms.ImageCmsTransform, rgb: U8Array) -> U8Array:
    image = Image.fromarray(rgb)
    ImageCms.applyTransform(image, transform, inPlace=True)
    return np.asarray(image, np.uint8)
