"""Networks that tell real photographs from composites.

`UNetDiscriminator` is the one of dual-stream training (PIH, arXiv 2303.00157, section 3.2): a U-Net under spectral
normalisation (Miyato et al. 2018) with one logit per pixel, on RGB alone. `Judge` is of another kind on purpose, a
plain convolutional trunk whose features are summarised over person and scene and compared by a perceptron, one logit
per picture; it scores results and never takes part in training them.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Judge", "UNetDiscriminator"]


def _normed(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    padding = (kernel - 1) // 2
    module: nn.Module = spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))
    return module


class UNetDiscriminator(nn.Module):
    """Per-pixel real (positive) or fake (negative) logits.

    Args:
        width: Channels at full size; doubled at each of the halvings.
        depth: Halvings; height and width of the input must be multiples of 2^depth.
    """

    def __init__(self, width: int = 32, depth: int = 4) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth + 1)]
        self.stem = _normed(3, width, 3)
        self.down = nn.ModuleList(_normed(a, b, 4, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            _normed(below + here, here, 3)
            for below, here in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        self.head = _normed(width, 1, 3)

    def forward(self, rgb: Tensor) -> Tensor:
        """Judge every pixel.

        Args:
            rgb: (N, 3, H, W), encoded sRGB, 0..1.

        Returns:
            (N, 1, H, W) logits.
        """
        x = F.leaky_relu(self.stem(rgb * 2 - 1), 0.2)
        skips = []
        for layer in self.down:
            skips.append(x)
            x = F.leaky_relu(layer(x), 0.2)
        for layer in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = F.leaky_relu(layer(torch.cat([x, skip], dim=1)), 0.2)
        logits: Tensor = self.head(x)
        return logits


def _summary(features: Tensor, weight: Tensor) -> Tensor:
    """Mean and spread over a region: (N, 2C)."""
    area = weight.sum((2, 3)).clamp_min(1e-3)
    mean = (features * weight).sum((2, 3)) / area
    variance = ((features - mean[..., None, None]).square() * weight).sum((2, 3)) / area
    return torch.cat([mean, (variance + 1e-4).sqrt()], dim=1)


class Judge(nn.Module):
    """One real-or-composite logit per picture, from the picture and the mask, blind to the seam between them.

    A composite is betrayed by its seam long before its colours, and every method leaves the same seam. So a band around
    the edge of the mask is hidden from the judge, in real photographs as in composites.

    Args:
        width: Channels after the first layer; doubled at each of three halvings.
        seam: Half-width of the hidden band as a share of the picture's smaller side.
        hidden: Width of the perceptron.
    """

    def __init__(self, width: int = 24, seam: float = 0.03, hidden: int = 256) -> None:
        super().__init__()
        self.seam = seam
        widths = [5, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 5, 2, 2), nn.GroupNorm(8, outputs), nn.SiLU())
            for inputs, outputs in pairwise(widths)
        )
        summaries = 2 * 2 * (3 + sum(widths[1:]))
        self.head = nn.Sequential(
            nn.LayerNorm(summaries),
            nn.Linear(summaries, hidden),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, rgb: Tensor, mask: Tensor) -> Tensor:
        """Judge every picture.

        Args:
            rgb: (N, 3, H, W), encoded sRGB, 0..1.
            mask: (N, 1, H, W), 1 = person, soft or binary.

        Returns:
            (N,) logits, positive = real.
        """
        reach = max(1, round(self.seam * min(rgb.shape[-2:])))
        window = 2 * reach + 1
        dilated = F.max_pool2d(mask, window, 1, reach)
        eroded = -F.max_pool2d(-mask, window, 1, reach)
        visible = ((dilated - eroded) < 0.5).to(rgb.dtype)
        person = (mask > 0.5).to(rgb.dtype) * visible
        regions = [person, visible - person]
        shown = (rgb * 2 - 1) * visible
        parts = [_summary(shown, region) for region in regions]
        x = torch.cat([shown, person, visible], dim=1)
        for layer in self.layers:
            x = layer(x)
            regions = [F.adaptive_avg_pool2d(region, (x.shape[2], x.shape[3])) for region in regions]
            parts += [_summary(x, region) for region in regions]
        logits: Tensor = self.head(torch.cat(parts, dim=1))
        return logits[:, 0]
