"""From thirty steps of training to a scored ONNX file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from training import evaluate, export_live
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from training.config import load_config
from training.export_live import ExportError, LiveExport, blend, load_live, main, rounded
from training.models.live import LiveNet, LiveSpec
from training.train import train

pytestmark = [
    # the exporter's own
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:DeprecationWarning"),
]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = LiveNet()
    for head in (network.to_matrix, network.to_curves, network.gain0):
        nn.init.normal_(head.weight, std=0.05)
    network(torch.rand(8, 3, 64, 64), (torch.rand(8, 1, 64, 64) > 0.5).float())
    path = tmp_path / "live.safetensors"
    save_checkpoint(path, Checkpoint({"ema": network.state_dict()}, {"model": "live", "samples": 7}))
    return path


def test_the_file_computes_what_the_network_computes(checkpoint: Path, tmp_path: Path) -> None:
    assert main([str(checkpoint), str(tmp_path / "live.onnx")]) == 0
    network, meta = load_live(checkpoint)
    assert meta["samples"] == 7
    session = onnxruntime.InferenceSession(str(tmp_path / "live.onnx"), providers=["CPUExecutionProvider"])
    assert {i.name: i.shape for i in session.get_inputs()} == {"composite": [1, 3, 64, 64], "mask": [1, 1, 64, 64]}
    rng = np.random.default_rng(3)
    rgb, mask = rng.random((1, 3, 64, 64), np.float32), (rng.random((1, 1, 64, 64)) > 0.4).astype(np.float32)
    outputs = session.run(["matrix", "curves", "log_gain"], {"composite": rgb, "mask": mask})
    with torch.no_grad():
        expected = LiveExport(rounded(network))(torch.from_numpy(rgb), torch.from_numpy(mask))
    for mine, theirs in zip(expected, outputs, strict=True):
        np.testing.assert_allclose(theirs, mine.numpy(), atol=1e-3)
    assert np.ptp(outputs[2]) > 0.01


def test_the_input_has_the_size_of_the_crops_it_was_trained_on(tmp_path: Path) -> None:
    meta = {"model": "live", "config": {"data": {"size": 32}, "live": {"pretrained": True, "blocks": 2, "surfaces": 4}}}
    network = LiveNet(LiveSpec(pretrained=True, blocks=2, surfaces=4))
    save_checkpoint(tmp_path / "live.safetensors", Checkpoint({"ema": network.state_dict()}, meta))
    assert main([str(tmp_path / "live.safetensors"), str(tmp_path / "live.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "live.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 32, 32]


def test_the_file_is_small_and_its_large_weights_are_halves(checkpoint: Path, tmp_path: Path) -> None:
    main([str(checkpoint), str(tmp_path / "live.onnx")])
    assert (tmp_path / "live.onnx").stat().st_size <= 12e6
    model = onnx.load(tmp_path / "live.onnx")
    large = {t.data_type for t in model.graph.initializer if len(t.dims) > 1 and np.prod(t.dims) >= 1024}
    assert large == {onnx.TensorProto.FLOAT16}


def test_the_weights_can_be_trained_on_from(checkpoint: Path, tmp_path: Path) -> None:
    network, meta = load_live(checkpoint)
    export_live.save_weights(network, tmp_path / "weights.safetensors", meta)
    again, told = load_live(tmp_path / "weights.safetensors")
    assert told == meta
    assert (tmp_path / "weights.safetensors").stat().st_size < 0.55 * checkpoint.stat().st_size
    for mine, theirs in zip(rounded(network).state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=0, rtol=0)


def test_two_checkpoints_are_blended(checkpoint: Path, tmp_path: Path) -> None:
    network, _ = load_live(checkpoint)
    other = LiveNet()
    save_checkpoint(tmp_path / "b.safetensors", Checkpoint({"ema": other.state_dict()}, {"model": "live"}))
    arguments = [str(checkpoint), str(tmp_path / "live.onnx"), "--weights", str(tmp_path / "w.safetensors")]
    assert main([*arguments, "--blend", str(tmp_path / "b.safetensors"), "--share", "0.25"]) == 0
    blended, _ = load_live(tmp_path / "w.safetensors")
    expected = 0.75 * network.to_matrix.weight + 0.25 * other.to_matrix.weight
    torch.testing.assert_close(blended.to_matrix.weight, expected, atol=1e-3, rtol=1e-3)


def test_checkpoints_of_different_sizes_are_not_blended() -> None:
    with pytest.raises(CheckpointError, match="different weights"):
        blend(LiveNet(), LiveNet(LiveSpec(trunk=320)), 0.1)


def test_a_file_that_computes_something_else_is_not_left_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    halved = export_live.halved

    def spoiled(model: onnx.ModelProto) -> onnx.ModelProto:
        found = halved(model)
        for tensor in found.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT16:
                values = onnx.numpy_helper.to_array(tensor) * np.float16(1.5)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return found

    monkeypatch.setattr(export_live, "halved", spoiled)
    assert main([str(checkpoint), str(tmp_path / "live.onnx")]) == 3
    assert "outputs differ by" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.onnx"))
    network, _ = load_live(checkpoint)
    with pytest.raises(ExportError):
        export_live.export_live(network, tmp_path / "live.onnx")


@pytest.mark.parametrize("value", [float("nan"), 1e5])
def test_weights_that_are_not_finite_in_the_file_are_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    network, _ = load_live(checkpoint)
    with torch.no_grad():
        network.to_curves.weight[0, 0] = value
    broken = tmp_path / "broken.safetensors"
    save_checkpoint(broken, Checkpoint({"ema": network.state_dict()}, {"model": "live"}))
    assert main([str(broken), str(tmp_path / "live.onnx")]) == 3
    assert "to_curves.weight" in capsys.readouterr().err
    assert not [path.name for path in tmp_path.iterdir() if "onnx" in path.name]


def test_a_file_whose_outputs_are_not_finite_is_not_left_behind(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def not_finite(*_: object) -> float:
        raise ExportError("expected finite values")

    monkeypatch.setattr(export_live, "_check", not_finite)
    (tmp_path / "live.onnx").write_bytes(b"kept")
    assert main([str(checkpoint), str(tmp_path / "live.onnx")]) == 3
    assert "expected finite values" in capsys.readouterr().err
    assert [path.read_bytes() for path in tmp_path.iterdir() if "onnx" in path.name] == [b"kept"]


def test_another_models_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "phnet.safetensors"
    save_checkpoint(path, Checkpoint({"ema": {"w": torch.zeros(1)}}, {"model": "phnet_10m"}))
    with pytest.raises(CheckpointError, match="expected a checkpoint of 'live', received 'phnet_10m'"):
        load_live(path)


@pytest.mark.parametrize(
    ("live", "message"),
    [({"memory": 3}, "unexpected keyword argument 'memory'"), ({"surfaces": 3}, "surfaces: 3 need pretrained")],
)
def test_a_checkpoint_of_a_network_that_is_unknown_here_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], live: dict[str, int], message: str
) -> None:
    found = load_checkpoint(checkpoint)
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, Checkpoint(found.tensors, {**found.meta, "config": {"live": live}}))
    assert main([str(path), str(tmp_path / "live.onnx")]) == 3
    told = capsys.readouterr().err
    assert f"{path}: a checkpoint of another live model" in told
    assert message in told


def test_an_input_that_the_network_cannot_take_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), str(tmp_path / "live.onnx"), "--size", "80"]) == 3
    assert "must be a multiple of 32 pixels, received 80" in capsys.readouterr().err


@pytest.mark.slow
def test_the_smoke_configuration_goes_all_the_way(data_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    progress = train(load_config("smoke"), data_folder, run, cache=tmp_path / "cache")
    assert progress.step == 30
    assert main([str(run / "last.safetensors"), str(tmp_path / "live.onnx")]) == 0
    scored = tmp_path / "scores"
    options = [str(tmp_path / "live.onnx"), "--data", str(data_folder), "--out", str(scored), "--size", "64"]
    assert evaluate.main([*options, "--no-oracle", "--benchmarks", "ffhqh", "same", "--masks", "dilated"]) == 0
    tables = json.loads((scored / "scores.json").read_text())["tables"]
    ours = [t for t in tables if t["predictor"] == "live"]
    assert len(ours) == 2
    assert all(np.isfinite(t["overall"]["fmse"]) for t in ours)
