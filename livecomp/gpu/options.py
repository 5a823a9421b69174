"""What whole frames are to look like."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WholeOptions"]


@dataclass(frozen=True, slots=True)
class WholeOptions:
    """What is done to frames; as in the sections of `livecomp.config.Config`.

    Args:
        matte_model: "general", "landscape" or "both".
        refine: Fit the matte to the picture's edges.
        clear: Take away half-transparent furniture beside the person.
        steady: Weight of the past in a still pixel of the matte at 30 frames/s, 0..1.
        color_strength: How much of matrix and curves is applied, 0..1.
        shading_strength: How much of the shading is applied, 0..1.
        light_wrap: How much of the scene's light bleeds over the person's edge, 0..1.
        decontaminate: Take the room's colour out of the person's edge.
        linear_light: Blend the edge in linear light.
    """

    matte_model: str = "both"
    refine: bool = True
    clear: bool = True
    steady: float = 0.6
    color_strength: float = 1.0
    shading_strength: float = 1.0
    light_wrap: float = 0.25
    decontaminate: bool = True
    linear_light: bool = False
