"""The live model: budget, start, bounds, and what it does with unusual masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from livecomp.correction import Correction
from training.config import load_config
from training.correction import MAX_LOG_GAIN, CorrectionBatch, apply_correction
from training.models.count import count_macs
from training.models.live import LiveNet, LiveSpec, PatchMix, SurfaceColours, extremes, pixel_statistics


def inputs(count: int = 2, size: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.rand(count, 3, size, size, generator=generator)
    mask = torch.zeros(count, 1, size, size)
    mask[..., size // 4 :, size // 4 : -size // 4] = 1
    return rgb, mask


@pytest.fixture(scope="module")
def network() -> LiveNet:
    torch.manual_seed(0)
    return LiveNet()


@pytest.fixture(scope="module")
def shaken() -> LiveNet:
    """With heads far from their start, as after training."""
    torch.manual_seed(1)
    network = LiveNet()
    for head in (network.to_matrix, network.to_curves, network.gain0):
        torch.nn.init.normal_(head.weight, std=0.3)
    network.train()
    for seed in range(3):
        network(*inputs(8, seed=seed))
    return network.eval()


def test_budget(network: LiveNet) -> None:
    assert sum(p.numel() for p in network.parameters()) <= 5_000_000
    assert count_macs(network, *inputs(1)) <= 100_000_000


def test_budget_of_what_ships() -> None:
    config = load_config("live_supervised")
    network = LiveNet(config.live_spec())
    assert sum(p.numel() for p in network.parameters()) <= 5_000_000
    assert count_macs(network, *inputs(1, config.data.size)) <= 1_500_000_000


def test_it_starts_at_the_identity(network: LiveNet) -> None:
    network.eval()
    rgb, mask = inputs()
    correction, moments = network(rgb, mask)
    assert moments.shape == (2, 9)
    assert (apply_correction(rgb, correction) - rgb).abs().max() < 0.2
    assert (correction.matrix - torch.eye(3)).abs().max() < 0.1
    assert correction.log_gain.abs().max() < 0.1


def test_outputs_make_a_correction_of_the_runtime(shaken: LiveNet) -> None:
    correction, _ = shaken(*inputs(4, seed=7))
    assert correction.log_gain.abs().max() <= MAX_LOG_GAIN
    for matrix, curves, log_gain in zip(*(p.detach().numpy() for p in correction), strict=True):
        made = Correction(matrix, curves, log_gain)  # raises unless finite, monotone and within bounds
        assert curves.min() >= 0
        assert curves.max() <= 1
        assert abs(made.matrix - Correction.identity().matrix).max() > 0.01


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_gain_can_brighten_and_darken_within_its_bound(sign: int) -> None:
    network = LiveNet().eval()
    assert network.gain0.bias is not None
    torch.nn.init.constant_(network.gain0.bias, 50.0 * sign)
    log_gain = network(*inputs())[0].log_gain
    torch.testing.assert_close(log_gain, torch.full_like(log_gain, sign * MAX_LOG_GAIN))


@pytest.mark.parametrize("kind", ["empty", "full", "one pixel", "all but one", "soft"])
@pytest.mark.parametrize("colour", [0.0, 0.5, 1.0])
def test_unusual_masks_and_flat_pictures_give_finite_corrections(shaken: LiveNet, kind: str, colour: float) -> None:
    mask = torch.zeros(1, 1, 64, 64)
    if kind == "full":
        mask[:] = 1
    elif kind == "one pixel":
        mask[..., 10, 10] = 1
    elif kind == "all but one":
        mask[:] = 1
        mask[..., 10, 10] = 0
    elif kind == "soft":
        mask[:] = 0.5
    correction, moments = shaken(torch.full((1, 3, 64, 64), colour), mask)
    assert all(torch.isfinite(p).all() for p in (*correction, moments))


def test_a_picture_is_judged_alone(shaken: LiveNet) -> None:
    rgb, mask = inputs(3, seed=3)
    together, _ = shaken(rgb, mask)
    alone, _ = shaken(rgb[1:2], mask[1:2])
    for whole, single in zip(together, alone, strict=True):
        torch.testing.assert_close(whole[1:2], single, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("spec", [LiveSpec(), LiveSpec(pretrained=True, surfaces=3)], ids=["small", "with surfaces"])
def test_gradients_are_finite_and_reach_everything(spec: LiveSpec) -> None:
    torch.manual_seed(2)
    network = LiveNet(spec)
    for head in (network.to_matrix, network.to_curves, network.gain0):
        torch.nn.init.normal_(head.weight, std=0.05)
    for block in network.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.05)
    correction, moments = network(*inputs(4))
    sum(p.square().sum() for p in (*correction, moments)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("size", [64, 96, 128])
def test_larger_inputs_give_the_same_shapes(network: LiveNet, size: int) -> None:
    network.eval()
    correction, _ = network(*inputs(1, size))
    assert [tuple(p.shape) for p in correction] == [(1, 3, 3), (1, 3, 32), (1, 16, 16)]


@pytest.mark.parametrize("part", ["matrix", "gain", "patches", "pfe"])
def test_ablations_leave_their_part_out(part: str) -> None:
    torch.manual_seed(3)
    network = LiveNet(LiveSpec(**{part: False}))
    for head in (network.to_matrix, network.gain0):
        torch.nn.init.normal_(head.weight, std=0.3)
    correction: CorrectionBatch = network(*inputs(4))[0]
    if part == "matrix":
        torch.testing.assert_close(correction.matrix, torch.eye(3).expand(4, 3, 3))
    elif part == "gain":
        assert (correction.log_gain == 0).all()
    elif part == "patches":
        assert network.enter.in_features < LiveNet().enter.in_features
    else:
        assert network.pfe is None


def test_dropout_is_for_training_only_and_fits_the_same_weights() -> None:
    torch.manual_seed(4)
    plain, dropping = LiveNet(), LiveNet(LiveSpec(dropout=0.2))
    for head in (plain.to_matrix, plain.to_curves):
        torch.nn.init.normal_(head.weight, std=0.05)
    dropping.load_state_dict(plain.state_dict())
    pictures = inputs(4)
    assert not torch.equal(dropping(*pictures)[0].matrix, dropping(*pictures)[0].matrix)
    dropping.load_state_dict(plain.state_dict())  # the running means have moved
    plain.eval(), dropping.eval()
    torch.testing.assert_close(dropping(*pictures)[0].curves, plain(*pictures)[0].curves)


def test_pixel_statistics_agree_with_torch() -> None:
    rgb, mask = inputs(1, seed=5)
    regions = torch.stack([mask.flatten(), 1 - mask.flatten()])[None]
    regions = regions / regions.sum(2, keepdim=True)
    found = pixel_statistics(rgb, regions)[0]
    for region, values in zip((mask, 1 - mask), found.split(9), strict=True):
        pixels = rgb[0][:, region[0, 0] > 0]
        torch.testing.assert_close(values[:3], pixels.mean(1), atol=1e-4, rtol=0)
        torch.testing.assert_close(values[3:6], pixels.std(1, correction=0), atol=1e-3, rtol=0)
        torch.testing.assert_close(values[6], torch.corrcoef(pixels)[0, 1], atol=2e-3, rtol=0)


def test_extremes() -> None:
    rgb, mask = inputs(1, seed=6)
    inside, outside = rgb[0][:, mask[0, 0] > 0], rgb[0][:, mask[0, 0] == 0]
    expected = torch.cat([inside.amax(1), inside.amin(1), outside.amax(1), outside.amin(1)])
    torch.testing.assert_close(extremes(rgb, mask)[0], expected)


def test_patch_statistics_start_as_averages_and_skip_covered_patches() -> None:
    mix = PatchMix(5, 4)
    features = torch.rand(2, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., :8, :] = 1  # the upper half of the patches has no background
    found = mix(features, mask)
    patches = features[..., 8:, :].unfold(2, 4, 4).unfold(3, 4, 4).flatten(4).flatten(2, 3)
    torch.testing.assert_close(found[:, :5], patches.mean((2, 3)), atol=1e-4, rtol=0)
    spread = patches.var(3, correction=0).mean(2).sqrt()
    torch.testing.assert_close(found[:, 5:], spread, atol=2e-3, rtol=0)
    assert mix(features, torch.ones(2, 1, 16, 16)).abs().max() < 2e-3


def test_surfaces_are_mean_colours_where_the_encoder_sees_them() -> None:
    torch.manual_seed(5)
    surfaces = SurfaceColours(2, channels=7)
    torch.nn.init.normal_(surfaces.fine.weight, std=3)
    rgb, encoded, level2 = torch.rand(1, 3, 8, 8), torch.randn(1, 112, 2, 2), torch.randn(1, 7, 8, 8)
    mask = torch.rand(64).round()
    regions = torch.stack([mask / mask.sum(), (1 - mask) / (1 - mask).sum()])[None]
    found = surfaces(rgb, encoded, level2, regions)
    assert found.shape == (1, 16)
    logits = surfaces.fine(level2)[0] + surfaces.coarse(encoded)[0].repeat_interleave(4, 1).repeat_interleave(4, 2)
    for index, values in enumerate(found[0].view(4, 4)):
        weight = logits[index].flatten().sigmoid() * (mask if index < 2 else 1 - mask)
        mean = (rgb[0].flatten(1) * weight).sum(1) / weight.sum()
        share = weight.sum() / (mask if index < 2 else 1 - mask).sum()
        torch.testing.assert_close(values[:3], mean * share / (share + 1e-3))
        torch.testing.assert_close(values[3], share)
    assert (surfaces(rgb, encoded, level2, torch.zeros(1, 2, 64)) == 0).all()


def test_what_leaves_the_network_is_float32_whatever_its_inner_values_are() -> None:
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found, moments = LiveNet(LiveSpec(pretrained=True, surfaces=3))(*inputs(size=96))
    assert {part.dtype for part in (*found, moments)} == {torch.float32}
