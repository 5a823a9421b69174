"""Stream 2: the discriminator learns, the generator's gradient reaches the live model and not the discriminator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.config import DualConfig
from training.data.cache import CacheSpec, build_cache, list_portraits
from training.data.illuminants import Lights
from training.dual import DualStream, composite_maker, photo_maker
from training.models.live import LiveNet
from training.objectives import Device


@pytest.fixture
def stream(data_folder: Path, tmp_path: Path, lights: Lights) -> DualStream:
    torch.manual_seed(0)
    scenes = sorted((data_folder / "backgrounds" / "rooms").glob("*.jpg"))
    files = list_portraits(data_folder / "portraits" / "train")
    cache = build_cache(files, scenes, CacheSpec(32, 2, 1, 2), tmp_path / "cache")
    config = DualConfig(batch=8, width=8, lr=2e-3)
    return DualStream(config, cache, lights, device=Device(), seed=0, samples=16)


def test_the_discriminator_learns(stream: DualStream) -> None:
    network = LiveNet()
    losses = [stream.critic_step(network, step, 0) for step in range(40)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_generators_gradient_stays_with_the_generator(stream: DualStream) -> None:
    network = LiveNet()
    before = [p.detach().clone() for p in stream.critic.parameters()]
    loss = stream.generator_loss(network, 3, 0)
    loss.backward()
    assert float(loss.detach()) > 0
    assert all(p.grad is None for p in stream.critic.parameters())
    assert all(p.requires_grad for p in stream.critic.parameters())
    for parameter in (network.to_matrix.weight, network.to_curves.weight, network.gain0.weight):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0
    assert all(torch.equal(a, b) for a, b in zip(before, stream.critic.parameters(), strict=True))


def test_the_weight_scales_the_loss(stream: DualStream) -> None:
    network = LiveNet().eval()
    stream.critic.eval()
    whole = float(stream.generator_loss(network, 1, 0).detach())
    stream.config = stream.config.model_copy(update={"weight": 0.04})
    assert float(stream.generator_loss(network, 1, 0).detach()) == pytest.approx(whole / 2)


def test_composites_have_other_scenes_and_photographs_do_not(stream: DualStream, lights: Lights) -> None:
    cache = stream._composites.cache
    composites, photos = (make(cache, lights, 0, 16).batch(32, 0) for make in (composite_maker, photo_maker))
    known = torch.from_numpy(cache.portraits[..., :3].copy()).float().flatten(0, 1).permute(0, 3, 1, 2) / 255
    both = torch.cat([known, known.flip(3)])

    def nearest(pictures: torch.Tensor) -> torch.Tensor:
        return (pictures[:, None] - both[None]).abs().mean((2, 3, 4)).amin(1)

    untouched = photos.task == 4
    assert nearest(torch.from_numpy(photos.truth[untouched])).median() < 0.02
    assert nearest(torch.from_numpy(composites.composite)).mean() > 0.08
