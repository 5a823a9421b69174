"""The pictures that flow: a `Frame` from a camera or file, and the `Composite` that may be shown.

The two are different types on purpose. A `Frame` holds the pixels of the real room, a `Composite` never does, and
sinks accept nothing else: that the room cannot appear is checked by the type checker, and again when a sink is called.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from livecomp.errors import ContractError, MatteError

__all__ = ["Composite", "Frame", "U8Array", "flat", "freeze"]

U8Array = NDArray[np.uint8]


def freeze(array: U8Array) -> U8Array:
    """Mark `array` read-only and return it; the caller gives up writing to it.

    Views taken before keep their own flag, so freeze the owner before handing out views.
    """
    array.flags.writeable = False
    return array


def flat(picture: U8Array) -> U8Array:
    """All values in a row, read-only: for compiled loops one type, whatever the strides and flags were."""
    return freeze(np.ascontiguousarray(picture).reshape(-1).view())


def _check_rgb(name: str, rgb: U8Array) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ContractError(f"{name}: expected a non-empty uint8 array of shape (H, W, 3), received {got}")
    if rgb.flags.writeable:
        raise ContractError(f"{name}: expected a read-only array, received a writable one; pass it through freeze()")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of the real room, and what the stages have added to it.

    Args:
        rgb: (H, W, 3) uint8, sRGB, full range, read-only.
        pts_ns: Presentation time in nanoseconds; strictly increasing within one source.
        alpha: (H, W) uint8, 255 = person, read-only, computed from exactly these pixels; None until segmented.
        sample_aspect_ratio: Width to height of a pixel as it is shown, 1 for square ones.

    Raises:
        ContractError: A shape or dtype is wrong, or an array can still be written to.
    """

    rgb: U8Array
    pts_ns: int
    alpha: U8Array | None = None
    sample_aspect_ratio: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        _check_rgb("Frame.rgb", self.rgb)
        alpha = self.alpha
        if alpha is None:
            return
        if not isinstance(alpha, np.ndarray) or alpha.dtype != np.uint8 or alpha.shape != self.rgb.shape[:2]:
            got = f"{alpha.dtype} {alpha.shape}" if isinstance(alpha, np.ndarray) else type(alpha).__name__
            raise ContractError(f"Frame.alpha: expected uint8 {self.rgb.shape[:2]} like the picture, received {got}")
        if alpha.flags.writeable:
            raise ContractError("Frame.alpha: expected a read-only array, received a writable one; use freeze()")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def with_alpha(self, alpha: U8Array) -> Frame:
        """The same picture with its matte; `alpha` as in the class, and frozen here."""
        return replace(self, alpha=freeze(alpha))

    def require_alpha(self) -> U8Array:
        """The matte of this frame.

        Raises:
            MatteError: It has none, so nothing of the frame may be shown.
        """
        if self.alpha is None:
            raise MatteError(f"the frame at {self.pts_ns / 1e9:.3f} s has no matte, so nothing of it may be shown")
        return self.alpha


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """A picture that may be shown: the person in the scene, or a slate. The only thing a sink accepts.

    Args:
        rgb: (H, W, 3) uint8, sRGB, full range, read-only.
        pts_ns: Presentation time in nanoseconds, that of the frame it was made from.
        kind: "composite", or "slate" when the frame could not be shown.

    Raises:
        ContractError: As for `Frame`.
    """

    rgb: U8Array
    pts_ns: int
    kind: Literal["composite", "slate"] = "composite"

    def __post_init__(self) -> None:
        _check_rgb("Composite.rgb", self.rgb)

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]
