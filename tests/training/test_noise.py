from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.live_losses import LiveLossWeights
from training.models.live import LiveSpec
from training.noise import add_camera_noise
from training.objectives import Device, LiveObjective

SIZE, COUNT, LARGEST = 64, 160, 0.04


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey() -> tuple[Tensor, Tensor]:
    mask = torch.zeros(COUNT, 1, SIZE, SIZE)
    mask[..., SIZE // 2 :] = 1
    return torch.full((COUNT, 3, SIZE, SIZE), 0.5), mask


def test_it_is_as_strong_as_asked_and_only_on_the_person_in_half_of_the_pictures() -> None:
    composite, mask = grey()
    noise = add_camera_noise(composite, mask, LARGEST, random()) - composite
    person, scene = noise[..., SIZE // 2 + 2 :], noise[..., : SIZE // 2 - 2]
    deviation = person.flatten(1).std(1)
    assert 0.8 * LARGEST < deviation.max() < 1.05 * LARGEST
    assert 0.2 * LARGEST < deviation.mean() < 0.45 * LARGEST
    untouched = (scene == 0).flatten(1).all(1)
    assert 0.35 < untouched.float().mean() < 0.65
    everywhere = ~untouched
    torch.testing.assert_close(scene.flatten(1).std(1)[everywhere], deviation[everywhere], rtol=0.15, atol=1e-4)
    assert person.mean().abs() < 1e-4


def test_half_of_it_is_coarse_and_no_weaker_for_that() -> None:
    composite, _ = grey()
    noise = add_camera_noise(composite, torch.ones(COUNT, 1, SIZE, SIZE), LARGEST, random()) - composite
    inner = noise[..., 2:-2, 2:-2]
    smooth = functional.avg_pool2d(noise, 3, stride=1)[..., 1:-1, 1:-1]
    left = smooth.flatten(1).std(1) / inner.flatten(1).std(1)  # a third of fine noise, more of coarse
    assert (left < 0.4).float().mean() + (left > 0.55).float().mean() == 1
    assert 0.35 < (left > 0.55).float().mean() < 0.65


def test_it_is_drawn_anew_from_the_seed_alone_and_stays_within_the_range() -> None:
    composite, mask = torch.ones(COUNT, 3, SIZE, SIZE), torch.ones(COUNT, 1, SIZE, SIZE)
    first = add_camera_noise(composite, mask, LARGEST, random())
    assert first.max() == 1
    assert torch.equal(composite, torch.ones_like(composite))
    assert torch.equal(first, add_camera_noise(composite, mask, LARGEST, random()))
    assert not torch.equal(first, add_camera_noise(composite, mask, LARGEST, random(1)))


def test_the_network_sees_it_in_training_only() -> None:
    composite, mask = grey()
    index = torch.arange(10).repeat(8, 1)
    pixels = composite[:8].flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    batch = {
        "composite": composite[:8],
        "mask": mask[:8],
        "index": index,
        "weight": torch.ones(8, 10),
        "pixels": torch.stack([pixels, pixels], 1),
        "moments": torch.zeros(8, 9),
    }
    seen: list[Tensor] = []
    objective = LiveObjective(LiveSpec(), LiveLossWeights(), noise=LARGEST)
    network = objective.build()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for training in (True, False, True):
        network.train(training)
        objective.measure(network, batch, Device())
    assert not torch.equal(seen[0], batch["composite"])
    assert torch.equal(seen[1], batch["composite"])
    assert torch.equal(seen[2], seen[0])
