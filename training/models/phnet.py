"""PHNet (arXiv 2402.17561), sections 4.1-4.3: a U-shaped network with patch-based normalization in its decoder.

Where the paper and its public code differ, the paper is followed: PN after the transposed convolution of the last three
decoder layers with P = 9, 16, 25, BatchNorm in the lower ones, the β of the local variance in use, PFE as a vector
added to the SE weights. Parameter and multiply-add counts are those of the public networks, which settles what the
paper leaves open: each encoder layer is a pair of convolutions, the sampling one and a 3x3 one; each decoder layer a
3x3 convolution and a transposed one that mirrors the encoder's; skips are added. The composite and the mask join once
more before the last convolution, since InstanceNorm has taken the absolute colours out of the encoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.models.pn import PatchFeatureExtractor, PatchNorm

__all__ = ["PHNET_CONFIGS", "PHNet", "PHNetConfig", "build_phnet", "parameter_count"]


@dataclass(frozen=True)
class PHNetConfig:
    """The shape of one PHNet.

    Args:
        name: What the checkpoint is called after.
        channels: Output channels of the encoder layers, finest first.
        grids: Patches per side of PN in the last decoder layers, in order; P is their square.
        reduction: Of squeeze-and-excitation.
        pfe_grid: Patches per side of the feature extractor.
    """

    name: str
    channels: tuple[int, ...]
    grids: tuple[int, ...] = (3, 4, 5)
    reduction: int = 8
    pfe_grid: int = 5


PHNET_CONFIGS = {
    "phnet_40m": PHNetConfig("phnet_40m", (16, 64, 128, 256, 512, 1024)),
    "phnet_10m": PHNetConfig("phnet_10m", (16, 32, 64, 128, 256, 512)),
}
"""The published sizes, by name: 39.92 M and 9.99 M parameters."""

INPUT_CHANNELS = 4
"""RGB and mask."""

LEAK = 0.2
"""Negative slope of the decoder's LeakyReLU."""

DIVISOR = 8
"""Encoder stride: height and width of the input must be multiples of it."""


def _sampling(index: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of encoder layer `index`: k4s2 and k3s1 in turn, stride 8 in all."""
    return (4, 2, 1) if index % 2 == 0 else (3, 1, 1)


class _EncoderLayer(nn.Sequential):
    """Two convolutions, each with InstanceNorm and ReLU; the first may halve the size."""

    def __init__(self, inputs: int, outputs: int, index: int) -> None:
        kernel, stride, padding = _sampling(index)
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.ReLU(inplace=True),
        )


class _DecoderLayer(nn.Module):
    """A 3x3 convolution, a transposed one, then PN or BatchNorm and LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, index: int, grid: int | None) -> None:
        super().__init__()
        kernel, stride, padding = _sampling(index)
        self.mix = nn.Conv2d(inputs, inputs, 3, 1, 1)
        self.up = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding)
        self.patch_norm = PatchNorm(outputs, grid) if grid else None
        self.batch_norm = None if grid else nn.BatchNorm2d(outputs)
        self.activation = nn.LeakyReLU(LEAK)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        x = self.up(self.activation(self.mix(features)))
        if self.patch_norm is not None:
            x = self.patch_norm(x, mask)
        elif self.batch_norm is not None:
            x = self.batch_norm(x)
        out: Tensor = self.activation(x)
        return out


def _keep_scale(module: nn.Module) -> None:
    """Draw weights that keep the scale of the features (He et al. 2015), with the taps that meet in one output counted.

    With PyTorch's own start the bottleneck arrives at the output too weak to be learned from.
    """
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return
    transposed = isinstance(module, nn.ConvTranspose2d)
    taps = module.kernel_size[0] * module.kernel_size[1]
    if transposed:
        taps //= module.stride[0] * module.stride[1]
    nn.init.normal_(module.weight, std=math.sqrt(2 / (1 + LEAK * LEAK) / (module.in_channels * taps)))
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class _SqueezeExcitation(nn.Module):
    """Channel weights from the mean features, 0..1."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        weights: Tensor = self.gate(features.mean((2, 3)))
        return weights


class PHNet(nn.Module):
    """Composite and mask to the harmonized picture.

    Args:
        config: Its shape.
        pfe: Whether the vector of the feature extractor is added to the SE weights; the first training stage of the
            paper goes without. The parameters exist either way, and checkpoints hold the switch.
    """

    pfe_share: Tensor

    def __init__(self, config: PHNetConfig, pfe: bool = True) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("pfe_share", torch.tensor(float(pfe)))
        channels = config.channels
        inputs = (INPUT_CHANNELS, *channels[:-1])
        outputs = (channels[0], *channels[:-1])
        last = len(channels) - 1
        self.encoder = nn.ModuleList(
            _EncoderLayer(i, o, index) for index, (i, o) in enumerate(zip(inputs, channels, strict=True))
        )
        self.se = _SqueezeExcitation(channels[-1], config.reduction)
        self.pfe = PatchFeatureExtractor(channels[-1], config.pfe_grid)
        # coarsest first; layer `index` mirrors encoder layer `index`
        self.decoder = nn.ModuleList(
            _DecoderLayer(channels[index], outputs[index], index, self._grid(index)) for index in range(last, -1, -1)
        )
        self.to_rgb = nn.Conv2d(channels[0] + INPUT_CHANNELS, 3, 3, 1, 1)
        self.decoder.apply(_keep_scale)

    @property
    def use_pfe(self) -> bool:
        """Whether the feature extractor takes part."""
        return bool(self.pfe_share > 0)

    @use_pfe.setter
    def use_pfe(self, value: bool) -> None:
        self.pfe_share.fill_(float(value))

    def _grid(self, index: int) -> int | None:
        """PN grid of the decoder layer that mirrors encoder layer `index`; None for the lower ones."""
        grids = self.config.grids
        return grids[len(grids) - 1 - index] if index < len(grids) else None

    def forward(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Harmonize.

        Args:
            composite: (N, 3, H, W) float, encoded sRGB, 0..1, H and W multiples of 8.
            mask: (N, 1, H, W) float, 1 = person, 0..1, soft or binary.

        Returns:
            (N, 3, H, W), 0..1: the network's picture where the mask is 1, the composite where it is 0 (eq 1).
        """
        x = torch.cat([composite, mask], dim=1)
        skips = []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        gate = self.se(x)
        gate = gate + (self.pfe_share * self.pfe(composite, mask)).to(gate.dtype)
        x = x * gate[..., None, None]
        skips.pop()
        for layer in self.decoder:
            x = layer(x, mask)
            if skips:
                x = x + skips.pop()
        rgb = torch.sigmoid(self.to_rgb(torch.cat([x, composite.to(x.dtype), mask.to(x.dtype)], dim=1)))
        return rgb.to(composite.dtype) * mask + composite * (1 - mask)


def build_phnet(name: str, pfe: bool = True) -> PHNet:
    """A fresh PHNet of a published size.

    Raises:
        ValueError: No such size.
    """
    if name not in PHNET_CONFIGS:
        raise ValueError(f"unknown PHNet '{name}'; known are {', '.join(PHNET_CONFIGS)}")
    return PHNet(PHNET_CONFIGS[name], pfe)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
