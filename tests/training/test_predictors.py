"""Models and baselines behind one call."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from training.benchmarks import BenchmarkPair
from training.checkpoint import Checkpoint, save_checkpoint
from training.config import load_config
from training.correction import apply_correction
from training.evaluate import score_pairs
from training.models.live import LiveNet
from training.models.phnet import PHNet, PHNetConfig, build_phnet
from training.predictors import LiveOnnx, Oracle, PHNetDense, PHNetFitted, load_live, load_predictors, open_checkpoint

Write = Callable[..., Path]

SMALL = PHNetConfig("small", (8, 8, 8, 8, 8, 16))


def pair(side: int = 64) -> BenchmarkPair:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, (side, side, 3)).astype(np.float32)
    mask = np.zeros((side, side), np.float32)
    mask[8:, 10:50] = 1
    composite = np.where(mask[..., None] > 0, truth * np.float32(0.6), truth)
    return BenchmarkPair("x", composite, truth, mask, "tan")


def test_live_model_is_applied_at_the_size_of_the_picture(live_onnx: Write) -> None:
    model = LiveOnnx(live_onnx(matrix=np.diag([0.5, 1, 1])[None], side=32))
    made = pair()
    np.testing.assert_allclose(model.predict(made), made.composite * np.float32([0.5, 1, 1]), atol=1e-5)
    assert model.name == "live"


def test_live_model_gets_the_composite_at_its_own_size(tmp_path: Path) -> None:
    """A network whose matrix is the mean colour on its diagonal tells what it was shown."""
    nodes = [
        onnx.helper.make_node("ReduceMean", ["composite"], ["mean"], axes=[2, 3], keepdims=0),
        onnx.helper.make_node("Mul", ["mean", "eye"], ["matrix"]),
        onnx.helper.make_node("Constant", [], ["curves"], value=onnx.numpy_helper.from_array(
            np.tile(np.linspace(0, 1, 32, dtype=np.float32), (1, 3, 1)))),
        onnx.helper.make_node("Constant", [], ["log_gain"], value=onnx.numpy_helper.from_array(
            np.zeros((1, 16, 16), np.float32))),
    ]  # fmt: skip
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "g",
        [value("composite", 1, (1, 3, 16, 16)), value("mask", 1, (1, 1, 16, 16))],
        [value("matrix", 1, (1, 3, 3)), value("curves", 1, (1, 3, 32)), value("log_gain", 1, (1, 16, 16))],
        [onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32)[None], "eye")],
    )  # fmt: skip
    path = tmp_path / "mean.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=10), path)
    made = pair()
    matrix = LiveOnnx(path).parameters(made.composite, made.mask).matrix
    np.testing.assert_allclose(np.diag(matrix), made.composite.mean((0, 1)), atol=1e-5)


def test_oracle_beats_the_composite_by_far() -> None:
    made = pair()
    error = np.abs(Oracle().predict(made) - made.truth)[made.mask > 0].mean()
    assert error < 0.05 * np.abs(made.composite - made.truth)[made.mask > 0].mean()


def test_phnet_as_parameters_is_near_its_own_picture() -> None:
    torch.manual_seed(0)
    dense = PHNetDense(PHNet(SMALL).eval(), "small")
    fitted, made = PHNetFitted(dense), pair()
    inside = made.mask > 0
    far = np.abs(made.composite - dense.predict(made))[inside].mean()
    assert np.abs(fitted.predict(made) - dense.predict(made))[inside].mean() < far
    assert fitted.name == "small as parameters"
    assert fitted.last_fit is not None
    between = np.square(255 * (fitted.predict(made) - dense.predict(made)))[inside].mean()
    assert fitted.last_fit.psnr == pytest.approx(10 * np.log10(255**2 / between), abs=0.05)


def test_dense_picture_is_computed_once_per_pair() -> None:
    torch.manual_seed(0)
    network, calls = PHNet(SMALL).eval(), []
    network.register_forward_hook(lambda *_: calls.append(1))
    dense, first, second = PHNetDense(network, "small"), pair(), pair()
    assert dense.predict(first) is dense.predict(first)
    dense.predict(second)
    assert len(calls) == 2


def test_registry_of_a_run(live_onnx: Write) -> None:
    names = [p.name for p in load_predictors([live_onnx("mine")])]
    assert names == ["composite", "reinhard_rgb", "reinhard_lab", "mkl", "mine", "oracle"]
    assert [p.name for p in load_predictors([], baselines=False, oracle=False)] == ["composite"]


def test_two_models_of_one_name_are_refused(tmp_path: Path, live_onnx: Write) -> None:
    again = tmp_path / "other" / "mine.onnx"
    again.parent.mkdir()
    shutil.copy(live_onnx("mine"), again)
    predictors = load_predictors([live_onnx("mine"), again], oracle=False)
    with pytest.raises(ValueError, match="received mine more than once"):
        score_pairs(predictors, [pair()], "b", "plain", 1)


def test_models_that_are_none_are_named(tmp_path: Path, live_onnx: Write) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx"):
        load_predictors([tmp_path / "nowhere.onnx"])
    (tmp_path / "model.pt").touch()
    with pytest.raises(ValueError, match=r"received \.pt"):
        load_predictors([tmp_path / "model.pt"])
    for content in (b"", b"no model"):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.onnx: cannot be read as an ONNX model"):
            load_predictors([tmp_path / "broken.onnx"])
    model = onnx.load(live_onnx())
    model.graph.output[0].name = model.graph.node[0].output[0] = "other"
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ValueError, match="expected inputs composite and mask"):
        load_predictors([tmp_path / "wrong.onnx"])


def checkpoint(path: Path, model: str, network: torch.nn.Module, side: int = 32) -> Path:
    """A checkpoint as a training run leaves it."""
    config = load_config("live_supervised").model_dump(mode="json")
    config["model"], config["live"], config["data"]["size"] = model, {}, side
    weights = network.state_dict()
    averaged = {name: tensor.clone() for name, tensor in weights.items()}
    save_checkpoint(path, Checkpoint({"model": weights, "ema": averaged}, {"config": config}))
    return path


def test_live_checkpoint_predicts_as_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LiveNet()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    path = checkpoint(tmp_path / "run" / "last.safetensors", "live", network)
    _, model = load_predictors([path], baselines=False, oracle=False)
    made = pair(64)
    small = made.composite.reshape(32, 2, 32, 2, 3).mean((1, 3)).transpose(2, 0, 1)[None]
    mask = made.mask.reshape(32, 2, 32, 2).mean((1, 3))[None, None]
    with torch.inference_mode():
        correction, _ = network.eval()(torch.from_numpy(np.ascontiguousarray(small)), torch.from_numpy(mask))
        full = torch.from_numpy(np.ascontiguousarray(made.composite.transpose(2, 0, 1)))[None]
        expected = apply_correction(full, correction)[0].numpy().transpose(1, 2, 0)
    assert np.abs(expected - made.composite).max() > 0.01
    np.testing.assert_allclose(model.predict(made), expected, atol=1e-3)
    assert model.name == "run/last"
    assert load_live(path).name == "run/last"


def test_phnet_checkpoint_comes_dense_and_fitted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_phnet("phnet_10m", pfe=False)
    path = checkpoint(tmp_path / "p" / "last.safetensors", "phnet_10m", network)
    _, dense, fitted = load_predictors([path], baselines=False, oracle=False)
    assert (dense.name, fitted.name) == ("p/last", "p/last as parameters")
    made = pair(32)
    with torch.inference_mode():
        composite = torch.from_numpy(np.ascontiguousarray(made.composite.transpose(2, 0, 1)))[None]
        expected = network.eval()(composite, torch.from_numpy(made.mask)[None, None])
    with pytest.raises(ValueError, match="expected a live model, received a checkpoint of phnet_10m"):
        load_live(path)
    np.testing.assert_allclose(dense.predict(made), expected[0].numpy().transpose(1, 2, 0), atol=1e-4)


def test_checkpoints_of_another_model_are_named(tmp_path: Path) -> None:
    wrong = checkpoint(tmp_path / "wrong.safetensors", "live", torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="a checkpoint of another model"):
        open_checkpoint(wrong)
    save_checkpoint(tmp_path / "bare.safetensors", Checkpoint({"model": {"w": torch.zeros(1)}}, {}))
    with pytest.raises(ValueError, match="configuration cannot be used"):
        open_checkpoint(tmp_path / "bare.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot read the checkpoint"):
        open_checkpoint(tmp_path / "damaged.safetensors")
