"""Networks of the harmonizer's interface, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["neutral_outputs", "write_network"]


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
