"""Stages, learning rates and optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from lion_pytorch import Lion
from torch import nn

from training.config import OptimizerConfig, StageConfig, TrainConfig

__all__ = ["Position", "build_optimizer", "learning_rate", "locate", "set_learning_rate", "trainable"]

FLOOR = 0.005
"""Share of the highest learning rate that is left at the end of a stage."""


@dataclass(frozen=True)
class Position:
    """Where in the stages a number of samples lies.

    Args:
        index: Of the stage.
        stage: The stage.
        seen: Samples seen in it.
    """

    index: int
    stage: StageConfig
    seen: int


def locate(config: TrainConfig, samples: int) -> Position | None:
    """The stage that sample number `samples` belongs to; None when all are done."""
    for index, stage in enumerate(config.stages):
        if samples < stage.samples:
            return Position(index, stage, samples)
        samples -= stage.samples
    return None


def learning_rate(optimizer: OptimizerConfig, position: Position, step_samples: int) -> float:
    """Linear warm-up, then constant, then a straight fall to almost zero over the last share of the stage.

    Args:
        optimizer: Highest rate, warm-up and share of the fall.
        position: In the stages.
        step_samples: Pairs of one step, all processes together.
    """
    warm = min(1.0, (position.seen // step_samples + 1) / max(1, optimizer.warmup))
    left = 1 - (position.seen + step_samples) / position.stage.samples
    fall = 1.0 if optimizer.decay == 0 else min(1.0, max(0.0, left) / optimizer.decay)
    return optimizer.lr * position.stage.lr_scale * warm * max(fall, FLOOR)


def trainable(network: nn.Module, stage: StageConfig) -> Iterator[tuple[str, nn.Parameter]]:
    """Freeze and free the parameters of a network for a stage, and give those that are trained.

    Raises:
        ValueError: A prefix matches no parameter, so nothing would be frozen.
    """
    names = [name for name, _ in network.named_parameters()]
    for prefix in stage.freeze:
        if not any(name.startswith(prefix) for name in names):
            known = sorted({name.split(".")[0] for name in names})
            raise ValueError(f"stage {stage.name!r}: freeze {prefix!r} matches no parameter; known: {', '.join(known)}")
    frozen = (*stage.freeze, *(() if stage.pfe else ("pfe",)))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen) if frozen else True)
    return ((n, p) for n, p in network.named_parameters() if p.requires_grad)


def build_optimizer(config: OptimizerConfig, network: nn.Module, stage: StageConfig) -> torch.optim.Optimizer:
    """The optimizer of a stage; vectors (biases, norms) are not decayed."""
    parameters = list(trainable(network, stage))
    groups = [
        {"params": [p for _, p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for _, p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if config.name == "lion":
        lion: torch.optim.Optimizer = Lion(groups, lr=config.lr, betas=config.betas)
        return lion
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """In all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
