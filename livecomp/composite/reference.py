"""The compositor in plain numpy: slow, in float, and what the fast one is tested against.

For a pixel with colour C, alpha a and scene B:

1. decontaminate, where 0 < a < 1: ``F = F' + a (C - a F' - (1 - a) B')`` with the mean colours F' of the person and B'
   of the room nearby (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021, eq 5-7, with one pass at low
   resolution and with weights that leave mixed pixels out); elsewhere F = C;
2. correct: ``G = correction(F)``, the `Correction` weakened by the user's strengths;
3. wrap: ``G + s w max(L - G, 0)`` with the scene's blurred light L, strength s and w = 1 minus the blurred alpha;
4. blend: ``a G + (1 - a) B``, on encoded values or in linear light.

Where a = 0 the result is B, exactly: nothing of the room is left.
"""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.color import encoded_from_linear, linear_from_encoded
from livecomp.composite.edges import measure_edges
from livecomp.composite.planes import FEW
from livecomp.correction import Correction, F32Array
from livecomp.errors import ContractError
from livecomp.frame import Composite, Frame, U8Array, freeze

__all__ = ["ReferenceCompositor", "check_background"]


def check_background(frame: Frame, background: U8Array) -> None:
    """Refuse a background of another size or type.

    Raises:
        ContractError: It differs from the frame.
    """
    if background.dtype != np.uint8 or background.shape != frame.rgb.shape:
        raise ContractError(
            f"expected a background of {frame.rgb.shape} uint8 like the frame, "
            f"received {background.shape} {background.dtype}"
        )


class ReferenceCompositor:
    """See the module; the arguments are those of `FusedCompositor`."""

    def __init__(
        self,
        *,
        color_strength: float = 1.0,
        shading_strength: float = 1.0,
        light_wrap: float = 0.0,
        decontaminate: bool = False,
        linear_light: bool = False,
    ) -> None:
        self._color_strength = color_strength
        self._shading_strength = shading_strength
        self._light_wrap = light_wrap
        self._decontaminate = decontaminate
        self._linear_light = linear_light

    def compose(self, frame: Frame, background: U8Array, correction: Correction) -> Composite:
        """See `Compositor.compose`."""
        alpha8 = frame.require_alpha()
        check_background(frame, background)
        maps = measure_edges(
            frame.rgb, alpha8, background, decontaminate=self._decontaminate, light_wrap=self._light_wrap > 0
        )
        alpha = alpha8[..., None].astype(np.float32) / np.float32(255)
        person = frame.rgb.astype(np.float32)
        if self._decontaminate:
            inside, outside = _stretch(maps.person, frame.size_wh), _stretch(maps.room, frame.size_wh)
            near = (inside[..., :3] + FEW * person) / (inside[..., 3:] + FEW)
            room = (outside[..., :3] + FEW * person) / (outside[..., 3:] + FEW)
            clean = np.clip(near + alpha * (person - alpha * near - (1 - alpha) * room), 0, 255)
            person = np.where((alpha > 0) & (alpha < 1), clean, person)
        weakened = correction.with_strength(self._color_strength, self._shading_strength)
        person = weakened.apply(person.astype(np.float32) / np.float32(255))
        if self._light_wrap > 0:
            wrap = _stretch(maps.wrap, frame.size_wh)
            light = wrap[..., :3] / np.float32(255)
            person = person + self._light_wrap * wrap[..., 3:] * np.maximum(light - person, 0)
        scene = background.astype(np.float32) / np.float32(255)
        if self._linear_light:
            blended = alpha * linear_from_encoded(person) + (1 - alpha) * linear_from_encoded(scene)
            blended = encoded_from_linear(blended)
        else:
            blended = alpha * person + (1 - alpha) * scene
        shown = np.where(alpha == 0, background, np.clip(blended * 255 + 0.5, 0, 255).astype(np.uint8))
        return Composite(freeze(np.ascontiguousarray(shown)), frame.pts_ns)


def _stretch(small: F32Array, size_wh: tuple[int, int]) -> F32Array:
    """Bilinear, half-pixel centres, borders repeated; four channels at a time, which is what OpenCV takes."""
    parts = [
        cv2.resize(np.ascontiguousarray(small[..., start : start + 4]), size_wh, interpolation=cv2.INTER_LINEAR)
        for start in range(0, small.shape[2], 4)
    ]
    return np.asarray(np.dstack(parts), np.float32)
