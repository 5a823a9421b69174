"""The live model's loss: zero where it must be, and gradients where they are needed."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from training.correction import CorrectionBatch, apply_correction
from training.live_losses import (
    LiveLossWeights,
    corrected_samples,
    likely_skin,
    live_loss,
    missed_shift,
    sample_moments,
)


def samples(count: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 2, 3, 50, generator=generator) * 0.6 + 0.2
    return {
        "pixels": pixels,
        "index": torch.randint(0, 256, (count, 50), generator=generator),
        "weight": torch.ones(count, 50),
        "moments": torch.rand(count, 9, generator=generator),
        "size": 16,
    }


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    batch = samples()
    batch["pixels"][:, 1] = batch["pixels"][:, 0]
    loss, terms, fmse = live_loss(
        CorrectionBatch.identity(2), batch["moments"].clone(), **batch, weights=LiveLossWeights(skin=0.0)
    )
    assert float(loss) < 5e-3
    assert float(fmse.max()) < 1e-6
    assert all(float(terms[n]) < 1e-8 for n in ("mse", "targets", "curve", "gain", "gain_size"))


def test_fmse_is_that_of_the_weighted_pixels() -> None:
    batch = samples()
    batch["weight"][:, 25:] = 0
    _, _, fmse = live_loss(CorrectionBatch.identity(2), batch["moments"], **batch, weights=LiveLossWeights())
    error = (batch["pixels"][:, 0] - batch["pixels"][:, 1])[..., :25]
    torch.testing.assert_close(fmse, (error * 255).square().mean((1, 2)), rtol=1e-4, atol=1e-2)


def test_no_person_no_loss_but_finite() -> None:
    batch = samples()
    batch["weight"][:] = 0
    loss, terms, fmse = live_loss(CorrectionBatch.identity(2), torch.rand(2, 9), **batch, weights=LiveLossWeights())
    assert torch.isfinite(loss)
    assert float(terms["targets"]) == 0
    assert (fmse == 0).all()


def test_samples_are_corrected_like_pictures() -> None:
    generator = torch.Generator().manual_seed(1)
    rgb = torch.rand(2, 3, 16, 16, generator=generator) * 0.5
    identity = CorrectionBatch.identity(2)
    correction = identity._replace(log_gain=torch.rand(2, 16, 16, generator=generator) * 0.4 - 0.2)
    index = torch.randint(0, 256, (2, 30), generator=generator)
    pixels = rgb.flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    expected = apply_correction(rgb, correction).flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    torch.testing.assert_close(corrected_samples(pixels, index, correction, 16), expected)


def test_clipped_pixels_still_pull() -> None:
    batch = samples()
    identity = CorrectionBatch.identity(2)
    gain = torch.full((2, 16, 16), 0.9, requires_grad=True)
    batch["pixels"][:, 0] = 0.9
    loss, _, _ = live_loss(identity._replace(log_gain=gain), batch["moments"], **batch, weights=LiveLossWeights(0, 1))
    loss.backward()
    assert gain.grad is not None
    assert float(gain.grad.sum()) > 0


def test_each_weight_counts() -> None:
    batch = samples()
    torch.manual_seed(0)
    correction = CorrectionBatch.identity(2)
    bent = (correction.curves.square() + 0.1).clamp(0, 1)
    correction = CorrectionBatch(correction.matrix * 0.9, bent, torch.rand(2, 16, 16) * 0.3)
    batch["pixels"][:, 1] = torch.tensor([0.7, 0.5, 0.4])[None, :, None]  # skin, so that the guard has something
    batch["pixels"][:, 0] = torch.tensor([0.2, 0.5, 0.9])[None, :, None]
    zero = dict.fromkeys(LiveLossWeights.__dataclass_fields__, 0.0)
    for name in set(zero) - {"steady"}:  # of twins, which this function does not see
        loss, terms, _ = live_loss(correction, torch.rand(2, 9), **batch, weights=LiveLossWeights(**zero | {name: 2.0}))
        assert float(loss) == pytest.approx(2 * float(terms[name]))
        assert float(loss) > 0, name


def test_moments_of_samples() -> None:
    pixels = torch.rand(1, 3, 40, generator=torch.Generator().manual_seed(4))
    weight = torch.zeros(1, 40)
    weight[:, :10] = 0.5
    found = sample_moments(pixels, weight)[0]
    torch.testing.assert_close(found[:3], pixels[0, :, :10].mean(1))
    torch.testing.assert_close(found[3:], pixels[0, :, :10].std(1, correction=0), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("colour", "skin"),
    [((0.9, 0.75, 0.66), True), ((0.42, 0.29, 0.22), True), ((0.5, 0.5, 0.5), False), ((0.2, 0.5, 0.9), False),
     ((0.05, 0.03, 0.02), False), ((0.2, 0.7, 0.2), False)],
)  # fmt: skip
def test_likely_skin(colour: tuple[float, float, float], skin: bool) -> None:
    pixels: Tensor = torch.tensor(colour)[None, :, None]
    assert bool(likely_skin(pixels)[0, 0]) is skin


def chroma(pixels: Tensor) -> np.ndarray:
    """Mean a* and b* of (B, 3, K) pixels by OpenCV."""
    return np.asarray(cv2.cvtColor(pixels.permute(0, 2, 1).numpy(), cv2.COLOR_RGB2LAB)[..., 1:].mean(1))


def test_a_missed_shift_is_measured_by_its_own_length() -> None:
    before = torch.rand(3, 3, 40, generator=torch.Generator().manual_seed(2)) * 0.4 + 0.2
    truth = before * torch.tensor([1.3, 1.0, 0.6])[None, :, None]
    output = torch.lerp(before, truth, torch.tensor([0.0, 0.5, 1.0])[:, None, None])
    missed = missed_shift(before, output, truth, torch.ones(3, 40))
    far = np.square(chroma(output) - chroma(truth)).sum(1) / np.square(chroma(truth) - chroma(before)).sum(1) / 0.4**2
    np.testing.assert_allclose(missed.numpy(), far / (1 + far), atol=5e-3)
    assert float(missed[0]) > 0.85  # nothing done
    assert float(missed[2]) == 0


def test_a_shift_too_short_to_have_a_direction_is_not_judged() -> None:
    before = torch.full((1, 3, 8), 0.5)
    slight, clear = (before * torch.tensor([f, 1.0, 1.0])[None, :, None] for f in (1.01, 1.2))
    assert float(missed_shift(before, before, slight, torch.ones(1, 8))) == 0
    assert float(missed_shift(before, before, clear, torch.ones(1, 8))) > 0.8


def test_a_missed_shift_pulls_towards_the_truth_and_never_breaks() -> None:
    before = torch.tensor([0.0, 0.5, 1.0])[None, None].expand(1, 3, 3)
    output = (before.clone() * 1.2 - 0.1).requires_grad_()
    truth = before * torch.tensor([1.0, 0.9, 0.6])[None, :, None]
    missed_shift(before, output, truth, torch.ones(1, 3)).sum().backward()
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
    assert float(output.grad[0, 2, 1]) > 0  # less blue is nearer
    nobody = missed_shift(before, output, truth, torch.zeros(1, 3))
    assert float(nobody.detach()) == 0
