from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from livecomp.correction import Correction
from livecomp.errors import ConfigError, ModelError
from livecomp.harmonizers.fit import correction_from_affine, correction_from_pairs
from livecomp.harmonizers.network import NetworkHarmonizer
from livecomp.harmonizers.registry import make_harmonizer
from tests.livecomp.harmonizers.networks import neutral_outputs, write_network

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
    with pytest.raises(ConfigError, match=r"live, mkl, reinhard, identity, and the path of an \.onnx file"):
        make_harmonizer("magic")


def test_a_path_is_a_network_of_the_users(tmp_path: Path) -> None:
    path = write_network(tmp_path / "Mine.ONNX", outputs=neutral_outputs())
    harmonizer = make_harmonizer(str(path), backend="onnxruntime")
    harmonizer.open()
    assert (harmonizer.name, harmonizer.input_size) == (str(path), 8)
    harmonizer.close()
    path.unlink()
    with pytest.raises(ModelError, match=r"Mine\.ONNX, found no file"):
        make_harmonizer(str(path)).open()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("matrix", np.eye(3)),
        ("curves", np.tile(np.linspace(0, 1, 16), (1, 3, 1))),
        ("log_gain", np.zeros((1, 8, 8))),
        ("log_gain", np.float32(0)),
    ],
)
def test_a_network_whose_corrections_have_other_sizes_is_refused(name: str, value: np.ndarray, tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", outputs=neutral_outputs() | {name: value})
    with pytest.raises(ModelError, match=r"expected composite .* 'log_gain': \(1, 16, 16\)"):
        make_harmonizer(str(path), backend="onnxruntime").open()


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


def test_curves_that_fall_are_made_to_stay(tmp_path: Path) -> None:
    curves = np.tile(np.linspace(0, 1, 32), (1, 3, 1))
    curves[0, 1, 10:20] -= 0.3
    path = write_network(tmp_path / "net.onnx", outputs=neutral_outputs() | {"curves": curves})
    harmonizer = NetworkHarmonizer(lambda: path, backend="onnxruntime")
    harmonizer.open()
    rgb, alpha = scene(0)
    got = harmonizer.predict(rgb[20:28, 12:20].copy(), alpha[20:28, 12:20].copy()).curves
    np.testing.assert_allclose(got, np.maximum.accumulate(curves[0], axis=1), atol=1e-6)
    harmonizer.close()


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


def test_a_backend_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ModelError, match="no backend 'nonsense'"):
        make_harmonizer("live", backend="nonsense").open()


def test_a_network_that_takes_no_pictures_is_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", outputs=neutral_outputs())
    model = onnx.load(path)
    for entry in model.graph.input:
        del entry.type.tensor_type.shape.dim[:]
    onnx.save(model, path)
    with pytest.raises(ModelError, match="expected composite"):
        NetworkHarmonizer(lambda: path, backend="onnxruntime").open()


def test_a_network_that_takes_half_precision_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx", outputs=neutral_outputs())
    model = onnx.load(path)
    for entry in model.graph.input:
        entry.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
        model.graph.node.insert(
            0, onnx.helper.make_node("Cast", [entry.name], [f"{entry.name}_32"], to=onnx.TensorProto.FLOAT)
        )
        for node in model.graph.node[1:]:
            node.input[:] = [f"{entry.name}_32" if name == entry.name else name for name in node.input]
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"composite: float16 1x3x8x8.*both float32"):
        NetworkHarmonizer(lambda: path, backend="onnxruntime").open()
