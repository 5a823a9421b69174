from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engine import BackendError, ModelFileError, open_runner
from engine.precision import _bfloat16_bits, with_precision
from engine.timing import relative_difference
from tests.engine import models


def rewritten(path: Path, precision: str) -> onnx.ModelProto:
    model = onnx.load_from_string(with_precision(path.read_bytes(), precision))
    # shape inference knows convolutions in bf16 only from opset 22 on
    onnx.checker.check_model(model, full_check=precision == "fp16")
    return model


def test_fp32_is_left_alone(tmp_path: Path) -> None:
    data = models.conv_net(tmp_path / "m.onnx").read_bytes()
    assert with_precision(data, "fp32") is data


@pytest.mark.parametrize(("precision", "kind"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)])
def test_work_is_in_half_and_ends_are_not(tmp_path: Path, precision: str, kind: int) -> None:
    model = rewritten(models.conv_net(tmp_path / "m.onnx"), precision)
    assert {tensor.data_type for tensor in model.graph.initializer} == {kind}
    ends = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}
    assert [node.op_type for node in model.graph.node] == ["Cast", "Conv", "Relu", "Conv", "Sigmoid", "Cast"]


def test_fp16_computes_nearly_the_same(tmp_path: Path) -> None:
    path = models.conv_net(tmp_path / "m.onnx")
    half = tmp_path / "half.onnx"
    half.write_bytes(with_precision(path.read_bytes(), "fp16"))
    with open_runner(path, "onnxruntime") as exact, open_runner(half, "onnxruntime") as rough:
        feed = exact.spec.example_feed()
        assert 0 < relative_difference(rough.infer(feed), exact.infer(feed)) <= 2e-3


def test_small_divisors_stay_in_float32(tmp_path: Path) -> None:
    """mean / (area + 1e-7), as in masked statistics: 1e-7 is below the smallest normal half."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["s"], keepdims=1),
        helper.make_node("Add", ["s", "epsilon"], ["d"]),
        helper.make_node("Div", ["epsilon", "d"], ["y"]),
    ]
    weights = {"w": np.ones((1, 1, 1, 1), np.float32), "epsilon": np.full((1, 1, 1, 1), 1e-7, np.float32)}
    path = models.save(tmp_path / "m.onnx", nodes, {"x": (1, 1, 4, 4)}, {"y": (1, 1, 1, 1)}, weights)
    half = tmp_path / "half.onnx"
    half.write_bytes(with_precision(path.read_bytes(), "fp16"))
    with open_runner(half, "onnxruntime") as runner:
        assert runner.infer({"x": np.zeros((1, 1, 4, 4), np.float32)})["y"].item() == pytest.approx(1.0)


def test_a_tensor_read_in_both_types_and_given_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Exp", ["c"], ["e"]),
        helper.make_node("Conv", ["e", "w"], ["y"]),
    ]
    weights = {"w": np.full((1, 1, 1, 1), 0.5, np.float32)}
    path = models.save(tmp_path / "m.onnx", nodes, {"x": (1, 1, 2, 2)}, {"c": (1, 1, 2, 2), "y": (1, 1, 2, 2)}, weights)
    rewritten(path, "fp16")
    half = tmp_path / "half.onnx"
    half.write_bytes(with_precision(path.read_bytes(), "fp16"))
    with open_runner(half, "onnxruntime") as runner:
        values = runner.infer({"x": np.full((1, 1, 2, 2), 2, np.float32)})
    np.testing.assert_allclose(values["c"], 1, rtol=1e-3)
    np.testing.assert_allclose(values["y"], np.e / 2, rtol=1e-3)


def test_an_output_in_float32_that_half_nodes_read(tmp_path: Path) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Conv", ["e", "w"], ["y"])]
    weights = {"w": np.full((1, 1, 1, 1), 0.5, np.float32)}
    path = models.save(tmp_path / "m.onnx", nodes, {"x": (1, 1, 2, 2)}, {"e": (1, 1, 2, 2), "y": (1, 1, 2, 2)}, weights)
    half = tmp_path / "half.onnx"
    half.write_bytes(with_precision(path.read_bytes(), "fp16"))
    with open_runner(half, "onnxruntime") as runner:
        values = runner.infer({"x": np.full((1, 1, 2, 2), 0.3, np.float32)})
    np.testing.assert_allclose(values["e"], np.exp(np.float32(0.3)), rtol=1e-6)
    np.testing.assert_allclose(values["y"], np.exp(0.3) / 2, rtol=1e-3)


def test_bfloat16_rounds_to_nearest_even() -> None:
    values = np.array([1.0, -2.5, 1 + 2**-8, 1 + 3 * 2**-8, 3.14159274], np.float32)
    expected = np.array([0x3F80, 0xC020, 0x3F80, 0x3F82, 0x4049], np.uint16)
    np.testing.assert_array_equal(_bfloat16_bits(values), expected)


def test_int8_needs_a_quantized_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no QuantizeLinear nodes"):
        with_precision(models.conv_net(tmp_path / "m.onnx").read_bytes(), "int8")
    weights = {"scale": np.float32(0.1).reshape(()), "zero": np.int8(0).reshape(())}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    data = models.save(tmp_path / "q.onnx", nodes, {"x": (1, 4)}, {"y": (1, 4)}, weights).read_bytes()
    assert with_precision(data, "int8") is data


@pytest.mark.parametrize("make", [models.custom_operator, models.future_opset])
def test_models_that_cannot_be_rewritten(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(ModelFileError):
        with_precision(make(tmp_path / "m.onnx").read_bytes()[:-3], "fp16")
    with pytest.raises(BackendError, match="no precision 'fp8'"):
        with_precision(models.conv_net(tmp_path / "c.onnx").read_bytes(), "fp8")
