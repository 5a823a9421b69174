"""The live model: from a small composite and its mask to a `Correction`, cheap enough to run beside a video call.

It keeps the ideas of PHNet (arXiv 2402.17561). Both regions are described by masked statistics, global and by patch:
of the pixels themselves (moments, extremes, a learned soft histogram) and of the features of a small encoder at each of
its levels; the patches' statistics are mixed by learned α and β as in eq 6 and 7; a PFE vector (section 4.2) gates the
bottleneck together with squeeze-and-excitation. What differs: the features are never decoded to pixels. A small
perceptron turns all statistics into a colour matrix and monotone curves, and a few 1x1 convolutions turn the bottleneck
into a 16x16 log-gain; both start at identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.correction import CURVE_NODES, GAIN_SIZE, MAX_LOG_GAIN, CorrectionBatch
from training.models.backbone import FEATURES, LiteBackbone, pretrained_weights
from training.models.pn import PatchFeatureExtractor

__all__ = ["DIVISOR", "LiveNet", "LiveSpec"]

DIVISOR = 32
"""The side of the input must be a multiple of it: at 1/8 a grid of 4x4 patches has to come out even."""

MOMENTS = 9
"""Mean (3), standard deviation (3), and the correlations rg, rb, gb of a region."""

THRESHOLDS = 16
"""Steps of the soft histogram along each of its six starting directions."""

AREA_FLOOR = 1e-3
"""Smallest share of the picture by which a region's sums are divided."""


@dataclass(frozen=True)
class LiveSpec:
    """Sizes, and the parts that an ablation can leave out.

    Args:
        widths: Channels at 1/2, 1/4, 1/8 and 1/16 of the input.
        pixel_width: Channels of the per-pixel embedding.
        trunk: Width of the perceptron.
        blocks: Residual blocks of the perceptron.
        controls: Control points of each curve.
        matrix: Whether the colour matrix may leave identity.
        gain: Whether the log-gain may leave zero.
        patches: Whether statistics by patch are used.
        pfe: Whether the PFE vector gates the bottleneck.
        deep: Whether the features at 1/4 and 1/8 are convolved once more at their size.
        pretrained: Whether there is a second encoder, from ImageNet (`training.models.backbone`).
        surfaces: Learned kinds of surface whose colours are read in each region; more than 0 needs `pretrained`.
        dropout: Share of the statistics, and of the perceptron's inner values, left out at random while training.
    """

    widths: tuple[int, int, int, int] = (32, 96, 128, 256)
    pixel_width: int = 64
    trunk: int = 640
    blocks: int = 3
    controls: int = 12
    matrix: bool = True
    gain: bool = True
    patches: bool = True
    pfe: bool = True
    deep: bool = True
    pretrained: bool = False
    surfaces: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that no network has, and surfaces without the encoder that tells them apart."""
        for name, least in (("pixel_width", 1), ("trunk", 1), ("blocks", 0), ("controls", 2), ("surfaces", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"live: {name}: expected a whole number from {least} on, received {value!r}")
        for name in ("matrix", "gain", "patches", "pfe", "deep", "pretrained"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"live: {name}: expected true or false, received {getattr(self, name)!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"live: dropout: expected 0..1, received {self.dropout!r}")
        if self.surfaces and not self.pretrained:
            raise ValueError(f"live: surfaces: {self.surfaces} need pretrained = true")


def _pixel_ramps() -> tuple[Tensor, Tensor]:
    """Weights (96, 3, 1, 1) and biases of ramps over R, G, B, luma, R-G and B-G: a cumulative histogram."""
    directions = torch.tensor(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.299, 0.587, 0.114], [1, -1, 0], [0, -1, 1]], dtype=torch.float32
    )
    low = torch.tensor([0, 0, 0, 0, -0.3, -0.5])
    high = torch.tensor([1, 1, 1, 1, 0.5, 0.3])
    steps = torch.arange(THRESHOLDS) / THRESHOLDS
    slope = THRESHOLDS / (high - low)
    weight = (directions * slope[:, None])[:, None].repeat(1, THRESHOLDS, 1)
    bias = -(low[:, None] * slope[:, None] + steps[None] * THRESHOLDS)
    return weight.reshape(-1, 3, 1, 1), bias.reshape(-1)


def _regions(mask: Tensor) -> Tensor:
    """(B, 2, K) weights of foreground and background, each summing to one where the region is not tiny."""
    flat = mask.flatten(2)
    both = torch.cat([flat, 1 - flat], 1)
    return both / both.sum(2, keepdim=True).clamp_min(AREA_FLOOR * flat.shape[2])


def _means(features: Tensor, regions: Tensor) -> Tensor:
    """Mean of the features in both regions, (B, 2·C) float32."""
    flat = features.flatten(2).transpose(1, 2)
    return (regions.to(flat.dtype) @ flat).float().flatten(1)


def _pooled(features: Tensor, regions: Tensor) -> Tensor:
    """Mean and root mean square of the features in both regions, (B, 4·C)."""
    flat = features.flatten(2).transpose(1, 2)
    weight = regions.to(flat.dtype)
    spread = (weight @ flat.square()).float().clamp_min(1e-6).sqrt()
    return torch.cat([_means(features, regions), spread.flatten(1)], 1)


class PatchMix(nn.Module):
    """Background statistics by patch, mixed by learned weights per channel and patch (PHNet eq 2, 4, 6, 7).

    Args:
        channels: C.
        grid: Patches per side, a divisor of the features' side.
    """

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.alpha = nn.Parameter(torch.full((channels, grid * grid), 1 / grid**2))
        self.beta = nn.Parameter(torch.full((channels, grid * grid), 0.5413))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, 2·C) float32: mixed local means and mixed local standard deviations; zero without background."""
        size = features.shape[-1] // self.grid
        outside = 1 - mask
        area = functional.avg_pool2d(outside, size).flatten(2).float()
        there = (area / 0.05).clamp(0, 1)
        share = there / area.clamp_min(1e-4)
        weighted = features * outside.to(features.dtype)
        mean = functional.avg_pool2d(weighted, size).flatten(2).float() * share
        square = functional.avg_pool2d(weighted * features, size).flatten(2).float() * share
        variance = (square - mean.square()).clamp_min(0)
        present = there.mean(2).clamp_min(1e-3)
        local_mean = (mean * self.alpha).sum(2) / present
        beta = functional.softplus(self.beta)
        local_sd = ((variance * beta).mean(2) / present + 1e-6).sqrt()
        return torch.cat([local_mean, local_sd], 1)


class SurfaceColours(nn.Module):
    """Colours of learned kinds of surface, as skin, hair, walls or sky, in each region.

    What a light does shows best on surfaces whose own colour is known, so each place is weighed by how sure the encoder
    is of one. With a single map that is confidence-weighted pooling (FC4, Hu et al., CVPR 2017).

    Args:
        kinds: K, of each region.
        channels: Of the features at 1/4.
    """

    def __init__(self, kinds: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(FEATURES, 2 * kinds, 1)
        self.fine = nn.Conv2d(channels, 2 * kinds, 1, bias=False)

    def forward(self, rgb: Tensor, encoded: Tensor, level2: Tensor, regions: Tensor) -> Tensor:
        """(B, 8·K) float32: mean RGB of each kind, black where there is none, and the share of the region that it has.

        Args:
            rgb: (B, 3, S/4, S/4), 0..1.
            encoded: (B, 112, S/16, S/16), of the second encoder.
            level2: (B, C, S/4, S/4).
            regions: (B, 2, S/4·S/4), weights of foreground and background that sum to one.
        """
        coarse = functional.interpolate(self.coarse(encoded).float(), scale_factor=4.0, mode="nearest")
        sure = torch.sigmoid(coarse + self.fine(level2).float())
        with torch.autocast(rgb.device.type, enabled=False):
            weight = sure.view(len(sure), 2, -1, regions.shape[2]) * regions.float()[:, :, None]
            share = weight.sum(3, keepdim=True)
            mean = weight @ rgb.float().flatten(2).transpose(1, 2)[:, None] / (share + AREA_FLOOR)
            return torch.cat([mean, share], 3).flatten(1)


class _Block(nn.Module):
    """A residual perceptron block."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)
        self.down = nn.Linear(width, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.drop(functional.silu(self.up(self.norm(x)))))
        return out


def _unchanging(channels: int) -> nn.Conv2d:
    """A 3x3 convolution to be added to its input, zero at first."""
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class LiveNet(nn.Module):
    """Composite and mask in, matrix, curves and log-gain out.

    Args:
        spec: Sizes and parts.
    """

    ramp_weight: Tensor
    ramp_bias: Tensor
    upsample: Tensor

    def __init__(self, spec: LiveSpec = LiveSpec()) -> None:
        super().__init__()
        self.spec = spec
        w1, w2, w3, w4 = spec.widths
        weight, bias = _pixel_ramps()
        self.register_buffer("ramp_weight", weight, persistent=False)
        self.register_buffer("ramp_bias", bias, persistent=False)
        self.pixel = nn.Conv2d(6 * THRESHOLDS, spec.pixel_width, 1)
        self.stem = nn.Conv2d(4, w1, 4, stride=2, padding=1)
        self.down2 = nn.Conv2d(w1, w2, 2, stride=2)
        self.down3 = nn.Conv2d(w2, w3, 2, stride=2)
        self.mix3 = nn.Conv2d(w3, w3, 3, padding=1)
        self.down4 = nn.Conv2d(w3, w4, 2, stride=2)
        self.deep2 = _unchanging(w2) if spec.deep else None
        self.deep3 = _unchanging(w3) if spec.deep else None
        self.patch2 = PatchMix(w2, 4)
        self.patch3 = PatchMix(w3, 4)
        self.squeeze = nn.Sequential(nn.Linear(w4, w4 // 8), nn.ReLU(), nn.Linear(w4 // 8, w4))
        self.pfe = PatchFeatureExtractor(w4) if spec.pfe else None
        statistics = 2 * MOMENTS + 12 + 1 + 2 * 6 * THRESHOLDS + 2 * (spec.pixel_width + w1) + 4 * (w2 + w3 + w4)
        statistics += 2 * (w2 + w3) if spec.patches else 0
        self.backbone = LiteBackbone() if spec.pretrained else None
        statistics += 4 * FEATURES if spec.pretrained else 0
        self.surfaces = SurfaceColours(spec.surfaces, w2) if spec.surfaces else None
        statistics += 8 * spec.surfaces
        self.scale = nn.BatchNorm1d(statistics, momentum=0.02, affine=False)
        self.drop = nn.Dropout(spec.dropout)
        self.enter = nn.Linear(statistics, spec.trunk)
        self.blocks = nn.ModuleList(_Block(spec.trunk, spec.dropout) for _ in range(spec.blocks))
        self.leave = nn.LayerNorm(spec.trunk)
        self.to_matrix = nn.Linear(spec.trunk, 9)
        self.to_curves = nn.Linear(spec.trunk, 3 * (spec.controls + 1))
        self.to_moments = nn.Linear(spec.trunk, MOMENTS)
        self.to_gain = nn.Linear(spec.trunk, 64)
        self.gain3 = nn.Conv2d(w3, 64, 1)
        self.gain2 = nn.Conv2d(w2, 64, 1)
        self.gain1 = nn.Conv2d(64, 32, 1)
        self.gain0 = nn.Conv2d(32, 1, 3, padding=1)
        for head in (self.to_matrix, self.to_curves, self.gain0):
            nn.init.normal_(head.weight, std=1e-3)
            assert head.bias is not None
            nn.init.zeros_(head.bias)
        grid = torch.linspace(0, spec.controls - 1, CURVE_NODES - 1)
        hat = (1 - (grid[None] - torch.arange(spec.controls)[:, None]).abs()).clamp_min(0)
        self.register_buffer("upsample", hat, persistent=False)

    def load_pretrained(self) -> None:
        """Give the second encoder, if there is one, the weights it begins with.

        Raises:
            FileNotFoundError: They are not installed.
        """
        if self.backbone is not None:
            self.backbone.load_state_dict(pretrained_weights())

    def forward(self, composite: Tensor, mask: Tensor) -> tuple[CorrectionBatch, Tensor]:
        """Predict corrections, and the moments of the foreground as it should be.

        Args:
            composite: (B, 3, S, S) float32, encoded sRGB, 0..1, RGB; S a multiple of `DIVISOR`.
            mask: (B, 1, S, S) float32, 1 = person.

        Returns:
            The corrections in float32, and (B, 9) float32: mean, standard deviation and correlations of the true
            foreground as predicted, for training only.
        """
        statistics, level2, level3 = self._describe(composite, mask)
        # clamped, so that an empty or full mask stays near what was seen in training
        hidden = self.enter(self.drop(self.scale(statistics).clamp(-6, 6)))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = functional.silu(self.leave(hidden))
        correction = CorrectionBatch(self._matrix(hidden), self._curves(hidden), self._gain(hidden, level2, level3))
        return correction, self.to_moments(hidden).float()

    def _describe(self, composite: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All statistics as (B, F) float32, and the features at 1/4 and 1/8."""
        half = functional.avg_pool2d(composite, 2)
        mask1 = functional.avg_pool2d(mask, 2)
        mask2 = functional.avg_pool2d(mask1, 2)
        mask3 = functional.avg_pool2d(mask2, 2)
        mask4 = functional.avg_pool2d(mask3, 2)
        weights = [_regions(m) for m in (mask1, mask2, mask3, mask4)]
        found = [pixel_statistics(half, weights[0]), extremes(half, mask1), mask.mean((1, 2, 3))[:, None]]
        ramp = functional.conv2d(half, self.ramp_weight, self.ramp_bias).clamp(0, 1)
        found.append(_means(ramp, weights[0]))
        pixel = functional.relu(self.pixel(ramp))
        stacked = torch.cat([composite - 0.5, mask], 1).contiguous(memory_format=torch.channels_last)
        level1 = functional.relu(self.stem(stacked))
        level2 = functional.relu(self.down2(level1))
        if self.deep2 is not None:
            level2 = functional.relu(level2 + self.deep2(level2))
        level3 = functional.relu(self.down3(level2))
        level3 = level3 + functional.relu(self.mix3(level3))
        if self.deep3 is not None:
            level3 = functional.relu(level3 + self.deep3(level3))
        level4 = functional.relu(self.down4(level3))
        gate = self.squeeze(level4.mean((2, 3)))
        if self.pfe is not None:
            gate = gate + self.pfe(half, mask1)
        level4 = level4 * torch.sigmoid(gate)[:, :, None, None].to(level4.dtype)
        found += [_means(f, weights[0]) for f in (pixel, level1)]
        found += [_pooled(f, w) for f, w in zip((level2, level3, level4), weights[1:], strict=True)]
        if self.spec.patches:
            found += [self.patch2(level2, mask2), self.patch3(level3, mask3)]
        if self.backbone is not None:
            encoded = self.backbone(composite, mask)
            found.append(_pooled(encoded, weights[3]))
            if self.surfaces is not None:
                found.append(self.surfaces(functional.avg_pool2d(half, 2), encoded, level2, weights[1]))
        return torch.cat(found, 1), level2, level3

    def _matrix(self, hidden: Tensor) -> Tensor:
        eye = torch.eye(3, device=hidden.device)
        if not self.spec.matrix:
            return eye.expand(hidden.shape[0], 3, 3)
        change: Tensor = self.to_matrix(hidden).float().view(-1, 3, 3)
        return eye + change

    def _curves(self, hidden: Tensor) -> Tensor:
        """Monotone by construction: slopes are exponentials, interpolated between the control points."""
        raw = self.to_curves(hidden).float().view(-1, 3, self.spec.controls + 1)
        with torch.autocast(raw.device.type, enabled=False):
            slope = (2.5 * torch.tanh(raw[..., 1:] / 2.5) @ self.upsample).exp()
        start = 0.3 * torch.tanh(raw[..., :1] / 0.3)
        rise = slope.cumsum(-1) / (CURVE_NODES - 1)
        # the runtime reads curves within 0..1
        return torch.cat([start, start + rise], -1).clamp(0, 1)

    def _gain(self, hidden: Tensor, level2: Tensor, level3: Tensor) -> Tensor:
        if not self.spec.gain:
            return hidden.new_zeros(hidden.shape[0], GAIN_SIZE, GAIN_SIZE).float()
        coarse = self.gain3(level3) + self.to_gain(hidden)[:, :, None, None]
        fine = functional.interpolate(coarse, scale_factor=2.0, mode="nearest") + self.gain2(level2)
        raw = self.gain0(functional.relu(self.gain1(functional.relu(fine))))[:, 0].float()
        if raw.shape[-1] != GAIN_SIZE:
            pooling = torch.tensor(_pooling(raw.shape[-1]), device=raw.device)
            with torch.autocast(raw.device.type, enabled=False):
                raw = pooling @ raw @ pooling.T
        return MAX_LOG_GAIN * torch.tanh(raw / MAX_LOG_GAIN)


def _pooling(side: int) -> list[list[float]]:
    """Rows of means over `side` values, as in adaptive pooling, whose own export no engine but one understands."""
    rows = []
    for index in range(GAIN_SIZE):
        first, end = index * side // GAIN_SIZE, -(-(index + 1) * side // GAIN_SIZE)
        rows.append([1 / (end - first) if first <= column < end else 0.0 for column in range(side)])
    return rows


def pixel_statistics(rgb: Tensor, regions: Tensor) -> Tensor:
    """(B, 18) float32: mean, standard deviation and correlations of the colours in both regions."""
    with torch.autocast(rgb.device.type, enabled=False):
        flat = rgb.float().flatten(2)
        r, g, b = flat.unbind(1)
        products = torch.cat([flat, flat.square(), torch.stack([r * g, r * b, g * b], 1)], 1)
        mean = regions.float() @ products.transpose(1, 2)
        return torch.cat([moments_from_sums(mean[:, 0]), moments_from_sums(mean[:, 1])], 1)


def moments_from_sums(mean: Tensor) -> Tensor:
    """(B, 9) mean, standard deviation, correlations, from (B, 9) means of ``r g b r² g² b² rg rb gb``."""
    first, square, cross = mean[:, :3], mean[:, 3:6], mean[:, 6:]
    spread = (square - first.square()).clamp_min(1e-6).sqrt()
    r, g, b = first.unbind(1)
    sr, sg, sb = spread.unbind(1)
    covariance = cross - torch.stack([r * g, r * b, g * b], 1)
    correlation = covariance / (torch.stack([sr * sg, sr * sb, sg * sb], 1) + 1e-4)
    return torch.cat([first, spread, correlation.clamp(-1, 1)], 1)


def extremes(rgb: Tensor, mask: Tensor) -> Tensor:
    """(B, 12): largest and smallest value of each channel in both regions; 0 and 1 where a region is empty."""
    outside = 1 - mask
    parts = [(rgb * mask).amax((2, 3)), 1 - ((1 - rgb) * mask).amax((2, 3))]
    parts += [(rgb * outside).amax((2, 3)), 1 - ((1 - rgb) * outside).amax((2, 3))]
    return torch.cat(parts, 1)
