"""Twins: the same composite as another moment of a call would show it, so that the network learns to say the same.

A camera never gives the same picture twice: it adds noise, the head moves, and the matte breathes. What should be
corrected does not change with any of that, nor in a mirror. Predicting from picture and twin and comparing what both
corrections do to the *same* pixels measures the nervousness that a viewer sees as flicker.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.correction import CorrectionBatch

__all__ = ["from_twins", "make_twins"]

MAX_NOISE = 0.03
"""Largest standard deviation of the noise, 0..1; at 64² a webcam in a dim room has about 0.01."""

MAX_CROP = 0.2
"""Largest share of a side that a twin does not show."""


def make_twins(composite: Tensor, mask: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Another moment of each composite: cropped, half of them mirrored, with noise, with another edge of the mask.

    Args:
        composite: (B, 3, S, S) float32, 0..1.
        mask: (B, 1, S, S) float32, 1 = person.
        random: On the CPU.

    Returns:
        Composites and masks, like the arguments, and (B, 2, 3) where the twins' pixels are in the originals, in
        the coordinates -1..1 of `torch.nn.functional.affine_grid`.
    """
    count, _, size, _ = composite.shape
    device = composite.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count).uniform_(low, high, generator=random)

    side = 1 - MAX_CROP * uniform(0, 1).square()
    mirror = torch.where(uniform(-1, 1) < 0, -1.0, 1.0)
    places = torch.zeros(count, 2, 3)
    places[:, 0, 0], places[:, 1, 1] = side * mirror, side
    places[:, 0, 2], places[:, 1, 2] = uniform(-1, 1) * (1 - side), uniform(-1, 1) * (1 - side)
    places = places.to(device)
    moved = _sample(torch.cat([composite, mask], 1), places)
    noise = torch.randn(count, 3, size, size, generator=random) * uniform(0, MAX_NOISE)[:, None, None, None]
    noisy = (moved[:, :3] + noise.to(device)).clamp(0, 1)
    edge = moved[:, 3:]
    soft = functional.avg_pool2d(edge, 3, stride=1, padding=1, count_include_pad=False)
    # from a sharper edge than the matte's to a softer one
    share = uniform(-0.5, 1)[:, None, None, None].to(device)
    return noisy, (edge + share * (soft - edge)).clamp(0, 1), places


def from_twins(correction: CorrectionBatch, places: Tensor) -> CorrectionBatch:
    """Corrections of twins, their log-gain put back to where it belongs in the originals.

    Args:
        correction: Of B twins.
        places: (B, 2, 3) as from `make_twins`.
    """
    scale = torch.diagonal(places[:, :, :2], dim1=1, dim2=2)
    back = torch.cat([torch.diag_embed(1 / scale), (-places[:, :, 2] / scale)[..., None]], 2)
    return correction._replace(log_gain=_sample(correction.log_gain[:, None], back)[:, 0])


def _sample(pictures: Tensor, places: Tensor) -> Tensor:
    grid = functional.affine_grid(places, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
