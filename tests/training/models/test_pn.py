"""Patch-based normalization against the equations written out with loops."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from training.models.pn import PatchFeatureExtractor, PatchNorm, masked_statistics, patch_statistics

SIZE = (17, 22)
CHANNELS = 3


def features(seed: int = 0, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, CHANNELS, *SIZE, generator=generator) * 2 + 5


def binary(batch: int = 2) -> Tensor:
    mask = torch.zeros(batch, 1, *SIZE)
    mask[:, :, :9, :12] = 1
    mask[1:, :, 4:, 3:20] = 1
    return mask


def soft() -> Tensor:
    return torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(5))


def moments(values: Tensor, weight: Tensor) -> tuple[float, float]:
    mean = (values * weight).sum() / weight.sum()
    return float(mean), float(((values - mean).square() * weight).sum() / weight.sum())


@torch.no_grad()
def written_out(block: PatchNorm, x: Tensor, m: Tensor) -> Tensor:
    """Eq 2-12 for one image, channel by channel and patch by patch."""
    out = torch.empty_like(x)
    grid, (height, width) = block.grid, x.shape[-2:]
    b = 1 - m[0]
    for c in range(x.shape[0]):
        f_mean, f_var = moments(x[c], m[0])
        b_mean, b_var = moments(x[c], b)
        means, variances, alphas, betas = [], [], [], []
        for p in range(grid * grid):
            row, column = divmod(p, grid)
            part = (
                slice(row * height // grid, (row + 1) * height // grid),
                slice(column * width // grid, (column + 1) * width // grid),
            )
            if b[part].sum() < 1:
                continue
            mean, variance = moments(x[c][part], b[part])
            means.append(mean)
            variances.append(variance)
            alphas.append(float(block.alpha[c, p]))
            betas.append(float(block.beta[c, p]))
        lost_alpha = float(block.alpha[c].sum()) - sum(alphas)
        lost_beta = float(block.beta[c].sum()) - sum(betas)
        local_mean = sum(a * v for a, v in zip(alphas, means, strict=True)) + lost_alpha * sum(means) / len(means)
        spread = sum(a * v for a, v in zip(betas, variances, strict=True)) + lost_beta * sum(variances) / len(variances)
        local_sd = (spread / grid**2) ** 0.5
        u = (x[c] - f_mean) / f_var**0.5
        w, g = block.w[:, c].flatten().tolist(), block.gamma[:, c].flatten().tolist()
        fore = w[0] * (u * local_sd + local_mean) + w[1] * (u * b_var**0.5 + b_mean) + w[2]
        back = g[0] * ((x[c] - b_mean) / b_var**0.5 * local_sd + local_mean) + g[1] * x[c] + g[2]
        out[c] = fore * m[0] + back * b
    return out


def randomised(grid: int) -> PatchNorm:
    block = PatchNorm(CHANNELS, grid)
    generator = torch.Generator().manual_seed(grid)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.3
    return block


@pytest.mark.parametrize("grid", [3, 4, 5])
@pytest.mark.parametrize("mask", [binary(), soft()], ids=["binary", "soft"])
def test_block_follows_the_equations(grid: int, mask: Tensor) -> None:
    block, x = randomised(grid), features()
    expected = torch.stack([written_out(block, x[i], mask[i]) for i in range(2)])
    torch.testing.assert_close(block(x, mask), expected, rtol=1e-4, atol=1e-4)


def test_start_is_a_plain_average() -> None:
    block = PatchNorm(4, 5)
    torch.testing.assert_close(block.alpha, torch.full((4, 25), 1 / 25))
    torch.testing.assert_close(block.beta, torch.ones(4, 25))


def test_beta_cannot_become_negative() -> None:
    block = PatchNorm(4, 3)
    with torch.no_grad():
        block.beta_raw -= 50
    assert (block.beta >= 0).all()
    assert torch.isfinite(block(torch.randn(1, 4, 9, 9), torch.ones(1, 1, 9, 9).tril())).all()


def test_patches_that_do_not_divide_the_size() -> None:
    x, weight = torch.arange(10.0).view(1, 1, 1, 10).repeat(1, 1, 10, 1), torch.ones(1, 1, 10, 10)
    statistics = patch_statistics(x, weight, 3)
    torch.testing.assert_close(statistics.mean[0, 0, :3], torch.tensor([1.0, 4.0, 7.5]))
    torch.testing.assert_close(statistics.variance[0, 0, :3], torch.tensor([2 / 3, 2 / 3, 1.25]), rtol=1e-4, atol=1e-5)


def test_more_patches_than_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 pixels"):
        patch_statistics(torch.zeros(1, 1, 4, 9), torch.ones(1, 1, 4, 9), 5)


def test_an_empty_patch_does_not_change_the_average() -> None:
    """Background of one brightness: whatever part of it the person covers, the local mean is that brightness."""
    block = PatchNorm(1, 4)
    with torch.no_grad():
        block.w[0], block.w[1] = 1, 0  # the local branch alone
    x = torch.full((1, 1, 16, 16), 3.0)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :12] = 1  # twelve of sixteen patches have no background
    x[..., :12] = torch.randn(16, 12, generator=torch.Generator().manual_seed(0)) + 40
    out = block(x, mask)
    assert out[..., :12].mean().item() == pytest.approx(3.0, abs=1e-3)
    torch.testing.assert_close(out[..., 12:], x[..., 12:], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_masks_of_one_kind_stay_finite_and_keep_the_features(value: float) -> None:
    block, x = PatchNorm(CHANNELS, 4), features().requires_grad_()
    out = block(x, torch.full((2, 1, *SIZE), value))
    out.square().sum().backward()
    torch.testing.assert_close(out.mean((2, 3)), x.mean((2, 3)), rtol=0.05, atol=0.05)
    gradients = [x.grad, *(p.grad for p in block.parameters())]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_gradients_reach_all_parameters() -> None:
    block = randomised(3)
    block(features(), binary()).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_batch_of_two_equals_two_of_one() -> None:
    block, x, mask = randomised(5), features(), binary()
    single = torch.cat([block(x[i : i + 1], mask[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(block(x, mask), single)


def test_mask_is_brought_to_the_size_of_the_features() -> None:
    block, x = randomised(3), features()
    mask = binary()
    large = mask.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block(x, large), block(x, mask))


def test_half_precision_features_are_normalised_in_float32() -> None:
    block, x = PatchNorm(CHANNELS, 3), features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block(x.bfloat16(), binary())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), block(x, binary()), rtol=0.03, atol=0.1)


def test_masked_statistics_by_hand() -> None:
    x = torch.tensor([1.0, 3.0, 100.0]).view(1, 1, 1, 3)
    statistics = masked_statistics(x, torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 1, 3))
    assert statistics.mean.item() == pytest.approx(2.0, rel=1e-5)
    assert statistics.sd.item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("features_count", [64, 100])
def test_extractor_gives_one_value_per_channel(features_count: int) -> None:
    extractor = PatchFeatureExtractor(features_count)
    rgb = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:, 4:12] = 1
    out = extractor(rgb, mask)
    assert out.shape == (2, features_count)
    assert [name for name, _ in extractor.named_parameters()] == ["w"]
    torch.testing.assert_close(extractor(rgb[1:], mask[1:]), out[1:])


def test_extractor_keeps_the_colours_apart() -> None:
    rgb = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    out = PatchFeatureExtractor(48)(rgb, torch.ones(1, 1, 16, 16).tril())
    expected = torch.tensor([0.2, 0.5, 0.9]).repeat_interleave(16)[None]
    torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)


def test_export_runs_elsewhere_in_few_nodes(tmp_path: Path) -> None:
    block, x, mask = randomised(5).eval(), features(batch=1), binary(1)
    path = tmp_path / "pn.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(block, (x, mask), path, input_names=["x", "mask"], output_names=["y"], verbose=False)
    nodes = onnx.load(path).graph.node
    assert len(nodes) < 130, "108 were counted; a loop over 25 patches would take hundreds"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x.numpy(), "mask": mask.numpy()})
    np.testing.assert_allclose(y, block(x, mask).detach().numpy(), rtol=1e-4, atol=1e-4)
