"""The quick look while training: fixed pairs, true scores, pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from training.config import load_config
from training.data.illuminants import Lights
from training.live_losses import LiveLossWeights
from training.models.live import LiveNet, LiveSpec
from training.objectives import DenseObjective, Device, LiveObjective, build_objective, composite_fmse
from training.validation import VALIDATION_SETS, Validation, scene_files


@pytest.fixture
def validation(data_folder: Path, tmp_path: Path, lights: Lights) -> Validation:
    scenes = scene_files(data_folder, ("backgrounds/rooms", "backgrounds/missing"))
    assert len(scenes) == 3
    folder = data_folder / "portraits" / "val"
    return Validation(load_config("smoke"), folder, scenes, lights, cache=tmp_path / "cache", count=12)


class Still(nn.Module):
    """A live model that changes nothing."""

    def forward(self, composite: torch.Tensor, mask: torch.Tensor) -> object:
        from training.correction import CorrectionBatch

        return CorrectionBatch.identity(len(composite)), torch.zeros(len(composite), 9)


def test_doing_nothing_scores_like_the_composite(validation: Validation) -> None:
    objective = LiveObjective(LiveSpec(), LiveLossWeights())
    scores = validation.scores(objective, Still(), Device(), chunk=5)
    assert set(scores) == set(VALIDATION_SETS)
    for name, found in scores.items():
        assert found["fmse"] == pytest.approx(found["composite"], abs=0.2), name
    assert scores["same"]["composite"] == 0
    assert scores["scene_cast"]["composite"] > 50
    assert scores == validation.scores(objective, Still(), Device())


def test_pictures_show_composite_result_and_truth(validation: Validation) -> None:
    objective = LiveObjective(LiveSpec(), LiveLossWeights())
    sheets = validation.pictures(objective, LiveNet().eval(), Device(), count=3)
    assert {tuple(s.shape) for s in sheets.values()} == {(3, 3 * 64, 3 * 64)}
    still = validation.pictures(objective, Still(), Device(), count=3)["scene_cast"]
    torch.testing.assert_close(still[:, :64], still[:, 64:128], atol=1e-5, rtol=0)
    assert (still[:, :64] - still[:, 128:]).abs().max() > 0.05


def test_objectives_by_configuration() -> None:
    assert isinstance(build_objective(load_config("live_supervised")), LiveObjective)
    assert isinstance(build_objective(load_config("phnet_40m_ffhqh")), DenseObjective)
    changed = load_config("smoke").model_copy(update={"live": {"pfe": False, "blocks": 1}})
    network = build_objective(changed).build()
    assert isinstance(network, LiveNet)
    assert network.pfe is None
    assert len(network.blocks) == 1


def test_composite_error_without_a_person_is_zero() -> None:
    batch = {"pixels": torch.rand(2, 2, 3, 8), "weight": torch.stack([torch.zeros(8), torch.ones(8)])}
    found = composite_fmse(batch)
    assert found[0] == 0
    expected = ((batch["pixels"][1, 0] - batch["pixels"][1, 1]) * 255).square().mean()
    torch.testing.assert_close(found[1], expected)


def test_folders_of_scenes_that_do_not_exist_are_named(data_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(scene_files(data_folder, ("backgrounds/rooms", "backgrounds/room"))) == 3
    (record,) = caplog.records
    assert record.message.endswith("backgrounds/room: no such folder, so no scenes are taken from it")
