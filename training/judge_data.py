"""Real and composite pictures for the judge, alike in everything but the agreement of person and scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.illuminants import Lights
from training.data.scenes import RealComposite
from training.metrics import blend

__all__ = ["JudgeConfig", "JudgeData", "swapped"]

U8Array = NDArray[np.uint8]
I64Array = NDArray[np.int64]

COVERED = 0.98
"""Share of the other portrait's person that must disappear behind the one set before it."""

MAX_CLIPPED = 0.06
"""A measured light that pushes more than this share of a picture's values out of range is not used on it."""

CANDIDATES = 96
"""Other portraits that are tried for each person."""


@dataclass(frozen=True)
class JudgeConfig:
    """How the judge is made and trained.

    Args:
        size: Side of the square pictures it sees, pixels.
        width: Channels of its first layer.
        seam: Half-width of the band along the mask's edge that it does not see, as a share of the side.
        steps: Of training.
        batch: Pictures a step, half of them real.
        lr: Of AdamW at the start; falls to zero along a cosine.
        weight_decay: Of AdamW.
        swap: Share of composites with another portrait's background; the others have their own under another light.
        seed: Of weights and draws; different from that of any model it judges.
    """

    size: int = 64
    width: int = 24
    seam: float = 0.03
    steps: int = 4000
    batch: int = 64
    lr: float = 1.5e-3
    weight_decay: float = 0.02
    swap: float = 0.5
    seed: int = 7321


def _relight(rgb: Tensor, lights: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture of a batch under a light of its own: a measured cast for one half, a change of tone for the other.

    Args:
        rgb: (N, 3, H, W), encoded sRGB, 0..1.
        lights: (2, K, 3, 11): maps to standard light, and from it.
        generator: Draws.
    """
    count = rgb.shape[0]
    first, second = torch.randint(lights.shape[1], (2, count), generator=generator)
    cast = rgb.flatten(2) * 255
    clipped = torch.zeros(count, 1, 1)
    for maps in (lights[0][first], lights[1][second]):
        r, g, b = cast.unbind(1)
        terms = torch.stack([r, g, b, r * g, r * b, g * b, r * r, g * g, b * b, r * g * b, torch.ones_like(r)], dim=1)
        raw = maps @ terms
        cast = raw.clamp(0, 255)
        clipped = torch.maximum(clipped, (raw != cast).float().mean((1, 2), keepdim=True))
    noise = torch.randn(count, 3, 4, generator=generator)
    gain = torch.exp(0.12 * noise[:, :, :1] + 0.25 * noise[:, :1, 1:2])
    gamma = torch.exp(0.2 * noise[:, :1, 2:3])
    tone = rgb.flatten(2).clamp_min(1e-4).pow(gamma) * gain
    use_cast = ((torch.rand(count, 1, 1, generator=generator) < 0.6) & (clipped < MAX_CLIPPED)).float()
    return (use_cast * cast / 255 + (1 - use_cast) * tone).clamp(0, 1).reshape(rgb.shape)


class JudgeData:
    """Real and composite pictures, batch after batch.

    Args:
        portraits: (N, S, S, 4 or more) uint8: R, G, B, matte.
        lights: Measured lights.
        config: Of the judge.
    """

    def __init__(self, portraits: U8Array, lights: Lights, config: JudgeConfig) -> None:
        self._portraits = portraits
        self._lights = torch.from_numpy(np.stack([lights.to_standard, lights.from_standard]))
        self._config = config
        side = min(24, config.size)
        coarse = [cv2.resize(p[..., 3], (side, side), interpolation=cv2.INTER_AREA) for p in portraits]
        self._coarse = (np.stack(coarse).reshape(len(portraits), -1) > 64).astype(np.float32)

    def other(self, person: int, rng: np.random.Generator) -> int | None:
        """A portrait whose own person vanishes behind `person`; None when none of the candidates does."""
        candidates = rng.integers(0, len(self._coarse), CANDIDATES)
        masks = self._coarse[candidates]
        covered = masks @ self._coarse[person] / np.maximum(masks.sum(1), 1)
        good = candidates[(covered >= COVERED) & (candidates != person)]
        return int(good[0]) if len(good) else None

    def _pictures(self, index: I64Array) -> tuple[Tensor, Tensor]:
        """RGB (n, 3, S, S) and matte (n, 1, S, S), 0..1."""
        chosen = (
            torch.from_numpy(np.ascontiguousarray(self._portraits[index][..., :4])).permute(0, 3, 1, 2).float() / 255
        )
        return chosen[:, :3], chosen[:, 3:]

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (n, 3, S, S), masks (n, 1, S, S) and labels (n,), 1 = real; depends on seed and step alone."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        half = config.batch // 2
        real, real_mask = self._pictures(rng.integers(0, len(self._portraits), half))
        index = rng.integers(0, len(self._portraits), half)
        others = [self.other(int(i), rng) if rng.random() < config.swap else None for i in index]
        background = np.array([i if o is None else o for i, o in zip(index, others, strict=True)])
        person, mask = self._pictures(index)
        scene, _ = self._pictures(background)
        # a person before another's background is already out of place; before its own it needs another light
        own = torch.tensor([o is None for o in others])[:, None, None, None]
        person = torch.where(own, _relight(person, self._lights, generator), person)
        fake = person * mask + scene * (1 - mask)
        pictures, masks = torch.cat([real, fake]), torch.cat([real_mask, mask])
        world = torch.rand(len(pictures), 1, 1, 1, generator=generator) < 0.5
        pictures = torch.where(world, _relight(pictures, self._lights, generator), pictures)
        flip = torch.rand(len(pictures), 1, 1, 1, generator=generator) < 0.5
        pictures, masks = (torch.where(flip, t.flip(3), t) for t in (pictures, masks))
        return pictures, masks, torch.cat([torch.ones(half), torch.zeros(half)])


def swapped(portraits: U8Array, lights: Lights, config: JudgeConfig) -> list[RealComposite]:
    """Each person, where it can be, over the background of another portrait of the same set.

    Args:
        portraits: (N, S, S, 4 or more) uint8.
        lights: Measured lights.
        config: Its seed draws the partners.
    """
    data = JudgeData(portraits, lights, config)
    rng = np.random.default_rng([config.seed, 1])
    made = []
    for index in range(len(portraits)):
        other = data.other(index, rng)
        if other is None:
            continue
        values = portraits[[index, other]].astype(np.float32) / np.float32(255)
        alpha = np.ascontiguousarray(values[0, ..., 3])
        rgb = blend(values[0, ..., :3], values[1, ..., :3], alpha)
        made.append(RealComposite(f"{index} over {other}", rgb, alpha))
    return made
