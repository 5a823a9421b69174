"""What is trained on a batch of pairs: the live model on sampled pixels, PHNet on whole pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.correction import CorrectionBatch, apply_correction
from training.data.augment import PairBatch
from training.live_losses import LiveLossWeights, live_loss, unsteadiness
from training.losses import phnet_loss
from training.models.live import LiveNet, LiveSpec
from training.models.phnet import build_phnet
from training.noise import add_camera_noise
from training.twins import from_twins, make_twins

__all__ = ["DenseObjective", "Device", "LiveObjective", "Objective", "Outcome", "build_objective", "to_device"]


TWIN_SHARE = 4
"""One in so many pictures of a batch is also seen as its twin."""


@dataclass(frozen=True)
class Device:
    """Where and how precisely the network runs.

    Args:
        name: "cpu" or "cuda:0" and so on.
        dtype: Of the network's inner values; float32 switches autocast off.
    """

    name: str = "cpu"
    dtype: torch.dtype = torch.float32

    def autocast(self) -> torch.autocast:
        """The context in which the network runs."""
        return torch.autocast(self.name.split(":")[0], self.dtype, enabled=self.dtype != torch.float32)


@dataclass(frozen=True)
class Outcome:
    """One batch.

    Args:
        loss: To be minimised.
        terms: Unweighted parts by name, detached.
        fmse: (B,) squared error of the foreground, 0..255, detached; sampled pixels for the live model.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    fmse: Tensor


class Objective(Protocol):
    """A network and its loss."""

    def build(self) -> nn.Module:
        """A fresh network."""

    def measure(self, network: nn.Module, batch: dict[str, Tensor], device: Device) -> Outcome:
        """Loss and error of a network, perhaps wrapped, on a batch as `to_device` gives it."""

    def harmonize(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The finished pictures, (B, 3, S, S), for looking at."""


def to_device(batch: PairBatch, device: Device) -> dict[str, Tensor]:
    """The arrays of a batch as tensors."""
    names = ("composite", "mask", "truth", "index", "weight", "pixels", "moments")
    return {name: torch.from_numpy(getattr(batch, name)).to(device.name, non_blocking=True) for name in names}


def composite_fmse(batch: dict[str, Tensor]) -> Tensor:
    """(B,) the error of doing nothing on the sampled pixels, 0..255; zero without a person."""
    weight = batch["weight"]
    error = (batch["pixels"][:, 0] - batch["pixels"][:, 1]).square() * weight[:, None]
    return error.sum((1, 2)) / (3 * weight.sum(1)).clamp_min(1e-3) * 255**2


class LiveObjective:
    """The live model.

    Args:
        spec: Its sizes and parts.
        weights: Of its loss.
        noise: As `largest` of `add_camera_noise`, for what the network sees in training.
    """

    def __init__(self, spec: LiveSpec, weights: LiveLossWeights, noise: float = 0.0) -> None:
        self.spec = spec
        self.weights = weights
        self.noise = noise

    def build(self) -> nn.Module:
        """See `Objective`."""
        return LiveNet(self.spec)

    def measure(self, network: nn.Module, batch: dict[str, Tensor], device: Device) -> Outcome:
        """See `Objective`; the loss is computed in float32."""
        composite, mask = batch["composite"], batch["mask"]
        count = len(composite)
        twins = count // TWIN_SHARE if self.weights.steady and network.training else 0
        # seeded by the pairs, so that a run that is resumed draws the same
        random = torch.Generator().manual_seed(int(batch["index"][0].sum()))
        if self.noise and network.training:
            composite = add_camera_noise(composite, mask, self.noise, random)
        if twins:
            *again, places = make_twins(composite[:twins], mask[:twins], random)
            composite, mask = torch.cat([composite, again[0]]), torch.cat([mask, again[1]])
        with device.autocast():
            correction, predicted = network(composite, mask)
        second, correction, predicted = correction.rows(count), correction.rows(0, count), predicted[:count]
        loss, terms, fmse = live_loss(
            correction,
            predicted,
            pixels=batch["pixels"],
            index=batch["index"],
            weight=batch["weight"],
            moments=batch["moments"],
            size=batch["composite"].shape[-1],
            weights=self.weights,
        )
        if twins:
            apart = unsteadiness(
                correction.rows(0, twins),
                from_twins(second, places),
                batch["pixels"][:twins, 0],
                batch["index"][:twins],
                batch["weight"][:twins],
                batch["composite"].shape[-1],
            )
            loss = loss + self.weights.steady * apart
            terms["steady"] = apart.detach()
        return Outcome(loss, terms, fmse)

    def harmonize(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """See `Objective`."""
        correction: CorrectionBatch
        correction, _ = network(batch["composite"], batch["mask"])
        corrected = apply_correction(batch["composite"], correction)
        return corrected * batch["mask"] + batch["composite"] * (1 - batch["mask"])


class DenseObjective:
    """PHNet.

    Args:
        name: "phnet_40m" or "phnet_10m".
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self) -> nn.Module:
        """See `Objective`."""
        return build_phnet(self.name)

    def measure(self, network: nn.Module, batch: dict[str, Tensor], device: Device) -> Outcome:
        """See `Objective`."""
        with device.autocast():
            picture = network(batch["composite"], batch["mask"])
        loss, terms = phnet_loss(picture.float(), batch["truth"], batch["mask"])
        error = (picture.detach().float() - batch["truth"]).square() * batch["mask"]
        area = 3 * batch["mask"].flatten(1).sum(1).clamp_min(1.0)
        return Outcome(loss, terms, error.flatten(1).sum(1) / area * 255**2)

    def harmonize(self, network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """See `Objective`."""
        picture: Tensor = network(batch["composite"], batch["mask"])
        return picture.float()


def build_objective(config: TrainConfig) -> Objective:
    """The objective that a configuration names."""
    if config.model == "live":
        return LiveObjective(config.live_spec(), LiveLossWeights(**config.loss.model_dump()), config.data.noise)
    return DenseObjective(config.model)
