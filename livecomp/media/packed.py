"""What cameras send, to RGB: YUYV, UYVY and NV12 in the range and matrix that is stated, kinds of RGB, and JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from livecomp.frame import U8Array, freeze
from livecomp.media.convert import AVCOL_SPC_BT709, RgbConverter

__all__ = ["FORMATS", "PackedConverter", "PackedFormat"]

# four-character code of V4L2: FFmpeg's name, and OpenCV's conversion of BT.601, limited range
_RAW = {
    "YUYV": ("yuyv422", cv2.COLOR_YUV2RGB_YUYV),
    "UYVY": ("uyvy422", cv2.COLOR_YUV2RGB_UYVY),
    "NV12": ("nv12", cv2.COLOR_YUV2RGB_NV12),
}
_AVCOL_SPC_BT601 = 5

# bytes of a pixel, and OpenCV's conversion, in the order in which the bytes lie: RGB, BGR, RGBX, BGRX, RGBA, BGRA
_RGB = {
    "RGB3": (3, None),
    "BGR3": (3, cv2.COLOR_BGR2RGB),
    "XB24": (4, cv2.COLOR_RGBA2RGB),
    "XR24": (4, cv2.COLOR_BGRA2RGB),
    "AB24": (4, cv2.COLOR_RGBA2RGB),
    "AR24": (4, cv2.COLOR_BGRA2RGB),
}

# Full range to limited, for what lies at the even and the odd bytes of YUYV
_LEVELS = np.arange(256)
_LUMA = np.rint(16 + _LEVELS * 219 / 255).astype(np.uint8)
_CHROMA = np.rint(128 + (_LEVELS - 128) * 224 / 255).astype(np.uint8)
_NARROWED = {
    "YUYV": np.stack([_LUMA, _CHROMA], axis=-1).reshape(1, 256, 2),
    "UYVY": np.stack([_CHROMA, _LUMA], axis=-1).reshape(1, 256, 2),
}

FORMATS = (*_RAW, *_RGB, "MJPG")
"""Four-character codes of what can be read, best first: raw pictures have no artefacts and cost the least."""


@dataclass(frozen=True, slots=True)
class PackedFormat:
    """How a picture lies in memory.

    Args:
        fourcc: One of `FORMATS`.
        size_wh: Width and height in pixels; the width is even where chroma is shared.
        stride: Bytes from one row to the next; nothing to a JPEG.
        is_full_range: Black is 0 and white 255, instead of 16 and 235; always of RGB and JPEG.
        is_bt709: The matrix is that of BT.709 instead of BT.601; RGB has none.
    """

    fourcc: str
    size_wh: tuple[int, int]
    stride: int = 0
    is_full_range: bool = False
    is_bt709: bool = False

    def description(self, fps: Fraction) -> str:
        """For a message: "NV12 1280x720 at 30 fps, BT.601 limited range"."""
        width, height = self.size_wh
        told = f"{self.fourcc} {width}x{height} at {float(fps):g} fps"
        if self.fourcc not in _RAW:
            return told
        return f"{told}, BT.{709 if self.is_bt709 else 601} {'full' if self.is_full_range else 'limited'} range"


class PackedConverter:
    """Turns a camera's pictures into RGB.

    BT.601 in limited range, which nearly all webcams send, takes OpenCV's way, exact to 1 level: 0.4 ms at 1280x720 on
    one busy core of a server. YUYV and UYVY in full range are narrowed for it, exact to 2 levels. Other matrices take
    the way of swscale, 3 ms, see `RgbConverter`. JPEG is BT.601 in full range by definition.

    Args:
        packed: How the pictures lie in memory.
    """

    def __init__(self, packed: PackedFormat) -> None:
        self._packed = packed
        self._general = RgbConverter()

    def convert(self, data: U8Array) -> U8Array | None:
        """One picture.

        Args:
            data: (N,) uint8, as it came; not kept.

        Returns:
            (H, W, 3) uint8 sRGB, full range, read-only; None when the picture is damaged or of another size.
        """
        packed = self._packed
        width, height = packed.size_wh
        if packed.fourcc == "MJPG":
            return self._from_jpeg(data)
        is_planar = packed.fourcc == "NV12"
        pixel, to_rgb = _RGB.get(packed.fourcc, (1 if is_planar else 2, None))
        row = width * pixel
        stride = max(packed.stride, row)
        rows = height * 3 // 2 if is_planar else height
        if data.size < stride * (rows - 1) + row:
            return None
        if data.size < stride * rows:  # the last row need not be padded
            data = np.concatenate([data, np.zeros(stride * rows - data.size, np.uint8)])
        picture = data[: stride * rows].reshape(rows, stride)[:, :row]
        if not is_planar:
            picture = np.ascontiguousarray(picture).reshape(height, width, pixel)
        if packed.fourcc in _RGB:
            rgb = picture.copy() if to_rgb is None else cv2.cvtColor(picture, to_rgb)
            return freeze(np.asarray(rgb, np.uint8))
        name, code = _RAW[packed.fourcc]
        is_full_range = packed.is_full_range
        if is_full_range and not packed.is_bt709 and not is_planar:
            picture, is_full_range = np.asarray(cv2.LUT(picture, _NARROWED[packed.fourcc]), np.uint8), False
        if not is_full_range and not packed.is_bt709:
            return freeze(np.asarray(cv2.cvtColor(picture, code), np.uint8))
        frame = VideoFrame(width, height, name)
        planes = (picture,) if not is_planar else (picture[:height], picture[height:])
        for plane, source in zip(frame.planes, planes, strict=True):
            flat = source.reshape(source.shape[0], -1)
            padded = np.zeros((flat.shape[0], plane.line_size), np.uint8)
            padded[:, : flat.shape[1]] = flat
            plane.update(padded.tobytes())
        frame.color_range = ColorRange.JPEG if packed.is_full_range else ColorRange.MPEG
        frame.colorspace = AVCOL_SPC_BT709 if packed.is_bt709 else _AVCOL_SPC_BT601
        return self._general.convert(frame, packed.size_wh)

    def _from_jpeg(self, data: U8Array) -> U8Array | None:
        if data.size < 4 or data[0] != 0xFF or data[1] != 0xD8:
            return None
        try:
            rgb = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            return None
        if rgb is None or (rgb.shape[1], rgb.shape[0]) != self._packed.size_wh:
            return None
        return freeze(np.asarray(rgb, np.uint8))
