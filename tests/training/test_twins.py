"""Two frames of the same moment, and what a network is told when it answers them differently."""

from __future__ import annotations

import torch

from training.correction import CorrectionBatch
from training.live_losses import LiveLossWeights, unsteadiness
from training.models.live import LiveSpec
from training.objectives import Device, LiveObjective
from training.twins import MAX_CROP, MAX_NOISE, from_twins, make_twins

SIZE = 32


def pictures(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    composite = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4, generator=generator), size=SIZE)
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[:, :, 8:, 10:22] = 1
    return composite, mask


def test_a_twin_shows_most_of_the_same_and_never_quite_the_same() -> None:
    composite, mask = pictures()
    again, edge, places = make_twins(composite, mask, torch.Generator().manual_seed(1))
    assert again.shape == composite.shape
    assert edge.shape == mask.shape
    assert 0 <= float(again.min()) <= float(again.max()) <= 1
    assert 0 <= float(edge.min()) <= float(edge.max()) <= 1
    corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1]]).T
    seen = places @ corners
    assert float(seen.abs().max()) <= 1 + 1e-6, "a twin shows what the original does not"
    assert float(seen.diff(dim=2).abs().min()) >= 2 * (1 - MAX_CROP) - 1e-6
    for twin, original, place in zip(again, composite, places, strict=True):
        x, y = (float((place[row] @ torch.tensor([0.3, 0.5, 1.0]) + 1) * SIZE / 2 - 0.5) for row in (0, 1))
        column, row = round((0.3 + 1) * SIZE / 2 - 0.5), round((0.5 + 1) * SIZE / 2 - 0.5)
        near = original[:, round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].flatten(1)
        value = twin[:, row, column]
        assert ((value > near.amin(1) - 4 * MAX_NOISE) & (value < near.amax(1) + 4 * MAX_NOISE)).all()


def test_half_of_the_twins_are_mirrored() -> None:
    composite, mask = pictures(200)
    places = make_twins(composite, mask, torch.Generator().manual_seed(1))[2]
    assert 70 < int((places[:, 0, 0] < 0).sum()) < 130
    assert (places[:, 1, 1] > 0).all()


def test_the_same_generator_makes_the_same_twins() -> None:
    composite, mask = pictures()
    first, second = (make_twins(composite, mask, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_gain_of_a_twin_comes_back_to_where_it_belongs() -> None:
    places = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]], [[0.5, 0, -0.5], [0, 0.5, 0.5]]])
    ramp = torch.linspace(-0.3, 0.3, 16).repeat(2, 16, 1)
    twins = CorrectionBatch.identity(2)._replace(log_gain=ramp)
    mirrored, cropped = from_twins(twins, places).log_gain
    torch.testing.assert_close(mirrored, ramp[0].flip(1))
    # the left half of the original, twice as large in the twin
    torch.testing.assert_close(cropped[:, 1:7], (ramp[1, :, 2:14:2] + ramp[1, :, 3:15:2]) / 2)
    assert (cropped[:, 8:] == cropped[:, 8:9]).all()


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
