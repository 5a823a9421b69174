"""Small ONNX models made for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str]],
    outputs: dict[str, Sequence[int | str]],
    weights: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 18,
    domains: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
) -> Path:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return path


def conv_net(path: Path, *, side: int = 16, channels: int = 8, seed: int = 0) -> Path:
    """(1, 3, side, side) -> (1, 1, side, side) in 0..1, through two convolutions."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(0, 0.3, (channels, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, channels).astype(np.float32),
        "w2": rng.normal(0, 0.3, (1, channels, 3, 3)).astype(np.float32),
        "b2": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c2"], ["output"]),
    ]
    shapes = {"input": (1, 3, side, side)}, {"output": (1, 1, side, side)}
    return save(path, nodes, *shapes, weights, metadata={"livecomp.model": "test"})


def convolved(picture: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3 convolution with a border of zeros, written out."""
    padded = np.pad(picture, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weight) + bias[None, :, None, None]


def conv_net_by_hand(path: Path, picture: np.ndarray) -> np.ndarray:
    """What `conv_net` computes, in float64 and without any runtime."""
    weights = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(path).graph.initializer}
    hidden = np.maximum(convolved(picture.astype(np.float64), weights["w1"], weights["b1"]), 0)
    return 1 / (1 + np.exp(-convolved(hidden, weights["w2"], weights["b2"])))


def counter(path: Path) -> Path:
    """A network with memory: output = input + state, next state = state + 1."""
    nodes = [
        helper.make_node("Add", ["x", "state_in"], ["y"]),
        helper.make_node("Add", ["state_in", "one"], ["state_out"]),
    ]
    shapes = {"x": (1, 2), "state_in": (1, 2)}, {"y": (1, 2), "state_out": (1, 2)}
    return save(path, nodes, *shapes, {"one": np.ones((1, 2), np.float32)})


def reciprocal(path: Path) -> Path:
    """1 / input: infinite at zero."""
    return save(path, [helper.make_node("Reciprocal", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)})


def open_batch(path: Path) -> Path:
    """Twice the input, for a batch of any length."""
    node = helper.make_node("Mul", ["x", "two"], ["y"])
    return save(path, [node], {"x": ("batch", 3)}, {"y": ("batch", 3)}, {"two": np.full(1, 2, np.float32)})


def custom_operator(path: Path) -> Path:
    """An operator that no runtime knows."""
    node = helper.make_node("Teleport", ["x"], ["y"], domain="example.teleport")
    return save(path, [node], {"x": (1, 4)}, {"y": (1, 4)}, domains=["example.teleport"])


def future_opset(path: Path) -> Path:
    """A model in an opset that does not exist yet."""
    return save(path, [helper.make_node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, opset=999)
