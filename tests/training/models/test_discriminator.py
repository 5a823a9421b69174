"""The two networks that tell real from composite."""

from __future__ import annotations

import pytest
import torch

from training.losses import discriminator_loss
from training.models.discriminator import Judge, UNetDiscriminator


def pictures(batch: int = 2, height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    rgb = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(batch, 1, height, width)
    mask[:, :, 12:, 16:40] = 1
    return rgb, mask


def test_unet_gives_one_logit_per_pixel() -> None:
    rgb, _ = pictures()
    torch.manual_seed(0)
    model = UNetDiscriminator(width=8).eval()
    with torch.no_grad():
        together = model(rgb)
        torch.testing.assert_close(together[1:], model(rgb[1:]))
    assert together.shape == (2, 1, 48, 64)


def test_every_convolution_of_the_unet_has_spectral_norm_near_one() -> None:
    torch.manual_seed(0)
    model = UNetDiscriminator(width=8)
    with torch.no_grad():
        for _ in range(60):  # the power iteration needs some passes
            model(torch.rand(1, 3, 16, 16))
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 10
    for convolution in convolutions:
        norm = torch.linalg.matrix_norm(convolution.weight.detach().flatten(1), 2)
        assert norm.item() == pytest.approx(1, rel=0.05)


def test_unet_learns_to_find_the_tinted_person() -> None:
    torch.manual_seed(0)
    rgb, mask = pictures(2, 32, 32)
    rgb = rgb * 0.4 + 0.3
    fake = rgb + mask * torch.tensor([0.3, -0.2, 0.0]).view(3, 1, 1)
    model = UNetDiscriminator(width=8, depth=3)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        loss = discriminator_loss(model(rgb), model(fake), mask)
        loss.backward()
        optimizer.step()
    logits = model(fake)
    assert logits[mask > 0.5].mean() < logits[mask < 0.5].mean() - 1


def test_judge_gives_one_logit_per_picture_and_gradients() -> None:
    rgb, mask = pictures()
    torch.manual_seed(0)
    model = Judge()
    out = model(rgb, mask)
    out.sum().backward()
    assert out.shape == (2,)
    torch.testing.assert_close(model.eval()(rgb, mask)[1:], model(rgb[1:], mask[1:]))
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_judge_does_not_see_the_seam() -> None:
    rgb, mask = pictures()
    torch.manual_seed(0)
    model = Judge(seam=0.05).eval()
    ring = torch.zeros_like(mask)
    ring[:, :, 11:, 15:41] = 1
    ring[:, :, 13:, 17:39] = 0
    person = torch.zeros_like(mask)
    person[:, :, 24:36, 24:32] = 1
    with torch.no_grad():
        before = model(rgb, mask)
        assert torch.equal(model(rgb * (1 - ring), mask), before)
        assert not torch.equal(model(rgb * (1 - person), mask), before)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_judge_is_finite_for_masks_of_one_kind(value: float) -> None:
    rgb, mask = pictures()
    assert torch.isfinite(Judge()(rgb, torch.full_like(mask, value))).all()
