"""The twin in torch against the runtime's reference, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from livecomp.correction import CURVE_NODES, GAIN_SIZE, Correction
from training import correction as ours
from training.correction import CorrectionBatch, apply_color, apply_correction, apply_curves, gain_map


def random_correction(rng: np.random.Generator) -> Correction:
    curves = np.sort(rng.uniform(0, 1, (3, CURVE_NODES)), axis=1)
    return Correction(
        matrix=(np.eye(3) + rng.normal(0, 0.25, (3, 3))).astype(np.float32),
        curves=curves.astype(np.float32),
        log_gain=rng.uniform(-0.6, 0.6, (GAIN_SIZE, GAIN_SIZE)).astype(np.float32),
    )


def batch_of(corrections: list[Correction]) -> CorrectionBatch:
    names = ("matrix", "curves", "log_gain")
    return CorrectionBatch(*(torch.from_numpy(np.stack([getattr(c, n) for c in corrections])) for n in names))


@pytest.mark.parametrize("shape", [(256, 256), (97, 131), (16, 16), (7, 5), (1, 1)])
def test_both_agree_at_any_size(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(shape))
    corrections = [random_correction(rng) for _ in range(3)]
    rgb = rng.uniform(0, 1, (3, *shape, 3)).astype(np.float32)
    rgb[:, 0, 0] = (0, 1, 0.5)
    mine = apply_correction(torch.from_numpy(rgb).permute(0, 3, 1, 2), batch_of(corrections))
    for n in range(3):
        theirs = corrections[n].apply(rgb[n])
        difference = np.abs(mine[n].permute(1, 2, 0).numpy() - theirs).max()
        assert difference < 1e-4
        assert np.abs(theirs - rgb[n]).max() > 0.05


def test_the_constants_agree() -> None:
    assert (ours.CURVE_NODES, ours.GAIN_SIZE) == (CURVE_NODES, GAIN_SIZE)
    identity = CorrectionBatch.identity(2)
    reference = Correction.identity()
    np.testing.assert_allclose(identity.curves[1].numpy(), reference.curves, atol=1e-7)
    rgb = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(apply_correction(rgb, identity), rgb, atol=1e-6, rtol=0)


def test_gradients_of_the_curves_are_right() -> None:
    generator = torch.Generator().manual_seed(1)
    values = (torch.randint(0, 31, (2, 3, 6), generator=generator) + 0.5).double() / 31
    values.requires_grad_()
    nodes = torch.rand(2, 3, 32, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(apply_curves, (values, nodes), eps=1e-6)


def test_values_at_both_ends_have_curves() -> None:
    nodes = torch.linspace(0.1, 0.9, 32).repeat(1, 3, 1)
    ends = torch.tensor([0.0, 1.0]).repeat(1, 3, 1)
    torch.testing.assert_close(apply_curves(ends, nodes), torch.tensor([0.1, 0.9]).repeat(1, 3, 1))


def test_every_parameter_gets_a_gradient() -> None:
    batch = CorrectionBatch.identity(2)
    parameters = [p.clone().requires_grad_() for p in batch]
    rgb = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(2)) * 0.8 + 0.1
    apply_correction(rgb, CorrectionBatch(*parameters)).square().sum().backward()
    for parameter in parameters:
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert (parameter.grad != 0).float().mean() > 0.8


def test_pixels_and_pictures_agree() -> None:
    rng = np.random.default_rng(3)
    batch = batch_of([random_correction(rng)])
    rgb = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    index = torch.tensor([[0, 17, 143]])
    pixels = rgb.flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    gain = gain_map(batch.log_gain, (12, 12)).flatten(1).gather(1, index)
    whole = apply_correction(rgb, batch).flatten(2)[..., index[0]]
    torch.testing.assert_close((apply_color(pixels, batch) * gain[:, None]).clamp(0, 1), whole)
