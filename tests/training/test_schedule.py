"""Stages and learning rates."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from training.config import OptimizerConfig, StageConfig, TrainConfig
from training.models.phnet import build_phnet
from training.schedule import build_optimizer, learning_rate, locate, set_learning_rate, trainable

STAGES = (StageConfig(name="one", samples=1000), StageConfig(name="two", samples=500, lr_scale=0.1))


def config(**optimizer: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": "live",
            "data": {"tasks": {"jitter": {"share": 1}}},
            "stages": [s.model_dump() for s in STAGES],
            "optimizer": optimizer,
        }
    )


def test_places_in_the_stages() -> None:
    found = [locate(config(), n) for n in (0, 999, 1000, 1499)]
    assert [(p.index, p.seen) for p in found if p] == [(0, 0), (0, 999), (1, 0), (1, 499)]
    assert locate(config(), 1500) is None


def test_the_learning_rate_rises_stays_and_falls() -> None:
    run = config(lr=1e-3, warmup=10, decay=0.3)
    rates = []
    for samples in range(0, 1000, 10):
        position = locate(run, samples)
        assert position is not None
        rates.append(learning_rate(run.optimizer, position, 10))
    assert rates[:10] == pytest.approx([1e-4 * (k + 1) for k in range(10)])
    assert set(rates[10:69]) == {1e-3}
    assert all(a > b for a, b in itertools.pairwise(rates[69:]))
    assert rates[-1] == pytest.approx(1e-3 * 0.005)
    second = locate(run, 1200)
    assert second is not None
    assert learning_rate(run.optimizer, second, 10) == pytest.approx(1e-4)


def test_setting_reaches_the_optimizer() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    optimizer = build_optimizer(OptimizerConfig(), network, STAGES[0])
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.5]
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.02, 0.0]
    assert [len(g["params"]) for g in optimizer.param_groups] == [1, 3]


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_both_optimizers_move_the_weights_by_the_rate(name: str) -> None:
    layer = nn.Linear(2, 2)
    optimizer = build_optimizer(OptimizerConfig.model_validate({"name": name, "weight_decay": 0}), layer, STAGES[0])
    before = layer.weight.detach().clone()
    set_learning_rate(optimizer, 0.01)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close((before - layer.weight).detach(), torch.full((2, 2), 0.01), atol=1e-5, rtol=0)


def test_frozen_parts_are_left_out_and_freed_again() -> None:
    network = build_phnet("phnet_10m")
    names = {n for n, _ in trainable(network, StageConfig(name="pfe", samples=1, freeze=("encoder",)))}
    assert names
    assert not any(n.startswith("encoder") for n in names)
    names = {n for n, _ in trainable(network, StageConfig(name="no pfe", samples=1, pfe=False))}
    assert not any(n.startswith("pfe") for n in names)
    assert any(n.startswith("encoder") for n in names)
    assert all(p.requires_grad for n, p in network.named_parameters() if n in names)


def test_freezing_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"freeze 'encodr' matches no parameter; known: .*encoder"):
        trainable(build_phnet("phnet_10m"), StageConfig(name="x", samples=1, freeze=("encodr",)))
