"""Chroma key: everything of the key's colour is background. For people with a green or blue screen."""

from __future__ import annotations

import numpy as np

from livecomp.correction import F32Array
from livecomp.errors import ConfigError
from livecomp.frame import U8Array
from livecomp.segment.kernels import key_chroma

__all__ = ["ChromaKey"]


class ChromaKey:
    """Alpha by the distance from the key in the chroma plane of YCbCr (BT.601): brightness counts less than hue.

    Alpha is 0 up to `tolerance` and rises to 1 over `softness`. The screen's light on the person is the compositor's
    business. The matte has the picture's own size.

    Args:
        key_rgb: Colour of the screen, 0..255 sRGB.
        tolerance: Distance that is still background, in units of chroma, where green and grey are 0.53 apart.
        softness: Width of the transition behind it, in the same units.

    Raises:
        ConfigError: The key is too grey to be told from skin and cloth, or a number is out of range.
    """

    name = "chroma"

    def __init__(
        self, *, key_rgb: tuple[int, int, int] = (0, 177, 64), tolerance: float = 0.18, softness: float = 0.12
    ) -> None:
        if not all(0 <= value <= 255 for value in key_rgb):
            raise ConfigError(f"expected a key colour of three numbers in 0..255, received {key_rgb}")
        if not (0 < tolerance < 1 and 0 < softness < 1):
            raise ConfigError(f"expected tolerance and softness between 0 and 1, received {tolerance} and {softness}")
        red, green, blue = (value / 255 for value in key_rgb)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        self._cb, self._cr = 0.564 * (blue - luma), 0.713 * (red - luma)
        saturation = float(np.hypot(self._cb, self._cr))
        if saturation <= tolerance:
            raise ConfigError(
                f"the key colour {key_rgb} is {saturation:.2f} away from grey: expected more than the tolerance, "
                f"{tolerance}; choose a stronger colour or a smaller tolerance"
            )
        self._tolerance = tolerance
        self._softness = softness

    def open(self) -> None:
        """Compile the kernel, or load it from numba's cache."""
        picture = np.zeros((1, 1, 3), np.uint8)
        picture.flags.writeable = False
        self.predict(picture)

    def predict(self, rgb: U8Array) -> F32Array:
        """The matte at the picture's own size."""
        matte = key_chroma(
            rgb,
            np.float32(self._cb),
            np.float32(self._cr),
            np.float32(self._tolerance),
            np.float32(self._softness),
        )
        return np.asarray(matte, np.float32)

    def reset(self) -> None:
        """Nothing to forget: it sees single pictures."""

    def close(self) -> None:
        """Nothing to release."""
