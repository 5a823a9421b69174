from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from livecomp.correction import Correction
from livecomp.errors import ConfigError, ModelError
from livecomp.harmonizers.fit import correction_from_affine, correction_from_pairs
from livecomp.harmonizers.network import NetworkHarmonizer
from livecomp.harmonizers.registry import make_harmonizer

CLASSICAL = ["identity", "reinhard", "mkl"]


def scene(seed: int, person_shift: tuple[float, float, float] = (0, 0, 0)) -> tuple[np.ndarray, np.ndarray]:
    """A 64x64 composite whose person has the scene's colours, shifted."""
    rng = np.random.default_rng(seed)
    rgb = np.clip(rng.normal(0.5, 0.12, (64, 64, 3)), 0.05, 0.95)
    alpha = np.zeros((64, 64), np.uint8)
    alpha[20:, 16:48] = 255
    rgb[alpha > 0] += np.array(person_shift)
    return (np.clip(rgb, 0, 1) * 255).astype(np.uint8), alpha


def corrected_mean(correction: Correction, rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return correction.apply(rgb.astype(np.float32) / 255)[alpha > 0].mean(axis=0)


@pytest.mark.parametrize("name", ["reinhard", "mkl"])
def test_a_shifted_person_comes_back(name: str) -> None:
    rgb, alpha = scene(0, (0.2, -0.1, 0.1))
    correction = make_harmonizer(name).predict(rgb, alpha)
    expected = rgb[alpha == 0].mean(axis=0) / 255
    np.testing.assert_allclose(corrected_mean(correction, rgb, alpha), expected, atol=0.012)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("alpha_value", [0, 255])
def test_nobody_or_nothing_but_the_person_gives_the_identity(name: str, alpha_value: int) -> None:
    rgb, alpha = scene(1)
    correction = make_harmonizer(name).predict(rgb, np.full_like(alpha, alpha_value))
    np.testing.assert_array_equal(correction.matrix, np.eye(3))
    assert not correction.log_gain.any()


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("person", [0, 90, 255])
@pytest.mark.parametrize("room", [0, 160, 255])
def test_constant_colours_give_finite_corrections(name: str, person: int, room: int) -> None:
    alpha = np.zeros((64, 64), np.uint8)
    alpha[:, :20] = 255
    rgb = np.where(alpha[..., None] > 0, person, room).astype(np.uint8).repeat(3, axis=2)[..., :3]
    make_harmonizer(name).predict(np.ascontiguousarray(rgb), alpha)


def test_an_affine_map_becomes_a_correction_exactly() -> None:
    rng = np.random.default_rng(2)
    colors = rng.uniform(0.2, 0.8, (500, 3)).astype(np.float32)
    linear = np.float32([[1.1, 0.1, -0.1], [0.05, 0.9, 0.0], [0.0, -0.1, 1.2]])
    offset = np.float32([-0.1, 0.08, -0.02])
    correction = correction_from_affine(linear, offset, colors)
    expected = np.clip(colors @ linear.T + offset, 0, 1)
    np.testing.assert_allclose(correction.apply(colors[None])[0], expected, atol=0.004)


def test_pairs_recover_a_tone_curve() -> None:
    rng = np.random.default_rng(3)
    colors = rng.random((4000, 3)).astype(np.float32)
    targets = colors**1.6
    correction = correction_from_pairs(colors, targets, np.ones(4000, np.float32))
    assert np.abs(correction.apply(colors[None])[0] - targets).mean() < 0.01
    assert (np.diff(correction.curves, axis=1) >= 0).all()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="live, mkl, reinhard, identity"):
        make_harmonizer("magic")


def write_network(path: Path, *, outputs: dict[str, np.ndarray], size: int = 8) -> Path:
    """An ONNX file of the harmonizer's interface that answers with constants plus 0 times its input."""
    graph_inputs = [
        helper.make_tensor_value_info("composite", TensorProto.FLOAT, [1, 3, size, size]),
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, size, size]),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    nodes = [
        helper.make_node("ReduceSum", ["composite"], ["sum_c"], keepdims=0),
        helper.make_node("ReduceSum", ["mask"], ["sum_m"], keepdims=0),
        helper.make_node("Add", ["sum_c", "sum_m"], ["sum"]),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
    ]
    constants, graph_outputs = [zero], []
    for name, value in outputs.items():
        constants.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [name]))
        graph_outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape)))
    graph = helper.make_graph(nodes, "test", graph_inputs, graph_outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def neutral_outputs() -> dict[str, np.ndarray]:
    return {
        "matrix": np.eye(3)[None],
        "curves": np.tile(np.linspace(0, 1, 32), (1, 3, 1)),
        "log_gain": np.zeros((1, 16, 16)),
    }


def test_the_network_answers_with_its_parameters(tmp_path: Path) -> None:
    outputs = neutral_outputs() | {"log_gain": np.full((1, 16, 16), 5.0)}
    path = write_network(tmp_path / "net.onnx", outputs=outputs)
    harmonizer = NetworkHarmonizer(lambda: path, backend="onnxruntime")
    harmonizer.open()
    assert harmonizer.input_size == 8
    rgb, alpha = scene(0)
    correction = harmonizer.predict(rgb[20:28, 12:20].copy(), alpha[20:28, 12:20].copy())
    np.testing.assert_array_equal(correction.matrix, np.eye(3))
    assert correction.log_gain.max() == 1.0
    harmonizer.close()
    harmonizer.close()
    with pytest.raises(ModelError, match="not open"):
        harmonizer.predict(rgb, alpha)


def test_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", outputs=neutral_outputs() | {"matrix": np.full((1, 3, 3), np.nan)})
    harmonizer = NetworkHarmonizer(lambda: path, backend="onnxruntime")
    harmonizer.open()
    rgb, alpha = scene(0)
    with pytest.raises(ModelError, match="finite"):
        harmonizer.predict(rgb[20:28, 12:20].copy(), alpha[20:28, 12:20].copy())
    harmonizer.close()


def test_a_network_of_another_interface_is_refused(tmp_path: Path) -> None:
    outputs = neutral_outputs()
    del outputs["log_gain"]
    path = write_network(tmp_path / "net.onnx", outputs=outputs)
    with pytest.raises(ModelError, match="expected composite"):
        NetworkHarmonizer(lambda: path, backend="onnxruntime").open()


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="cannot be loaded"):
        NetworkHarmonizer(lambda: path, backend="onnxruntime").open()
