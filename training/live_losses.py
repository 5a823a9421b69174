"""What the live model minimises: pixels sampled from the foreground, its moments, and priors on the parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from kornia.color import rgb_to_lab
from torch import Tensor
from torch.nn import functional

from training.correction import CorrectionBatch, apply_color, gain_map
from training.losses import SkinRange, charbonnier, curve_smoothness, gain_smoothness, skin_tone_guard
from training.metrics import MIN_SHIFT

__all__ = [
    "LiveLossWeights",
    "corrected_samples",
    "likely_skin",
    "live_loss",
    "missed_shift",
    "sample_moments",
    "unsteadiness",
]


ANY_SKIN = SkinRange()

SHIFT_TOLERANCE = 0.4
"""Of the true shift of chroma, as a share: nearer than this a prediction counts as right."""


@dataclass(frozen=True)
class LiveLossWeights:
    """Weights of the terms.

    Args:
        l1: Charbonnier distance of the sampled pixels.
        mse: Their squared error, which scores look at.
        moments: Distance of mean and spread of the corrected samples from the true foreground's.
        targets: Distance of the predicted moments from the true ones (parameter targets).
        skin: Distance of the mean colour of skin from its plausible range.
        curve: Roughness of the curves.
        gain: Roughness of the log-gain.
        gain_size: Mean square of the log-gain.
        shift: How many miss the mean change of chroma, softly counted, see `missed_shift`.
        steady: Difference between what two frames of the same moment do to the same pixels, see `training.twins`.
    """

    l1: float = 1.0
    mse: float = 6.0
    moments: float = 0.5
    targets: float = 0.2
    skin: float = 0.05
    curve: float = 2e-4
    gain: float = 0.05
    gain_size: float = 0.01
    shift: float = 0.0
    steady: float = 0.0


def corrected_samples(pixels: Tensor, index: Tensor, correction: CorrectionBatch, size: int) -> Tensor:
    """Apply corrections to sampled pixels only.

    Args:
        pixels: (B, 3, K) float32 of the composite.
        index: (B, K) places in the flattened (size, size) picture.
        correction: Of B pictures.
        size: Side of the picture, pixels.

    Returns:
        (B, 3, K) float32, before the last clip, so that gradients survive where it would bite.
    """
    gain = gain_map(correction.log_gain, (size, size)).flatten(1).gather(1, index)
    return apply_color(pixels, correction) * gain[:, None]


def sample_moments(pixels: Tensor, weight: Tensor) -> Tensor:
    """(B, 6) weighted mean and standard deviation of (B, 3, K) pixels with (B, K) weights."""
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-3))[:, None]
    mean = (pixels * share).sum(2)
    variance = ((pixels - mean[..., None]).square() * share).sum(2)
    return torch.cat([mean, (variance + 1e-6).sqrt()], 1)


def likely_skin(pixels: Tensor, skin: SkinRange = ANY_SKIN) -> Tensor:
    """(B, K) zeros and ones: whether a colour lies inside the range of skin, and is neither black nor grey.

    Args:
        pixels: (B, 3, K), encoded sRGB, 0..1.
        skin: The range.
    """
    linear = pixels.clamp(0, 1).pow(2.2) + 1e-4
    red, blue = (linear[:, 0] / linear[:, 1]).log(), (linear[:, 2] / linear[:, 1]).log()
    inside = (red > skin.red_green[0] + 0.1) & (red < skin.red_green[1]) & (blue > skin.blue_green[0])
    return (inside & (blue < -0.05) & (pixels.amax(1) > 0.15)).to(pixels.dtype)


def missed_shift(before: Tensor, output: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """How far the mean a* and b* of the corrected samples miss the true ones, measured by how far they had to go.

    Squared error is least for the mean of all lights that a scene might have, which is nearer to no change than any of
    them, and it cares most for the strongest. This one wants the likeliest light, and a weak one as much as a strong
    one: with the miss d in units of `SHIFT_TOLERANCE` times the true shift it is d² / (1 + d²) (Geman and McClure
    1987), which a hopeless case hardly pulls.

    Args:
        before: (B, 3, K) samples of the composite, encoded sRGB, 0..1.
        output: (B, 3, K) of the corrected composite.
        truth: (B, 3, K) of the truth.
        weight: (B, K) the mask there.

    Returns:
        (B,) 0..1; 0 where the true shift is shorter than `training.metrics.MIN_SHIFT`.
    """
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-3))[:, None]
    start, end, goal = (
        (rgb_to_lab(x.clamp(0, 1)[:, :, None])[:, 1:, 0] * share).sum(2) for x in (before, output, truth)
    )
    size = (goal - start).square().sum(1)
    miss = (end - goal).square().sum(1) / (SHIFT_TOLERANCE**2 * size).clamp_min(1e-6)
    return miss / (1 + miss) * (size >= MIN_SHIFT**2)


def _soft_clip(value: Tensor) -> Tensor:
    """Clip to 0..1 with a little slope left outside."""
    return value.clamp(0, 1) + 0.1 * (value - value.clamp(0, 1))


def live_loss(
    correction: CorrectionBatch,
    predicted: Tensor,
    *,
    pixels: Tensor,
    index: Tensor,
    weight: Tensor,
    moments: Tensor,
    size: int,
    weights: LiveLossWeights,
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """The whole loss, in float32.

    Args:
        correction: As predicted.
        predicted: (B, 9) moments as predicted.
        pixels: (B, 2, 3, K) samples of composite and truth.
        index: (B, K) their places.
        weight: (B, K) the mask there.
        moments: (B, 9) of the true foreground.
        size: Side of the picture, pixels.
        weights: Of the terms.

    Returns:
        The loss, its unweighted terms by name (detached), and each picture's fMSE on a scale of 0..255 (detached).
    """
    before, truth = pixels[:, 0], pixels[:, 1]
    output = _soft_clip(corrected_samples(before, index, correction, size))
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-3))[:, None] / 3
    square = ((output - truth).square() * share).sum((1, 2))
    there = (weight.sum(1) > 0).float()[:, None]
    true_samples = sample_moments(truth, weight)
    terms = {
        "l1": charbonnier(output[:, :, None], truth[:, :, None], weight[:, None, None]),
        "mse": square.mean(),
        "moments": (sample_moments(output, weight) - true_samples).abs().mean(),
        "targets": (functional.smooth_l1_loss(predicted, moments, beta=0.05, reduction="none") * there).mean(),
        "skin": skin_tone_guard(output[:, :, None], (likely_skin(truth) * weight)[:, None, None]),
        "curve": curve_smoothness(correction.curves),
        "gain": gain_smoothness(correction.log_gain),
        "gain_size": correction.log_gain.square().mean(),
    }
    if weights.shift:
        terms["shift"] = missed_shift(before, output, truth, weight).mean()
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return total, {name: term.detach() for name, term in terms.items()}, square.detach() * 255**2


def unsteadiness(
    first: CorrectionBatch, second: CorrectionBatch, pixels: Tensor, index: Tensor, weight: Tensor, size: int
) -> Tensor:
    """How far two corrections of the same moment are apart: mean absolute difference on sampled pixels, 0..1.

    Args:
        first: Of B pictures.
        second: Of their twins.
        pixels: (B, 3, K) samples of the composite.
        index: (B, K) their places.
        weight: (B, K) the mask there.
        size: Side of the picture, pixels.
    """
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-3))[:, None] / 3
    apart = corrected_samples(pixels, index, first, size) - corrected_samples(pixels, index, second, size)
    return ((apart.square() + 1e-7).sqrt() * share).sum((1, 2)).mean()
