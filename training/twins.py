"""Twins: the same composite as the next frame of a camera would show it, so that the network learns to say the same.

A camera never gives the same picture twice: it adds noise, the head moves a little, and the matte breathes. What should
be corrected does not change with any of that. Predicting from picture and twin and comparing what both corrections do
to the *same* pixels measures the nervousness that a viewer sees as flicker.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["make_twins"]

MAX_NOISE = 0.03
"""Largest standard deviation of the noise, 0..1; at 64² a webcam in a dim room has about 0.01."""


def make_twins(composite: Tensor, mask: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Another frame of each composite: shifted by at most one pixel, with noise, and with another edge of the mask.

    Args:
        composite: (B, 3, S, S) float32, 0..1.
        mask: (B, 1, S, S) float32, 0..1.
        random: On the CPU.

    Returns:
        Composites and masks, like the arguments.
    """
    count, _, size, _ = composite.shape
    device = composite.device

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=random).to(device)

    both = functional.pad(torch.cat([composite, mask], 1), (1, 1, 1, 1), mode="replicate")
    dy, dx = (int(v) for v in torch.randint(0, 3, (2,), generator=random))
    moved = both[:, :, dy : dy + size, dx : dx + size]
    noise = torch.randn(count, 3, size, size, generator=random).to(device)
    noisy = (moved[:, :3] + MAX_NOISE * uniform() * noise).clamp(0, 1)
    edge = moved[:, 3:]
    soft = functional.avg_pool2d(edge, 3, stride=1, padding=1, count_include_pad=False)
    # from a sharper edge than the matte's to a softer one
    share = uniform() * 1.5 - 0.5
    return noisy, (edge + share * (soft - edge)).clamp(0, 1)
