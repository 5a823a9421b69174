"""Read and write pictures as 8-bit sRGB."""

from __future__ import annotations

import contextlib
import logging
import secrets
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.errors import InputError, OutputError
from livecomp.frame import U8Array, freeze
from livecomp.media.chunks import is_animated, orientation_of, turned
from livecomp.media.heif import HEIF_SUFFIXES, decode_heif, kind_of_heif
from livecomp.media.profile import srgb_from_embedded
from livecomp.paths import followed

__all__ = ["IMAGE_SUFFIXES", "READ_SUFFIXES", "partial_path", "read_image", "read_mask", "write_image"]

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File name endings, lower case, of pictures that are read and written."""

READ_SUFFIXES = IMAGE_SUFFIXES | HEIF_SUFFIXES
"""File name endings, lower case, of pictures that are read."""

_JPEG_OPTIONS = [
    cv2.IMWRITE_JPEG_QUALITY,
    95,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]
_WRITE_OPTIONS = {
    ".jpg": _JPEG_OPTIONS,
    ".jpeg": _JPEG_OPTIONS,
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 4],
}
# With four bytes a character the name stays below the 255 bytes of most file systems.
_PARTIAL_STEM_CHARS = 48
_PARTIAL_SUFFIX_CHARS = 6
_PARTIAL_TOKEN_BYTES = 6


def read_image(path: str | Path) -> U8Array:
    """A picture as it is meant to be seen.

    Grey and palette pictures become RGB, 16 bits become 8, CMYK is converted as well as can be without its profile, the
    orientation tag is applied, and transparency is dropped: the colour under it is kept as stored. Colours of another
    RGB space are converted as the embedded profile says. Of an animation it is the first picture, with a warning.

    Returns:
        (H, W, 3) uint8 sRGB, read-only.

    Raises:
        InputError: The file is missing, empty, damaged or no picture.
    """
    data = _load(Path(path))
    if is_animated(data):
        log.warning("%s is an animation, of which only the first picture is taken; convert it to a video", path)
    is_heif = kind_of_heif(data) is not None
    stored = decode_heif(Path(path), data) if is_heif else _decode(Path(path), data, cv2.IMREAD_COLOR_RGB)
    rgb = np.ascontiguousarray(stored, np.uint8)
    return freeze(srgb_from_embedded(rgb, data, Path(path)))


def read_mask(path: str | Path) -> U8Array:
    """A mask: the grey value of a picture, white = person; of a picture with transparency, its opacity.

    The orientation tag is applied, and 16 bits become 8.

    Returns:
        (H, W) uint8, 255 = person, read-only.

    Raises:
        InputError: As `read_image`.
    """
    data = _load(Path(path))
    stored = _decode(Path(path), data, cv2.IMREAD_UNCHANGED)
    if stored.ndim == 3 and stored.shape[2] in (2, 4) and stored[..., -1].min() < np.iinfo(stored.dtype).max:
        opacity = stored[..., -1]
        eight_bits = np.asarray(opacity >> 8 if opacity.dtype == np.uint16 else opacity, np.uint8)
        # OpenCV turns no picture that it gives with its opacity, but for TIFF
        return freeze(np.ascontiguousarray(turned(eight_bits, orientation_of(data))))
    return freeze(np.ascontiguousarray(_decode(Path(path), data, cv2.IMREAD_GRAYSCALE), np.uint8))


def write_image(path: str | Path, rgb: U8Array) -> None:
    """Write a picture in the format of the path's suffix; it appears complete or not at all, where a link leads.

    Args:
        path: Its suffix is one of `IMAGE_SUFFIXES`.
        rgb: (H, W, 3) uint8 sRGB.

    Raises:
        OutputError: The suffix is unknown, or the file cannot be written; an older file is left as it was.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise OutputError(f"{target}: expected a picture's suffix ({known}), received {suffix or 'none'!r}")
    try:
        done, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _WRITE_OPTIONS.get(suffix, []))
    except cv2.error as error:
        raise OutputError(f"{target}: a picture of {rgb.shape} cannot be encoded as {suffix}: {error.err}") from error
    if not done:
        raise OutputError(f"{target}: a picture of {rgb.shape} cannot be encoded as {suffix}")
    final = followed(target)
    partial = partial_path(final)
    try:
        partial.write_bytes(encoded.tobytes())
        partial.replace(final)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def partial_path(target: Path) -> Path:
    """Where a result is kept until it is complete: hidden in the same folder, under another name with every call."""
    stem, suffix = target.stem[:_PARTIAL_STEM_CHARS], target.suffix[:_PARTIAL_SUFFIX_CHARS]
    # a path without a name, such as ".", has a place too: whoever opens it says what is wrong
    return target.parent / f".{stem}.partial-{secrets.token_hex(_PARTIAL_TOKEN_BYTES)}{suffix}"


def _load(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise InputError(f"{path} is empty")
    return data


def _decode(path: Path, data: bytes, flags: int) -> NDArray[np.uint8 | np.uint16]:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what it would print, the error below says
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"{path} cannot be decoded as a picture: {error.err}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None:
        raise InputError(f"{path} is no picture, or is damaged; known kinds are {', '.join(sorted(READ_SUFFIXES))}")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path} holds {decoded.dtype} values; expected a picture with 8 or 16 bits per channel")
    return cast("NDArray[np.uint8 | np.uint16]", decoded)
