"""Patch-based normalization (PN) and its use as a feature extractor (PFE), after PHNet (arXiv 2402.17561).

Equations 2-12. Foreground features are brought to the statistics of the background: those of the whole background, and
a learned mixture of those of its patches. All patches are summarised at once by two matrix products, so the block
exports to a handful of nodes and works for sizes that the grid does not divide.

What the paper leaves open is settled here: a patch without background gives its weight to the average of the patches
that have some; without any background the foreground keeps its own statistics; β is non-negative through softplus; α
starts as a plain average, 1/P, and β at 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PatchFeatureExtractor", "PatchNorm", "RegionStatistics", "masked_statistics", "patch_statistics"]

EPSILON = 1e-7
"""Added to variances and areas, as in the paper."""

SOFTPLUS_ONE = math.log(math.e - 1)
"""The number whose softplus is 1."""


@dataclass(frozen=True)
class RegionStatistics:
    """Mean and spread of the features in one region.

    Args:
        mean: (N, C, 1, 1) for a whole region, (N, C, P) for P patches.
        variance: Like `mean`; never negative.
        presence: (N, 1, 1, 1) or (N, 1, P), 0..1: whether the region has any area; 1 from one pixel on.
    """

    mean: Tensor
    variance: Tensor
    presence: Tensor

    @property
    def sd(self) -> Tensor:
        """Standard deviation, at least sqrt(1e-7)."""
        return torch.sqrt(self.variance + EPSILON)


def masked_statistics(features: Tensor, weight: Tensor) -> RegionStatistics:
    """Mean and variance per channel over a region (eq 2, 3); zeros where the region is empty.

    Args:
        features: (N, C, H, W).
        weight: (N, 1, H, W), 0..1, soft or binary.
    """
    area = weight.sum((2, 3), keepdim=True)
    mean = (features * weight).sum((2, 3), keepdim=True) / (area + EPSILON)
    variance = ((features - mean).square() * weight).sum((2, 3), keepdim=True) / (area + EPSILON)
    return RegionStatistics(mean, variance, area.clamp(max=1))


def _membership(size: int, grid: int, like: Tensor) -> Tensor:
    """(grid, size) matrix of zeros and ones: row g marks the pixels of strip g, from ``g·size // grid``."""
    index = torch.arange(size, device=like.device) * grid
    strip = torch.div(index + grid - 1, size, rounding_mode="floor").clamp(max=grid - 1)
    rows = torch.arange(grid, device=like.device)
    return (strip[None] == rows[:, None]).to(like.dtype)


def patch_statistics(features: Tensor, weight: Tensor, grid: int) -> RegionStatistics:
    """Mean and variance per channel and patch over a region (eq 2, 4), for a grid x grid raster of patches.

    Args:
        features: (N, C, H, W); best roughly centred, since the variance is the mean square minus the squared mean.
        weight: (N, 1, H, W), 0..1.
        grid: Patches per side, at most the smaller side.

    Raises:
        ValueError: The picture has fewer pixels per side than patches.
    """
    count, channels, height, width = features.shape
    if min(height, width) < grid:
        raise ValueError(f"patch_statistics: expected sides of at least {grid} pixels, received {height}x{width}")
    rows, columns = _membership(height, grid, features), _membership(width, grid, features).T
    weighted = features * weight
    stacked = torch.cat([weighted, weighted * features, weight], dim=1)
    sums = (rows @ stacked @ columns).reshape(count, 2 * channels + 1, grid * grid)
    area = sums[:, 2 * channels :]
    mean = sums[:, :channels] / (area + EPSILON)
    variance = (sums[:, channels : 2 * channels] / (area + EPSILON) - mean.square()).clamp_min(0)
    return RegionStatistics(mean, variance, area.clamp(max=1))


def _mix(values: Tensor, weights: Tensor, presence: Tensor) -> Tensor:
    """Weighted sum over patches in which absent patches hand their weight to the average of the present ones.

    Args:
        values: (N, C, P).
        weights: (C, P).
        presence: (N, 1, P), 0..1.

    Returns:
        (N, C, 1, 1); zero when no patch is present.
    """
    average = (values * presence).sum(2) / presence.sum(2).clamp_min(EPSILON)
    present = (values * (presence * weights)).sum(2)
    absent = ((1 - presence) * weights).sum(2)
    return (present + absent * average)[..., None, None]


@dataclass(frozen=True)
class _Targets:
    """What the features have and what they are brought to, each (N, C, 1, 1)."""

    foreground: RegionStatistics
    mean: Tensor
    sd: Tensor
    local_mean: Tensor
    local_sd: Tensor


def _targets(features: Tensor, mask: Tensor, alpha: Tensor, beta: Tensor, grid: int) -> _Targets:
    """Statistics of both regions, and the learned mixture of the patches' (eq 2-4, 6, 7)."""
    foreground = masked_statistics(features, mask)
    background = masked_statistics(features, 1 - mask)
    # without a background the foreground keeps its own statistics
    there = background.presence
    mean = there * background.mean + (1 - there) * foreground.mean
    variance = there * background.variance + (1 - there) * foreground.variance
    local = patch_statistics(features - mean, 1 - mask, grid)
    any_patch = local.presence.amax(2)[..., None, None]
    mixed = _mix(local.variance, beta, local.presence) / (grid * grid)
    return _Targets(
        foreground=foreground,
        mean=mean,
        sd=torch.sqrt(variance + EPSILON),
        local_mean=mean * alpha.sum(1)[:, None, None] + _mix(local.mean, alpha, local.presence),
        local_sd=torch.sqrt(any_patch * mixed + (1 - any_patch) * variance + EPSILON),
    )


def _foreground_line(targets: _Targets, w_local: Tensor, w_global: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset per channel of ``w_local·F_loc + w_global·F_glob`` (eq 5, 8, 10), both linear in F."""
    scale = (w_local * targets.local_sd + w_global * targets.sd) / targets.foreground.sd
    offset = w_local * targets.local_mean + w_global * targets.mean - scale * targets.foreground.mean
    return scale, offset


class PatchNorm(nn.Module):
    """The PN block (eq 2-12): foreground and background features, normalised apart and joined again.

    Args:
        channels: C.
        grid: Patches per side, so P = grid².
    """

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        patches = grid * grid
        self.alpha = nn.Parameter(torch.full((channels, patches), 1 / patches))
        self.beta_raw = nn.Parameter(torch.full((channels, patches), SOFTPLUS_ONE))
        self.w = nn.Parameter(torch.tensor([0.5, 0.5, 0.0])[:, None, None, None].repeat(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.tensor([0.5, 0.5, 0.0])[:, None, None, None].repeat(1, channels, 1, 1))

    @property
    def beta(self) -> Tensor:
        """(C, P) weights of the patches' variances, non-negative."""
        return F.softplus(self.beta_raw)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Normalise in float32, whatever the autocast type.

        Args:
            features: (N, C, H, W).
            mask: (N, 1, H', W'), 1 = person, 0..1; brought to the features' size by nearest neighbour.

        Returns:
            (N, C, H, W), of the dtype of `features`.
        """
        dtype = features.dtype
        with torch.autocast(features.device.type, enabled=False):
            if mask.shape[-2:] != features.shape[-2:]:
                mask = F.interpolate(mask.float(), size=features.shape[-2:], mode="nearest")
            x, m = features.float(), mask.float()
            targets = _targets(x, m, self.alpha, self.beta, self.grid)
            scale, offset = _foreground_line(targets, self.w[0], self.w[1])
            # the background's way through eq 9 and 11 is a line as well
            slope = self.gamma[0] * targets.local_sd / targets.sd
            shift = self.gamma[0] * targets.local_mean - slope * targets.mean + self.gamma[2]
            slope = slope + self.gamma[1]
            foreground = x * scale + (offset + self.w[2])
            out = (x * slope + shift) * (1 - m) + foreground * m
        return out.to(dtype)


class PatchFeatureExtractor(nn.Module):
    """PFE (section 4.2): PN on the RGB input with plain averages over 5x5 patches, pooled to one value per channel.

    Only w0 and w1 are trained, one pair per colour. The normalised picture, colour by colour and row by row, is
    averaged in equal runs, as many as there are channels at the bottleneck.

    Args:
        features: Length of the vector.
        grid: Patches per side.
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, features: int, grid: int = 5) -> None:
        super().__init__()
        self.features = features
        self.grid = grid
        self.w = nn.Parameter(torch.full((2, 3, 1, 1), 0.5))
        self.register_buffer("alpha", torch.full((3, grid * grid), 1 / (grid * grid)), persistent=False)
        self.register_buffer("beta", torch.ones(3, grid * grid), persistent=False)

    def forward(self, rgb: Tensor, mask: Tensor) -> Tensor:
        """Describe the composite.

        Args:
            rgb: (N, 3, H, W), 0..1.
            mask: (N, 1, H, W), 1 = person.

        Returns:
            (N, features) float32.
        """
        with torch.autocast(rgb.device.type, enabled=False):
            x, m = rgb.float(), mask.float()
            targets = _targets(x, m, self.alpha, self.beta, self.grid)
            scale, offset = _foreground_line(targets, self.w[0], self.w[1])
            flat = (x * (1 - m) + (x * scale + offset) * m).flatten(1)
            if flat.shape[1] % self.features == 0:
                return flat.reshape(flat.shape[0], self.features, -1).mean(2)
            return F.adaptive_avg_pool1d(flat[:, None], self.features)[:, 0]
