"""Two frames of the same moment, and what a network is told when it answers them differently."""

from __future__ import annotations

import torch

from training.correction import CorrectionBatch
from training.live_losses import LiveLossWeights, unsteadiness
from training.models.live import LiveSpec
from training.objectives import Device, LiveObjective
from training.twins import MAX_NOISE, make_twins

SIZE = 32


def pictures(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    composite = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4, generator=generator), size=SIZE)
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[:, :, 8:, 10:22] = 1
    return composite, mask


def test_a_twin_is_nearly_the_picture_and_never_quite() -> None:
    composite, mask = pictures()
    again, edge = make_twins(composite, mask, torch.Generator().manual_seed(1))
    assert again.shape == composite.shape
    assert edge.shape == mask.shape
    assert 0 <= float(again.min()) <= float(again.max()) <= 1
    assert 0 <= float(edge.min()) <= float(edge.max()) <= 1
    inside = (slice(None), slice(None), slice(12, 30), slice(13, 19))
    assert (edge[inside] == 1).all()
    assert not torch.equal(again, composite)
    assert float((again[:, :, 2:6, 2:6] - composite[:, :, 2:6, 2:6]).abs().mean()) < 3 * MAX_NOISE


def test_the_same_generator_makes_the_same_twins() -> None:
    composite, mask = pictures()
    first, second = (make_twins(composite, mask, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_equal_corrections_are_steady_and_a_brighter_one_is_apart_by_what_it_adds() -> None:
    pixels, index = torch.full((2, 3, 5), 0.5), torch.zeros(2, 5, dtype=torch.long)
    weight = torch.ones(2, 5)
    same = CorrectionBatch.identity(2)
    brighter = same._replace(matrix=same.matrix * 1.2)
    assert float(unsteadiness(same, same, pixels, index, weight, SIZE)) < 1e-3
    assert abs(float(unsteadiness(same, brighter, pixels, index, weight, SIZE)) - 0.1) < 1e-3


def test_without_a_person_nothing_is_apart() -> None:
    same = CorrectionBatch.identity(1)
    other = same._replace(matrix=same.matrix * 2)
    zero = torch.zeros(1, 5)
    value = unsteadiness(same, other, torch.full((1, 3, 5), 0.5), torch.zeros(1, 5, dtype=torch.long), zero, SIZE)
    assert float(value) == 0


def batch(count: int = 8) -> dict[str, torch.Tensor]:
    composite, mask = pictures(count)
    index = torch.arange(SIZE * 8 + 10, SIZE * 8 + 20).repeat(count, 1)
    pixels = composite.flatten(2).gather(2, index[:, None].expand(-1, 3, -1))
    return {
        "composite": composite,
        "mask": mask,
        "index": index,
        "weight": torch.ones(count, 10),
        "pixels": torch.stack([pixels, pixels], 1),
        "moments": torch.zeros(count, 9),
    }


def test_the_term_is_there_in_training_only_and_has_a_gradient() -> None:
    torch.manual_seed(0)
    objective = LiveObjective(LiveSpec(), LiveLossWeights(steady=10.0))
    network = objective.build()
    with torch.no_grad():
        network.to_matrix.weight.normal_(std=0.05)  # type: ignore[union-attr,operator]  # a Linear
    network.train()
    outcome = objective.measure(network, batch(), Device())
    assert float(outcome.terms["steady"]) > 0
    assert len(outcome.fmse) == 8
    outcome.loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in network.parameters())
    network.eval()
    assert "steady" not in objective.measure(network, batch(), Device()).terms


def test_without_weight_nothing_is_seen_twice() -> None:
    objective = LiveObjective(LiveSpec(), LiveLossWeights())
    network = objective.build().train()
    assert "steady" not in objective.measure(network, batch(), Device()).terms
