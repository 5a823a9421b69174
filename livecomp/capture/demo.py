"""The built-in demo: NASA's portrait of an astronaut, turned into a short webcam clip.

The public-domain photograph is moved, zoomed and re-lit over time, and a little sensor noise is added, so that there is
something to segment, to harmonize and to keep steady without any file of one's own.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from livecomp.capture import SourceInfo
from livecomp.errors import InputError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.image import read_image

__all__ = ["DemoSource"]

_ASSET = Path(__file__).parents[1] / "assets" / "astronaut.jpg"
# 4:3, as older webcams have it, shows the chest; cut to 16:9 the segmentation network takes the wall beside the
# shoulder for clothes now and then.
_CENTER_XY = (240.0, 180.0)
_VIEW_WIDTH = 440.0
_SEED = 1


class DemoSource:
    """A deterministic clip of one person before a studio wall.

    Args:
        size_wh: Width and height in pixels.
        fps: Frames per second.
        seconds: Length.
    """

    def __init__(
        self, size_wh: tuple[int, int] = (960, 720), *, fps: Fraction = Fraction(30), seconds: float = 5.0
    ) -> None:
        self._size_wh = size_wh
        self._fps = fps
        self._count = round(seconds * fps)
        self._photo: U8Array | None = None
        self._noise = np.zeros((0, 0, 3), np.int16)
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`."""
        return SourceInfo("demo", self._size_wh, self._fps, 1 / self._fps, self._count)

    def open(self) -> None:
        """See `Source.open`."""
        self._photo = read_image(_ASSET)
        width, height = self._size_wh
        self._noise = np.random.default_rng(_SEED).normal(0, 1.5, (height + 64, width + 64, 3)).astype(np.int16)
        self._next = 0

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._photo is None:
            raise InputError("the demo is not open")
        if self._next >= self._count:
            return None
        index, self._next = self._next, self._next + 1
        seconds = index / float(self._fps)
        moved = cv2.warpAffine(
            self._photo, self._view(seconds), self._size_wh, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        )
        lit = np.stack([cv2.LUT(moved[..., c], table) for c, table in enumerate(_lamp(seconds))], axis=-1)
        top, left = index * 37 % 64, index * 23 % 64
        width, height = self._size_wh
        noisy = cv2.add(lit.astype(np.int16), self._noise[top : top + height, left : left + width])
        rgb = freeze(np.clip(noisy, 0, 255).astype(np.uint8))
        return Frame(rgb, round(index * 1_000_000_000 / self._fps))

    def _view(self, seconds: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """The part of the photograph that is seen: a map from frame to photograph, 2x3."""
        width, height = self._size_wh
        scale = _VIEW_WIDTH / width * (1 + 0.03 * np.sin(1.1 * seconds))
        angle = 0.012 * np.sin(1.7 * seconds)
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        center_x = _CENTER_XY[0] + 9 * np.sin(0.9 * seconds)
        center_y = _CENTER_XY[1] + 3 * np.sin(2.3 * seconds)
        shift_x = center_x - cosine * width / 2 + sine * height / 2
        shift_y = center_y - sine * width / 2 - cosine * height / 2
        return np.array([[cosine, -sine, shift_x], [sine, cosine, shift_y]], np.float32)

    def close(self) -> None:
        """See `Source.close`."""
        self._photo = None


def _lamp(seconds: float) -> list[U8Array]:
    """Tone curves for R, G, B: a lamp whose colour and power drift slowly."""
    power = 0.94 + 0.06 * np.sin(0.8 * seconds)
    warmth = 0.05 * np.sin(0.5 * seconds + 1)
    levels = np.arange(256) / 255
    gains = power * np.array([1 + warmth, 1.0, 1 - warmth])
    return [np.clip(levels * gain * 255 + 0.5, 0, 255).astype(np.uint8) for gain in gains]
