"""The reference computes what the operator says, or refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("torch", reason="torch is not installed")

from engine import InferenceError, open_runner
from tests.engine import models

AXIS = {"axis": np.array(2, np.int64)}
HALVES = {"scales": np.array([1, 1, 0.5, 0.5], np.float32)}


def node(operator: str, *more: str, **attributes: object) -> object:
    return helper.make_node(operator, ["x", *more], ["y"], **attributes)


@pytest.mark.parametrize(
    ("one", "side", "weights"),
    [
        (node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 4, {}),
        (node("MaxPool", kernel_shape=[2, 2], strides=[1, 1], dilations=[2, 2]), 6, {}),
        (node("Resize", "", "scales", mode="linear"), 4, HALVES),
    ],
)
def test_it_agrees_with_onnx_runtime(one: object, side: int, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = models.save(tmp_path / "m.onnx", [one], {"x": (1, 3, 8, 8)}, {"y": (1, 3, side, side)}, weights)
    x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    with open_runner(path, "torch") as torch, open_runner(path, "onnxruntime") as reference:
        np.testing.assert_allclose(torch.infer({"x": x})["y"], reference.infer({"x": x})["y"], atol=1e-6)


@pytest.mark.parametrize(
    ("one", "sides", "weights"),
    [
        (node("MaxPool", kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]), (9, 9), {}),
        (node("MaxPool", kernel_shape=[3, 3], strides=[1, 1], auto_pad="SAME_UPPER"), (9, 9), {}),
        (node("Pad", "pads", mode="reflect"), (9, 10), {"pads": np.array([0, 0, 0, 0, 0, 0, 0, 1], np.int64)}),
        (node("CumSum", "axis", reverse=1), (9, 9), AXIS),
        (node("CumSum", "axis", exclusive=1), (9, 9), AXIS),
        (node("Resize", "", "scales", mode="linear"), (4, 4), HALVES),
        (node("Resize", "", "scales", mode="linear", antialias=1), (9, 9), {"scales": np.ones(4, np.float32)}),
    ],
)
def test_what_it_would_compute_otherwise_it_refuses(
    one: object, sides: Sequence[int], weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = models.save(tmp_path / "m.onnx", [one], {"x": (1, 3, 9, 9)}, {"y": (1, 3, *sides)}, weights)
    with pytest.raises(InferenceError, match="the torch backend lacks"):
        open_runner(path, "torch").open()


@pytest.mark.parametrize(
    ("nodes", "shape", "opset"),
    [
        ([node("Softmax")], (1, 3, 8, 8), 11),
        ([node("Softmax", axis=2)], (1, 3, 8, 8), 12),
        ([node("Softmax", axis=-1)], (1, 3, 8, 8), 12),
        ([node("Softmax")], (1, 3, 8, 8), 13),
        ([node("Softmax", axis=1)], (1, 3, 8, 8), 13),
        ([node("Clip", min=0.2, max=0.7)], (1, 3, 8, 8), 10),
        ([node("Clip", max=0.7)], (1, 3, 8, 8), 7),
        ([node("Clip", "", "most")], (1, 3, 8, 8), 13),
        ([node("Clip")], (1, 3, 8, 8), 13),
        ([node("Pad", pads=[0, 1, 0, 2, 0, 3, 4, 0], value=0.3)], (1, 7, 12, 10), 10),
        ([node("Pad", "pads")], (1, 5, 9, 16), 11),
        ([node("Pad", "pads", "most")], (1, 5, 9, 16), 17),
        ([node("Pad", "some", "most", "axes")], (1, 5, 8, 12), 18),
        ([helper.make_node("Split", ["x"], ["a", "b", "y"], axis=3, num_outputs=3)], (1, 3, 8, 2), 18),
        ([helper.make_node("Split", ["x"], ["a", "y"], axis=2)], (1, 3, 4, 8), 13),
        ([helper.make_node("Split", ["x"], ["a", "y"], axis=-1, split=[3, 5])], (1, 3, 8, 5), 11),
        ([helper.make_node("Split", ["x", "sizes"], ["a", "y"], axis=-1)], (1, 3, 8, 2), 13),
    ],
)
def test_what_changed_with_the_opset_agrees_with_onnx_runtime(
    nodes: Sequence[object], shape: Sequence[int], opset: int, tmp_path: Path
) -> None:
    used = {name for one in nodes for name in one.input}
    weights = {
        "most": np.array(0.7, np.float32),
        "sizes": np.array([6, 2], np.int64),
        "pads": np.array([0, 2, 0, 5, 0, 0, 1, 3], np.int64),
        "some": np.array([4, 2, 0, 0], np.int64),
        "axes": np.array([-1, 1], np.int64),
    }
    weights = {name: value for name, value in weights.items() if name in used}
    path = models.save(tmp_path / "m.onnx", nodes, {"x": (1, 3, 8, 8)}, {"y": shape}, weights, opset=opset)
    x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    with open_runner(path, "torch") as torch, open_runner(path, "onnxruntime") as reference:
        np.testing.assert_allclose(torch.infer({"x": x})["y"], reference.infer({"x": x})["y"], atol=1e-6)


def test_parts_that_are_not_as_many_as_the_outputs_are_refused(tmp_path: Path) -> None:
    one = helper.make_node("Split", ["x"], ["a", "b", "c", "d", "y"], axis=3, num_outputs=5)
    path = models.save(tmp_path / "m.onnx", [one], {"x": (1, 3, 8, 8)}, {"y": (1, 3, 8, "n")})
    with pytest.raises(InferenceError, match="lacks Split of 8 into 5 parts"):
        open_runner(path, "torch").open()
