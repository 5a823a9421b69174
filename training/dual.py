"""Stream 2 of dual-stream training: real composites, without a truth, against a discriminator.

After PIH (arXiv 2303.00157, section 3.2). The generator's only loss here is to be taken for a photograph; that it gives
a matrix, curves and a smooth gain, and nothing else, is what keeps it honest. The discriminator sees photographs (their
light varied, lest it learn the cameras) and corrected composites, both shifted and jittered.

Unlike the paper's, stream 1 keeps the loss of the live model alone, without an adversarial term of its own, and the
learning rate falls as a stage says, not by halves.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.config import DualConfig
from training.correction import apply_correction
from training.data.augment import PairMaker, PairRecipe, TaskRecipe
from training.data.cache import CropCache
from training.data.illuminants import Lights
from training.losses import discriminator_loss, dual_unsupervised_loss
from training.models.discriminator import UNetDiscriminator
from training.objectives import Device, to_device

__all__ = ["DualStream", "composite_maker", "photo_maker"]

ANY_MASK = (0.5, 0.0, 0.2, 0.15, 0.0, 0.15)


def composite_maker(cache: CropCache, lights: Lights, seed: int, samples: int) -> PairMaker:
    """Pairs whose composite is a real one: a person over another scene, both as photographed or under other light."""
    tasks = {
        "same": TaskRecipe(0.6, swap=1.0),
        "lights": TaskRecipe(0.2, scene=1, swap=1),
        "tone": TaskRecipe(0.2, 1, 1),
    }
    return PairMaker(cache, lights, PairRecipe(tasks, ANY_MASK), seed + 1, samples)


def photo_maker(cache: CropCache, lights: Lights, seed: int, samples: int) -> PairMaker:
    """Pairs whose truth is a photograph, as taken or whole under another light."""
    tasks = {"same": TaskRecipe(0.6), "lights": TaskRecipe(0.2, scene=1), "tone": TaskRecipe(0.2, scene=1)}
    return PairMaker(cache, lights, PairRecipe(tasks, ANY_MASK), seed + 2, samples)


def _disturbed(rgb: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Brightness, contrast and a shift of a few pixels, the same for picture and mask (PIH section 3.2)."""
    count, height = rgb.shape[0], rgb.shape[2]
    bright = torch.empty(count, 1, 1, 1).uniform_(0.65, 1.35, generator=generator).to(rgb.device)
    contrast = torch.empty(count, 1, 1, 1).uniform_(0.8, 1.2, generator=generator).to(rgb.device)
    mean = rgb.mean((1, 2, 3), keepdim=True)
    changed = (((rgb - mean) * contrast + mean) * bright).clamp(0, 1)
    dy, dx = (int(v) for v in torch.randint(-height // 26, height // 26 + 1, (2,), generator=generator))
    return changed.roll((dy, dx), (2, 3)), mask.roll((dy, dx), (2, 3))


class DualStream:
    """The discriminator, its optimizer and the data of stream 2.

    Args:
        config: The section `dual`.
        cache: Crops to compose.
        lights: Measured lights.
        device: Where it runs.
        seed: Of data and disturbance.
        samples: Foreground pixels per pair (only the pictures are used here).
    """

    def __init__(
        self, config: DualConfig, cache: CropCache, lights: Lights, *, device: Device, seed: int, samples: int
    ) -> None:
        self.config = config
        self.device = device
        self.critic = UNetDiscriminator(config.width, 4).to(device.name)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), lr=config.lr, betas=(0.5, 0.999))
        self._composites = composite_maker(cache, lights, seed, samples)
        self._photos = photo_maker(cache, lights, seed, samples)
        self._seed = seed

    def _random(self, step: int, rank: int) -> torch.Generator:
        """Of one step of one process, so that a run can be resumed exactly."""
        return torch.Generator().manual_seed(self._seed + 1_000_003 * rank + step)

    def _corrected(self, network: nn.Module, step: int, rank: int) -> tuple[Tensor, Tensor]:
        batch = to_device(self._composites.batch(self.config.batch, step, rank), self.device)
        with self.device.autocast():
            correction, _ = network(batch["composite"], batch["mask"])
        mask = batch["mask"]
        corrected = apply_correction(batch["composite"], correction.float())
        return corrected * mask + batch["composite"] * (1 - mask), mask

    def critic_step(self, network: nn.Module, step: int, rank: int) -> float:
        """Teach the discriminator one batch of photographs and one of corrected composites; returns its loss.

        Under torchrun all processes teach the same one: its gradient is the mean of theirs.
        """
        with torch.no_grad():
            fake, mask = self._corrected(network, step, rank)
        photos = to_device(self._photos.batch(self.config.batch, step, rank), self.device)
        random = self._random(step, rank)
        real, _ = _disturbed(photos["truth"], photos["mask"], random)
        fake, mask = _disturbed(fake, mask, random)
        with self.device.autocast():
            real_logits, fake_logits = self.critic(real), self.critic(fake)
        loss = discriminator_loss(real_logits.float(), fake_logits.float(), mask)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        if dist.is_initialized():
            for parameter in self.critic.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= dist.get_world_size()
        self.optimizer.step()
        return float(loss.detach())

    def generator_loss(self, network: nn.Module, step: int, rank: int) -> Tensor:
        """The live model's loss on real composites, weighted; the discriminator's own gradients are thrown away."""
        fake, mask = self._corrected(network, step, rank)
        disturbed, _ = _disturbed(fake, mask, self._random(step, rank))
        for parameter in self.critic.parameters():
            parameter.requires_grad_(False)
        with self.device.autocast():
            logits = self.critic(disturbed)
        loss = dual_unsupervised_loss(logits.float()) * (self.config.weight / 0.08)
        for parameter in self.critic.parameters():
            parameter.requires_grad_(True)
        return loss
