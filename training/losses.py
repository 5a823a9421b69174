"""What training minimises: the losses of PHNet, of dual-stream training, and the priors of the live model.

Pictures are (N, 3, H, W) float tensors, gamma-encoded sRGB 0..1, RGB; masks are (N, 1, H, W), 1 = person. Every loss is
first computed image by image and then averaged over the batch, so a batch of one and a batch of many agree.

PHNet (arXiv 2402.17561): eq 13-15. PIH (arXiv 2303.00157): section 3.2, dual-stream training. What differs is said at
each function.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "PHNET_WEIGHTS",
    "SkinRange",
    "blend",
    "charbonnier",
    "curve_smoothness",
    "discriminator_loss",
    "dual_supervised_loss",
    "dual_unsupervised_loss",
    "fn_mse_loss",
    "gain_smoothness",
    "generator_loss",
    "gradient_loss",
    "phnet_loss",
    "psnr_loss",
    "skin_tone_guard",
]

PHNET_WEIGHTS = {"psnr": 0.2, "fn_mse": 0.01, "grad": 0.01}
"""Weights of eq 13."""

MIN_AREA = 100.0
"""A_min of eq 14, pixels: smaller foregrounds count as if they had this many."""

ADVERSARIAL_SHARE = 0.08
"""Weight of the adversarial term in dual-stream training; L1 has the rest, 0.92."""

MIN_MSE = 1e-8
"""Floor of the mean squared error inside PSNR (80 dB at peak 1): identical images give a finite loss, gradient zero."""

MIN_PSNR = 1.0
"""Floor of PSNR in dB: 100 / PSNR would explode, and turn negative, when the error exceeds the peak."""


def blend(prediction: Tensor, composite: Tensor, mask: Tensor) -> Tensor:
    """The harmonized picture with the untouched background: eq 1."""
    return prediction * mask + composite * (1 - mask)


def psnr_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """``100 / PSNR`` with peak max(target) per image (eq 13), averaged over the batch.

    Identical images cost 100 / 80 at peak 1 (see `MIN_MSE`); an all-black target counts with a peak of 1/255.
    """
    mse = (prediction - target).square().flatten(1).mean(1).clamp_min(MIN_MSE)
    peak = target.flatten(1).amax(1).clamp_min(1 / 255)
    psnr = 10 * torch.log10(peak.square() / mse)
    return (100 / psnr.clamp_min(MIN_PSNR)).mean()


def fn_mse_loss(prediction: Tensor, target: Tensor, mask: Tensor, min_area: float = MIN_AREA) -> Tensor:
    """Foreground-normalised squared error, ``||prediction - target||² / max(A_min, sum of the mask)`` (eq 14).

    Each image is divided by its own area and the batch is averaged; dividing the error of a whole batch by one mask
    sum, as public code does, is a different loss for every batch size.

    Args:
        prediction: Already blended with the background, so that the error lies in the foreground.
        target: The real picture.
        mask: Soft or binary.
        min_area: A_min, pixels.
    """
    error = (prediction - target).square().flatten(1).sum(1)
    area = mask.flatten(1).sum(1).clamp_min(min_area)
    return (error / area).mean()


def gradient_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the horizontal plus that of the vertical forward differences (eq 15)."""
    error = prediction - target
    horizontal = error[..., :, 1:] - error[..., :, :-1]
    vertical = error[..., 1:, :] - error[..., :-1, :]
    return horizontal.square().mean() + vertical.square().mean()


def phnet_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """``0.2·L_psnr + 0.01·L_fnmse + 0.01·L_grad`` (eq 13) on the blended picture.

    Returns:
        The weighted sum, and the unweighted terms by name, detached, for logging.
    """
    terms = {
        "psnr": psnr_loss(prediction, target),
        "fn_mse": fn_mse_loss(prediction, target, mask),
        "grad": gradient_loss(prediction, target),
    }
    total = sum((PHNET_WEIGHTS[name] * term for name, term in terms.items()), start=prediction.new_zeros(()))
    return total, {name: term.detach() for name, term in terms.items()}


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, fake_mask: Tensor) -> Tensor:
    """Per-pixel cross-entropy of the discriminator: real pixels are 1, pixels of a fake are ``1 - M`` (PIH 3.2).

    The background of a fake is real, so only the person in it has to be found.

    Args:
        real_logits: (N, 1, h, w) on real photographs.
        fake_logits: (N, 1, h, w) on composites, which the caller has detached from the generator.
        fake_mask: (N, 1, H, W); brought to the logits' size by area averaging.
    """
    real = functional.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
    height, width = fake_logits.shape[-2:]
    label = 1 - functional.adaptive_avg_pool2d(fake_mask.to(fake_logits.dtype), (height, width))
    fake = functional.binary_cross_entropy_with_logits(fake_logits, label)
    return 0.5 * (real + fake)


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Per-pixel cross-entropy of the generator against "real" everywhere (PIH 3.2)."""
    return functional.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


def dual_supervised_loss(prediction: Tensor, target: Tensor, fake_logits: Tensor) -> Tensor:
    """Stream 1, retouched pairs: ``0.92·L1 + 0.08·BCE`` (PIH 3.2), L1 over the whole blended picture.

    The paper's, for comparison: `training.dual` keeps the live model's own loss in stream 1.
    """
    l1 = (prediction - target).abs().mean()
    return (1 - ADVERSARIAL_SHARE) * l1 + ADVERSARIAL_SHARE * generator_loss(fake_logits)


def dual_unsupervised_loss(fake_logits: Tensor) -> Tensor:
    """Stream 2, real composites without a truth: ``0.08·BCE`` alone (PIH 3.2)."""
    return ADVERSARIAL_SHARE * generator_loss(fake_logits)


def _masked_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask, per image, then over the batch; an image with an empty mask counts zero."""
    weighted = (value * mask).flatten(1).sum(1)
    area = mask.flatten(1).sum(1) * value.shape[1]
    return (weighted / area.clamp_min(1.0)).mean()


def charbonnier(prediction: Tensor, target: Tensor, mask: Tensor, epsilon: float = 4e-3) -> Tensor:
    """``sqrt(d² + ε²) - ε`` over the person, image by image: quadratic below ε (about 1/255), absolute above.

    Args:
        prediction: (N, 3, H, W), or any sampled set of pixels shaped (N, 3, 1, K).
        target: Like `prediction`.
        mask: (N, 1, H, W) or (N, 1, 1, K), soft or binary.
        epsilon: Where the loss turns from quadratic to linear, in units of the picture.
    """
    error = torch.sqrt((prediction - target).square() + epsilon * epsilon) - epsilon
    return _masked_mean(error, mask)


def curve_smoothness(curves: Tensor) -> Tensor:
    """Mean squared change of slope between neighbouring segments; slope 1 everywhere is identity and costs nothing.

    Args:
        curves: (N, 3, K), values at K evenly spaced nodes over 0..1.
    """
    slope = (curves[..., 1:] - curves[..., :-1]) * (curves.shape[-1] - 1)
    return (slope[..., 1:] - slope[..., :-1]).square().mean()


def gain_smoothness(log_gain: Tensor) -> Tensor:
    """Mean squared forward differences of the log-gain, horizontal plus vertical.

    Args:
        log_gain: (N, h, w), natural logarithm.
    """
    horizontal = log_gain[..., :, 1:] - log_gain[..., :, :-1]
    vertical = log_gain[..., 1:, :] - log_gain[..., :-1, :]
    return horizontal.square().mean() + vertical.square().mean()


@dataclass(frozen=True)
class SkinRange:
    """Mean colours that skin takes under the lights of a room, as ranges of two log-ratios of linear light.

    Of 169 portraits as photographed, 98 % lie in 0.27..1.03 and -1.02..-0.04; under the strongest measured lights they
    spread to -0.3..1.3 and -2.5..0.8 (5th to 95th percentile). The defaults let coloured lamps pass, not green faces.

    Args:
        red_green: Lowest and highest ln(R / G).
        blue_green: Lowest and highest ln(B / G).
    """

    red_green: tuple[float, float] = (0.05, 1.6)
    blue_green: tuple[float, float] = (-1.9, 0.35)


def skin_tone_guard(prediction: Tensor, region: Tensor, skin: SkinRange = SkinRange()) -> Tensor:
    """How far the mean colour of the skin leaves the plausible range: squared distance in log-ratios, zero inside.

    A guard, not a target: a warm lamp may make a face orange, nothing may make it green or blue.

    Args:
        prediction: (N, 3, H, W), encoded sRGB, 0..1.
        region: (N, 1, H, W), weight of each pixel as skin; images whose weights sum below one pixel count zero.
        skin: The range.
    """
    linear = prediction.clamp(0, 1).pow(2.2)
    weight = region.flatten(1).sum(1)
    mean = (linear * region).flatten(2).sum(2) / weight.clamp_min(1.0)[:, None] + 1e-4
    log_mean = mean.log()
    distance = prediction.new_zeros(prediction.shape[0])
    for channel, (low, high) in ((0, skin.red_green), (2, skin.blue_green)):
        ratio = log_mean[:, channel] - log_mean[:, 1]
        distance = distance + (ratio - high).clamp_min(0).square() + (low - ratio).clamp_min(0).square()
    return (distance * (weight >= 1)).mean()
