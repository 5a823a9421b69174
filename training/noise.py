"""Noise as a camera adds it: the network sees it, the loss does not.

Portraits are clean, a raw webcam in a dim room is not: noise of 6 levels at 320x240 is 4 levels at 192². A network that
never saw any takes it for shading and brightness: over the six portraits of `tools.temporal` in dim light, the live
model's corrections had an error of 356 on clean frames when predicted from noisy ones, and 210 from clean ones.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["add_camera_noise"]


def add_camera_noise(composite: Tensor, mask: Tensor, largest: float, random: torch.Generator) -> Tensor:
    """The composites with noise of a camera, more often little than much.

    In half of them only the person has it, as over a photograph; half of the noise is coarse, as denoised and
    compressed noise is.

    Args:
        composite: (B, 3, S, S) float32, 0..1; left as it is.
        mask: (B, 1, S, S) float32, 1 = person.
        largest: Greatest standard deviation, 0..1.
        random: On the CPU.

    Returns:
        (B, 3, S, S) float32, 0..1.
    """
    count = len(composite)
    deviation = largest * torch.rand(count, generator=random).square()
    is_coarse, is_everywhere = (torch.rand(2, count, 1, 1, 1, generator=random) < 0.5).to(composite)
    noise = torch.randn(composite.shape, generator=random).to(composite)
    coarse = 3 * functional.avg_pool2d(noise, 3, stride=1, padding=1)  # as strong as it was
    noise = torch.lerp(noise, coarse, is_coarse) * torch.maximum(mask, is_everywhere)
    return (composite + noise * deviation.to(composite)[:, None, None, None]).clamp(0, 1)
