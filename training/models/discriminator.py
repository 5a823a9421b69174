"""Networks that tell real photographs from composites.

`UNetDiscriminator` is the one of dual-stream training (PIH, arXiv 2303.00157, section 3.2): a U-Net under spectral
normalisation (Miyato et al. 2018) with one logit per pixel, on RGB alone. `Judge` is of another kind on purpose, a
plain convolutional classifier with the mask as input, group normalisation and one logit per patch (after PatchGAN,
Isola et al. 2017); it scores results and never takes part in training them.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["DISCRIMINATORS", "Judge", "UNetDiscriminator"]


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


class Judge(nn.Module):
    """One real-or-composite logit per patch, from the picture and the mask, blind to the seam between them.

    A composite is betrayed by its seam long before its colours, and every method leaves the same seam. So a band around
    the edge of the mask is hidden from the judge, in real photographs as in composites.

    Args:
        width: Channels after the first layer; doubled at each halving.
        seam: Half-width of the hidden band as a share of the picture's smaller side.
    """

    def __init__(self, width: int = 24, seam: float = 0.03) -> None:
        super().__init__()
        self.seam = seam
        layers: list[nn.Module] = []
        channels = 5
        for level in range(4):
            out = width * 2**level
            layers += [nn.Conv2d(channels, out, 5, 2, 2), nn.GroupNorm(8, out), nn.SiLU()]
            channels = out
        layers += [nn.Conv2d(channels, channels, 3, 1, 1), nn.SiLU(), nn.Dropout2d(0.2), nn.Conv2d(channels, 1, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, rgb: Tensor, mask: Tensor) -> Tensor:
        """Judge every patch of 16 x 16 pixels.

        Args:
            rgb: (N, 3, H, W), encoded sRGB, 0..1.
            mask: (N, 1, H, W), 1 = person, soft or binary.

        Returns:
            (N, 1, ceil(H / 16), ceil(W / 16)) logits, positive = real; their mean is the picture's.
        """
        reach = max(1, round(self.seam * min(rgb.shape[-2:])))
        window = 2 * reach + 1
        dilated = F.max_pool2d(mask, window, 1, reach)
        eroded = -F.max_pool2d(-mask, window, 1, reach)
        visible = ((dilated - eroded) < 0.5).to(rgb.dtype)
        person = (mask > 0.5).to(rgb.dtype)
        logits: Tensor = self.layers(torch.cat([(rgb * 2 - 1) * visible, person * visible, visible], dim=1))
        return logits


DISCRIMINATORS = {"unet": UNetDiscriminator, "judge": Judge}
"""The networks by name: the first trains, the second only scores."""
