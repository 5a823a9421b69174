"""The modes of a camera, and which of them serves best."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from livecomp.media.packed import FORMATS

__all__ = ["Mode", "choose_mode", "usual_rates", "usual_sizes"]

# Halvings that weigh as much as one another: of the rate, of the picture's width, of pixels that are taken for nothing.
_RATE, _SIZE, _WASTE = 2.0, 2.0, 0.1
_UNKNOWN_FPS = Fraction(30)

_USUAL_SIZES = ((320, 180), (320, 240), (640, 360), (640, 480), (960, 540), (1280, 720), (1920, 1080))
_USUAL_RATES = (60, 30, 25, 24, 20, 15, 10, 5)


def usual_sizes(
    least_wh: tuple[int, int], most_wh: tuple[int, int], step_wh: tuple[int, int] = (1, 1)
) -> list[tuple[int, int]]:
    """Of a range of sizes, those that are usual: a camera with a range has thousands."""
    return [
        (width, height)
        for width, height in _USUAL_SIZES
        if least_wh[0] <= width <= most_wh[0] and not (width - least_wh[0]) % step_wh[0]
        if least_wh[1] <= height <= most_wh[1] and not (height - least_wh[1]) % step_wh[1]
    ]


def usual_rates(slowest: Fraction, fastest: Fraction) -> set[Fraction]:
    """Of a range of rates in 1/s, the highest and those that are usual."""
    return {fastest} | {Fraction(rate) for rate in _USUAL_RATES if slowest <= rate <= fastest}


@dataclass(frozen=True, slots=True)
class Mode:
    """One format and size that a camera has.

    Args:
        fourcc: Four-character code of the format.
        size_wh: Width and height in pixels.
        fps: Rates that it has, highest first; empty when the driver does not say, and for formats that cannot be read.
    """

    fourcc: str
    size_wh: tuple[int, int]
    fps: tuple[Fraction, ...]


def choose_mode(modes: Iterable[Mode], size_wh: tuple[int, int], fps: Fraction) -> tuple[Mode, Fraction] | None:
    """The mode nearest to what is wanted, and the rate to ask for.

    The wanted size at the wanted rate comes first, raw before JPEG. Where no mode has both, half the rate is as bad as
    half the width, and the smallest picture that covers the wanted one is better than a larger one. A picture of
    another shape counts as what is left of it once it is cut to the wanted shape.

    Args:
        modes: What the camera has.
        size_wh: Wanted width and height in pixels.
        fps: Wanted rate in 1/s.

    Returns:
        None when it has no format of `FORMATS`.
    """
    ranked = []
    for mode in modes:
        if mode.fourcc not in FORMATS or not all(mode.size_wh):
            continue
        rates = mode.fps or (_UNKNOWN_FPS,)
        rate = min((rate for rate in rates if rate >= fps), default=max(rates))
        scale = min(mode.size_wh[0] / size_wh[0], mode.size_wh[1] / size_wh[1])
        used = size_wh[0] * size_wh[1] * scale * scale
        cost = _RATE * max(0.0, math.log2(fps / rate) - 0.01)  # 29.97 is 30
        cost += _SIZE * max(0.0, -math.log2(scale)) + 2 * _WASTE * max(0.0, math.log2(scale))
        cost += _WASTE * math.log2(mode.size_wh[0] * mode.size_wh[1] / used)
        ranked.append((round(cost, 6), FORMATS.index(mode.fourcc), rate, mode))
    if not ranked:
        return None
    _, _, rate, mode = min(ranked, key=lambda entry: entry[:3])
    return mode, rate
