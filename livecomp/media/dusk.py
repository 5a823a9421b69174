"""The built-in scene: a city at dusk, out of focus, drawn by this code so that it needs no photograph.

Its light is what the demo is about: late dusk, dim and bluish, with the last of a warm, low sun from the right.
"""

from __future__ import annotations

import cv2
import numpy as np

from livecomp.frame import U8Array, freeze

__all__ = ["draw_dusk"]

_SEED = 7
_DIM = np.array([0.36, 0.36, 0.45], np.float32)
"""What is left of the light that late, in R, G, B."""


def draw_dusk(size_wh: tuple[int, int] = (1280, 720)) -> U8Array:
    """Draw the scene; the same picture every time.

    Args:
        size_wh: Width and height in pixels.

    Returns:
        (H, W, 3) uint8 sRGB, read-only.
    """
    rng = np.random.default_rng(_SEED)
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width, y / height
    heights = np.array([0.0, 0.3, 0.5, 0.62, 0.72, 1.0])
    colors = np.array(  # linear light
        [
            [0.03, 0.06, 0.17],
            [0.10, 0.10, 0.22],
            [0.42, 0.20, 0.20],
            [0.95, 0.42, 0.14],
            [0.80, 0.30, 0.09],
            [0.06, 0.03, 0.03],
        ]
    )
    light = np.stack([np.interp(y, heights, colors[:, c]) for c in range(3)], axis=-1).astype(np.float32)
    distance = np.hypot((x - 0.80) * width / height, y - 0.60)
    light += np.exp(-((distance / 0.10) ** 2))[..., None] * np.array([6.0, 3.6, 1.4], np.float32)
    light += np.exp(-distance / 0.35)[..., None] * np.array([0.70, 0.28, 0.06], np.float32)
    for distant, base, shade in ((26, 0.58, (0.16, 0.085, 0.085)), (15, 0.66, (0.045, 0.028, 0.038))):
        edges = np.sort(rng.uniform(-0.02, 1.0, distant))
        tops = base - rng.uniform(0.02, 0.24, distant) * np.where(rng.random(distant) < 0.35, 1.3, 0.5)
        skyline = tops[np.clip(np.searchsorted(edges, x[0]) - 1, 0, distant - 1)]
        mass = (y > skyline[None, :]).astype(np.float32)
        mass = cv2.GaussianBlur(mass, (0, 0), height / 120)[..., None]
        haze = np.exp(-np.abs(x - 0.80) / 0.22)[..., None] * np.array([0.30, 0.13, 0.04], np.float32)
        light = light * (1 - mass) + (np.array(shade, np.float32) + haze) * mass
    lamps = np.zeros_like(light)
    palette = np.array([[1.6, 0.8, 0.25], [1.5, 1.0, 0.5], [1.2, 0.35, 0.15], [0.5, 0.65, 1.1]])
    for _ in range(90):
        center = (int(rng.uniform(0, width)), int(height * (0.60 + 0.34 * rng.random() ** 1.4)))
        radius = max(1, int(height * rng.uniform(0.006, 0.022)))
        color = palette[rng.choice(4, p=[0.45, 0.3, 0.15, 0.1])] * rng.uniform(0.15, 0.7)
        side = 2 * radius + 3
        disc = np.zeros((side, side), np.uint8)
        cv2.circle(disc, (side // 2, side // 2), radius, 255, -1, cv2.LINE_AA)
        left, top = center[0] - side // 2, center[1] - side // 2
        part = lamps[max(0, top) : top + side, max(0, left) : left + side]
        seen = disc[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]
        part += seen[..., None] / np.float32(255) * color.astype(np.float32)
    light += cv2.GaussianBlur(lamps, (0, 0), height / 400)
    small = cv2.resize(lamps, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    glow = cv2.GaussianBlur(small, (0, 0), height / 100)  # a wide blur is cheaper on a small copy
    light += cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR).reshape(light.shape) * 0.6
    mapped = (1 - np.exp(-1.25 * light)) * _DIM
    encoded = np.where(mapped <= 0.0031308, 12.92 * mapped, 1.055 * np.maximum(mapped, 1e-6) ** (1 / 2.4) - 0.055)
    grain = rng.normal(0, 0.006, (height, width, 1))
    return freeze(np.clip((encoded + grain) * 255 + 0.5, 0, 255).astype(np.uint8))
