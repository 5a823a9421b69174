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
