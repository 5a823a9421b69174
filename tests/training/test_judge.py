"""The judge: its pictures, its training, and its command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from training import judge as jg
from training.data.illuminants import Lights
from training.judge_data import JudgeConfig, JudgeData, swapped
from training.models.discriminator import Judge

TINY = JudgeConfig(size=32, width=8, steps=12, batch=8)


def portraits(count: int = 12, side: int = 32) -> np.ndarray:
    """Portrait i has the brightness i; its person is the wider, the larger i is."""
    made = np.zeros((count, side, side, 5), np.uint8)
    for index in range(count):
        made[index, ..., :3] = 20 + 10 * index
        half = 3 + index
        made[index, 8:, side // 2 - half : side // 2 + half, 3] = 255
    return made


def test_the_other_person_vanishes_behind(lights: Lights) -> None:
    data = JudgeData(portraits(), lights, TINY)
    rng = np.random.default_rng(0)
    others = [data.other(8, rng) for _ in range(20)]
    assert all(o is not None and o < 8 for o in others)
    assert data.other(0, rng) is None, "nobody is smaller"


def test_batches_are_half_real_and_repeat(lights: Lights) -> None:
    data = JudgeData(portraits(), lights, TINY)
    pictures, masks, labels = data.batch(3)
    assert pictures.shape == (8, 3, 32, 32)
    assert masks.shape == (8, 1, 32, 32)
    assert labels.tolist() == [1] * 4 + [0] * 4
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert torch.equal(pictures, data.batch(3)[0])
    assert not torch.equal(pictures, data.batch(4)[0])


@pytest.mark.parametrize("swap", [0.0, 1.0])
def test_only_composites_disagree_with_their_scene(lights: Lights, swap: float) -> None:
    """A portrait of one grey has person and scene alike; a composite of it has not."""
    data = JudgeData(portraits(), lights, JudgeConfig(**{**TINY.__dict__, "swap": swap}))
    differences: tuple[list[float], list[float]] = ([], [])
    for step in range(6):
        for picture, mask, label in zip(*data.batch(step), strict=True):
            inside = mask[0] > 0.5
            apart = (picture[:, inside].mean(1) - picture[:, ~inside].mean(1)).abs().max()
            differences[int(label)].append(float(apart))
    assert max(differences[1]) < 1e-3
    assert np.median(differences[0]) > 0.02


def test_swapped_people_keep_their_pixels(lights: Lights) -> None:
    made = swapped(portraits(), lights, TINY)
    assert 6 <= len(made) <= 11
    for composite in made:
        person = int(composite.name.split()[0])
        np.testing.assert_allclose(composite.rgb[composite.alpha == 1] * 255, 20 + 10 * person, atol=1e-3)
        assert (composite.rgb[composite.alpha == 0] * 255 < 20 + 10 * person - 5).all()


def test_training_learns(lights: Lights) -> None:
    config = JudgeConfig(size=32, width=8, steps=60, batch=16, lr=4e-3)
    data = JudgeData(portraits(), lights, config)
    model = jg.train(data, config)
    pictures, masks, labels = data.batch(1000)
    with torch.inference_mode():
        logits = model(pictures, masks).numpy().astype(np.float64)
    real = labels.numpy() > 0
    assert jg.auc(logits[real], logits[~real]) > 0.75


def test_auc_by_hand() -> None:
    assert jg.auc(np.array([2.0, 1.0]), np.array([0.0, 1.0])) == pytest.approx((1 + 1 + 1 + 0.5) / 4)


def test_what_is_saved_reads_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Judge(TINY.width, TINY.seam).eval()
    jg.save_judge(tmp_path / "j.safetensors", model, TINY)
    again, config = jg.load_judge(tmp_path / "j.safetensors")
    assert config == TINY
    picture = (np.random.default_rng(0).random((50, 40, 3), np.float32), np.ones((50, 40), np.float32))
    assert jg.rate(model, 32, [picture]) == pytest.approx(jg.rate(again, 32, [picture]))
    assert not list(tmp_path.glob("*.partial"))


def test_other_files_and_keys_are_named(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="expected a judge, received 1 weights"):
        jg.load_judge(tmp_path / "other.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="cannot be read"):
        jg.load_judge(tmp_path / "damaged.safetensors")
    (tmp_path / "judge.toml").write_text("step = 4\n")
    with pytest.raises(ValueError, match=r"unknown keys \['step'\]; known are batch"):
        jg.load_config(tmp_path / "judge.toml")
    (tmp_path / "judge.toml").write_text('steps = "four"\n')
    with pytest.raises(ValueError, match="steps: expected a whole number from 0 on, received 'four'"):
        jg.load_config(tmp_path / "judge.toml")


@pytest.mark.parametrize(
    ("config", "message"),
    [('{"sides": 64}', "unexpected keyword argument 'sides'"), ("{}", "differences, first: layers")],
)
def test_judges_of_another_kind_are_named(tmp_path: Path, config: str, message: str) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "j.safetensors", metadata={"judge": config})
    with pytest.raises(ValueError, match=f"j.safetensors: a judge of another kind: .*{message}"):
        jg.load_judge(tmp_path / "j.safetensors")


def test_a_judge_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: object, path: Path, metadata: object) -> None:
        path.touch()
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(jg, "save_file", full)
    with pytest.raises(OSError, match=r"j\.safetensors: cannot write the judge: No space left"):
        jg.save_judge(tmp_path / "j.safetensors", Judge(TINY.width, TINY.seam), TINY)
    assert not list(tmp_path.iterdir())


def test_loss_that_is_not_finite_stops(lights: Lights) -> None:
    config = JudgeConfig(**{**TINY.__dict__, "lr": 1e30})
    with pytest.raises(FloatingPointError, match=r"at step \d+; lower lr"):
        jg.train(JudgeData(portraits(), lights, config), config)


def test_commands_from_data_to_table(
    data_folder: Path,
    tmp_path: Path,
    live_onnx: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tmp_path / "judge.toml"
    config.write_text("size = 32\nwidth = 8\nsteps = 3\nbatch = 4\n")
    weights, data = tmp_path / "judge.safetensors", ["--data", str(data_folder)]
    assert jg.main(["train", *data, "--config", str(config), "--out", str(weights)]) == 0
    model, out = live_onnx("same"), tmp_path / "out.json"
    assert jg.main(["score", str(model), *data, "--judge", str(weights), "--count", "4", "--out", str(out)]) == 0
    assert "## 4 people over rooms" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report["rooms"]["same"]["mean"] == pytest.approx(report["rooms"]["plain"]["mean"], abs=1e-3)
    assert report["real"]["count"] == 8
    assert jg.main(["score", *data, "--judge", str(tmp_path / "none.safetensors")]) == 3
    assert "none.safetensors" in capsys.readouterr().err
