"""Changes drawn at random, many at once: tone curves of a scene, colour matrices, and local light.

Everything is drawn for a whole batch with numpy and applied by the kernels, so that drawing costs microseconds a
picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GAIN_GRID",
    "LUT_NODES",
    "MILD",
    "ROOMS",
    "WIDE",
    "ToneRange",
    "draw_gains",
    "draw_matrices",
    "draw_tone_curves",
    "encoded_light",
    "linear_light",
]

F32 = NDArray[np.float32]

LUT_NODES = 129
"""Nodes of the curves, evenly spread over 0..1."""

GAIN_GRID = 16
"""Side of the maps of local light."""


@dataclass(frozen=True)
class ToneRange:
    """How far a scene's light may move.

    Args:
        stops: Lowest and highest exposure, factors of two in linear light.
        temperature: Largest warm-cold shift: red up and blue down, in stops each.
        tint: Largest green-magenta shift, stops.
        gamma: Largest natural logarithm of an exponent on encoded values.
        contrast: Largest change of slope around the middle, as a share.
        haze: Largest added black level, linear light.
    """

    stops: tuple[float, float] = (-1.6, 0.9)
    temperature: float = 0.8
    tint: float = 0.25
    gamma: float = 0.25
    contrast: float = 0.3
    haze: float = 0.04


MILD = ToneRange(stops=(-0.5, 0.4), temperature=0.2, tint=0.06, gamma=0.12, contrast=0.15, haze=0.01)
"""Variety of cameras and rooms, for photographs as they are."""

WIDE = ToneRange(stops=(-1.5, 0.6), temperature=0.5, tint=0.12, gamma=0.25, contrast=0.3, haze=0.04)
"""Variety of whole pictures: night, fog, strong filters."""

ROOMS = ToneRange(stops=(-0.6, 0.5), temperature=0.9, tint=0.08, gamma=0.05, contrast=0.05, haze=0.01)
"""What differs between two rooms: the colour of their lamps, and a little brightness."""


def linear_light(encoded: F32) -> F32:
    """Linear light from encoded sRGB, both 0..1 (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def encoded_light(linear: F32) -> F32:
    """The inverse of `linear_light`."""
    low = linear * 12.92
    high = 1.055 * np.maximum(linear, 1e-6) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, low, high).astype(np.float32)


def _spread(rng: np.random.Generator, count: int, limit: float) -> F32:
    """(count,) symmetric draws within ±limit, denser in the middle, with full weight on strong ones too."""
    return (limit * rng.uniform(-1, 1, count) * rng.uniform(0.3, 1, count)).astype(np.float32)


def draw_tone_curves(rng: np.random.Generator, count: int, tone: ToneRange) -> F32:
    """(count, 3, LUT_NODES) float32 curves on encoded values: exposure, white balance, haze, gamma and contrast."""
    stops = rng.uniform(*tone.stops, count).astype(np.float32)
    warm, tint = _spread(rng, count, tone.temperature), _spread(rng, count, tone.tint)
    channel = np.stack([warm, tint, -warm], axis=1)
    factor = np.exp2(stops[:, None] + channel)[:, :, None]
    haze = rng.uniform(0, tone.haze, (count, 1, 1)).astype(np.float32) * (rng.random((count, 1, 1)) < 0.3)
    nodes = np.linspace(0, 1, LUT_NODES, dtype=np.float32)
    value = encoded_light(np.minimum(linear_light(nodes) * factor + haze, 1.0).astype(np.float32))
    gamma = np.exp(_spread(rng, count, tone.gamma))[:, None, None]
    value = value**gamma
    slope = 1 + _spread(rng, count, tone.contrast)[:, None, None]
    middle = rng.uniform(0.35, 0.6, (count, 1, 1)).astype(np.float32)
    return np.clip(middle + (value - middle) * slope, 0, 1).astype(np.float32)


def draw_matrices(rng: np.random.Generator, count: int, saturation: float = 0.35, mix: float = 0.05) -> F32:
    """(count, 3, 3) float32: a change of saturation, then a little of each channel in the others; grey stays grey."""
    factor = np.exp(_spread(rng, count, saturation))[:, None, None]
    luma = np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))
    matrix = factor * np.eye(3, dtype=np.float32) + (1 - factor) * luma
    noise = rng.uniform(-mix, mix, (count, 3, 3)).astype(np.float32)
    noise -= noise.mean(2, keepdims=True)
    return ((np.eye(3, dtype=np.float32) + noise) @ matrix).astype(np.float32)


def _ramps(rng: np.random.Generator, count: int, x: F32, y: F32) -> F32:
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1)).astype(np.float32)
    along = np.cos(angle) * x + np.sin(angle) * y
    width = rng.uniform(0.15, 0.8, (count, 1, 1)).astype(np.float32)
    place = rng.uniform(-0.3, 0.3, (count, 1, 1)).astype(np.float32)
    return np.tanh((along - place) / width)


def _brushes(rng: np.random.Generator, count: int, x: F32, y: F32) -> F32:
    total = np.zeros((count, GAIN_GRID, GAIN_GRID), np.float32)
    for k in range(3):
        cx, cy = rng.uniform(-0.4, 0.4, (2, count, 1, 1)).astype(np.float32)
        radius = rng.uniform(0.1, 0.35, (count, 1, 1)).astype(np.float32)
        sign = np.where(rng.random((count, 1, 1)) < 0.5, -1, 1).astype(np.float32)
        use = (rng.random((count, 1, 1)) < (1.0, 0.6, 0.3)[k]).astype(np.float32)
        total += sign * use * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
    return total


def _vignettes(rng: np.random.Generator, count: int, x: F32, y: F32) -> F32:
    cx, cy = rng.uniform(-0.15, 0.15, (2, count, 1, 1)).astype(np.float32)
    return np.asarray(0.5 - 2.5 * ((x - cx) ** 2 + (y - cy) ** 2), np.float32)


def draw_gains(rng: np.random.Generator, count: int, limit: float = 0.45) -> F32:
    """(count, GAIN_GRID, GAIN_GRID) float32 factors: directional ramps, soft-brush dodge and burn, or vignettes.

    Args:
        rng: Source of randomness.
        count: How many.
        limit: Largest natural logarithm of a factor.
    """
    axis = ((np.arange(GAIN_GRID) + 0.5) / GAIN_GRID - 0.5).astype(np.float32)
    x, y = axis[None, None, :], axis[None, :, None]
    kinds = np.stack([_ramps(rng, count, x, y), _brushes(rng, count, x, y), _vignettes(rng, count, x, y)])
    field = kinds[rng.choice(3, count, p=[0.5, 0.35, 0.15]), np.arange(count)]
    strength = rng.uniform(0.3, 1, (count, 1, 1)).astype(np.float32) * limit
    return np.asarray(np.exp(np.clip(field * strength, -limit, limit)), np.float32)
