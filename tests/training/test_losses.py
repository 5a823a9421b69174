"""The losses, by numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training import losses

BATCH = (2, 3, 16, 16)


def pictures(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction, target and a binary mask of two different areas."""
    generator = torch.Generator().manual_seed(seed)
    prediction, target = torch.rand(BATCH, generator=generator), torch.rand(BATCH, generator=generator)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, :4], mask[1, :, :12] = 1, 1
    return prediction, target, mask


def test_psnr_loss_by_hand() -> None:
    target = torch.full((1, 3, 4, 4), 0.5)
    prediction = target + 0.05  # peak 0.5, so 20·log10(0.5 / 0.05) = 20 dB
    assert losses.psnr_loss(prediction, target).item() == pytest.approx(5.0, abs=1e-4)


def test_psnr_loss_of_identical_images_is_finite_with_zero_gradient() -> None:
    target = torch.rand(BATCH)
    prediction = target.clone().requires_grad_()
    loss = losses.psnr_loss(prediction, target)
    loss.backward()
    assert 0 < loss.item() < 1.4
    assert prediction.grad is not None
    assert torch.equal(prediction.grad, torch.zeros_like(target))


@pytest.mark.parametrize("target", [torch.zeros(BATCH), torch.ones(BATCH)])
def test_psnr_loss_of_the_opposite_is_finite(target: Tensor) -> None:
    assert losses.psnr_loss(1 - target, target).item() == pytest.approx(100.0)


def test_fn_mse_divides_each_image_by_its_own_area() -> None:
    target = torch.zeros(BATCH)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, :8], mask[1] = 1, 1  # 128 and 256 pixels
    prediction = 0.5 * mask.expand(BATCH)
    # each pixel of the foreground is off by 0.5 in three channels
    assert losses.fn_mse_loss(prediction, target, mask).item() == pytest.approx(0.75)


def test_fn_mse_counts_a_small_foreground_as_a_hundred_pixels() -> None:
    target, mask = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., :2, :5] = 1
    prediction = mask.expand(1, 3, 16, 16).clone()
    assert losses.fn_mse_loss(prediction, target, mask).item() == pytest.approx(30 / 100)


@pytest.mark.parametrize("name", ["psnr", "fn_mse", "charbonnier", "guard"])
def test_a_batch_is_the_mean_of_its_images(name: str) -> None:
    prediction, target, mask = pictures()

    def value(rows: slice) -> Tensor:
        p, t, m = prediction[rows], target[rows], mask[rows]
        return {
            "psnr": lambda: losses.psnr_loss(p, t),
            "fn_mse": lambda: losses.fn_mse_loss(p, t, m),
            "charbonnier": lambda: losses.charbonnier(p, t, m),
            "guard": lambda: losses.skin_tone_guard(p * torch.tensor([0.2, 1.0, 1.0]).view(3, 1, 1), m),
        }[name]()

    single = [value(slice(i, i + 1)) for i in range(2)]
    assert abs(single[0] - single[1]) > 1e-4, "the two images must differ for the test to mean anything"
    torch.testing.assert_close(value(slice(0, 2)), (single[0] + single[1]) / 2)


def test_gradient_loss_of_a_ramp() -> None:
    ramp = torch.arange(8.0).div(10).expand(1, 3, 8, 8)
    assert losses.gradient_loss(ramp, torch.zeros_like(ramp)).item() == pytest.approx(0.01)
    assert losses.gradient_loss(ramp + 0.3, ramp).item() == pytest.approx(0, abs=1e-12)


def test_phnet_loss_is_the_weighted_sum_of_its_terms() -> None:
    prediction, target, mask = pictures()
    total, terms = losses.phnet_loss(prediction, target, mask)
    expected = 0.2 * terms["psnr"] + 0.01 * terms["fn_mse"] + 0.01 * terms["grad"]
    torch.testing.assert_close(total, expected)


def test_discriminator_loss_calls_the_background_of_a_fake_real() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4, :] = 1
    right = 20 * (1 - 2 * mask)
    real = torch.full_like(mask, 20.0)
    assert losses.discriminator_loss(real, right, mask).item() == pytest.approx(0, abs=1e-6)
    # the fake half costs ln 2 per pixel where the discriminator is undecided, and weighs one half
    assert losses.discriminator_loss(real, torch.zeros_like(mask), mask).item() == pytest.approx(math.log(2) / 2)
    assert losses.discriminator_loss(real, -right, mask).item() == pytest.approx(10.0)


def test_discriminator_loss_fits_the_mask_to_coarser_logits() -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[..., :4] = 1
    logits = torch.tensor([-20.0, 20.0]).expand(2, 1, 2, 2)
    assert losses.discriminator_loss(torch.full_like(logits, 20), logits, mask).item() == pytest.approx(0, abs=1e-6)


def test_generator_wants_to_be_called_real_everywhere() -> None:
    assert losses.generator_loss(torch.full((1, 1, 4, 4), 20.0)).item() == pytest.approx(0, abs=1e-6)
    assert losses.generator_loss(torch.full((1, 1, 4, 4), -20.0)).item() == pytest.approx(20.0)


def test_dual_losses_weigh_as_published() -> None:
    prediction, target, _ = pictures()
    logits = torch.zeros(2, 1, 16, 16)
    l1 = (prediction - target).abs().mean().item()
    assert losses.dual_supervised_loss(prediction, target, logits).item() == pytest.approx(
        0.92 * l1 + 0.08 * math.log(2)
    )
    assert losses.dual_unsupervised_loss(logits).item() == pytest.approx(0.08 * math.log(2))


def test_charbonnier_ignores_what_is_outside() -> None:
    prediction, target, mask = pictures()
    changed = prediction + 5 * (1 - mask)
    torch.testing.assert_close(losses.charbonnier(changed, target, mask), losses.charbonnier(prediction, target, mask))
    shift = torch.full(BATCH, 0.25)
    found = losses.charbonnier(shift, torch.zeros(BATCH), mask, epsilon=1e-6).item()
    assert found == pytest.approx(0.25, abs=1e-5)


def test_charbonnier_is_quadratic_near_zero_and_zero_at_zero() -> None:
    target, mask = torch.full(BATCH, 0.5), torch.ones(2, 1, 16, 16)
    prediction = target.clone().requires_grad_()
    loss = losses.charbonnier(prediction, target, mask)
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    small = losses.charbonnier(target + 4e-4, target, mask).item()
    assert small == pytest.approx((4e-4) ** 2 / (2 * 4e-3), rel=0.01)


def test_curve_smoothness_is_zero_for_straight_lines_only() -> None:
    line = torch.linspace(0.1, 0.7, 32).expand(2, 3, 32)
    assert losses.curve_smoothness(line).item() == pytest.approx(0, abs=1e-9)
    kink = torch.tensor([0.0, 0.5, 0.5]).expand(1, 3, 3)  # slopes 1 and 0
    assert losses.curve_smoothness(kink).item() == pytest.approx(1.0)


def test_gain_smoothness_of_a_step() -> None:
    gain = torch.zeros(1, 2, 2)
    gain[0, :, 1] = 0.4
    assert losses.gain_smoothness(gain).item() == pytest.approx(0.16)
    assert losses.gain_smoothness(torch.full((1, 16, 16), 0.7)).item() == 0


SKIN = torch.tensor([0.8, 0.6, 0.5]).view(1, 3, 1, 1).expand(1, 3, 8, 8)


def test_skin_guard_lets_skin_be_and_pulls_green_back() -> None:
    region = torch.ones(1, 1, 8, 8)
    assert losses.skin_tone_guard(SKIN, region).item() == 0
    assert losses.skin_tone_guard(SKIN * torch.tensor([1.0, 0.8, 0.45]).view(3, 1, 1), region).item() == 0, "warm light"
    green = (SKIN * torch.tensor([0.7, 1.2, 0.9]).view(3, 1, 1)).clone().requires_grad_()
    loss = losses.skin_tone_guard(green, region)
    loss.backward()
    assert loss.item() > 0
    assert green.grad is not None
    assert (green.grad[:, 0] < 0).all(), "more red must lower it"
    assert (green.grad[:, 1] > 0).all(), "more green must raise it"


def test_skin_guard_without_skin_is_zero() -> None:
    assert losses.skin_tone_guard(1 - SKIN, torch.zeros(1, 1, 8, 8)).item() == 0
