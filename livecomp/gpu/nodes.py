"""Writes an ONNX graph node by node, so that arithmetic reads nearly as it does in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from livecomp.errors import DependencyError, ModelError

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "Nodes", "Operand", "input_side"]

OPSET = 18
_IR_VERSION = 8
_SAME_SINCE = 17
"""The operators of the embedded networks mean the same in this version of ONNX and in `OPSET`."""

Operand = str | float | NDArray[Any]
"""The name of a tensor, or a constant; numbers are float32."""


class Nodes:
    """A graph that grows; tensors are known by their names.

    Raises:
        DependencyError: The package onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx = _import_onnx()
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int]) -> str:
        """Declare an input and return its name."""
        self._inputs.append(self._declared(name, dtype, shape))
        return name

    def output(self, name: str, tensor: str, dtype: type[np.generic], shape: Sequence[int]) -> None:
        """Give a float32 tensor to the caller under a name, cast to `dtype`; whole numbers within 0..255 for uint8."""
        # TensorRT has uint8 at its ends only, made by the last node there
        kind = int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        self._nodes.append(self._onnx.helper.make_node("Cast", [tensor], [name], to=kind))
        self._outputs.append(self._declared(name, dtype, shape))

    def constant(self, value: float | NDArray[Any]) -> str:
        """The name of a constant; equal ones are kept once."""
        array = np.asarray(value, np.float32) if isinstance(value, float | int) else np.asarray(value, order="C")
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            name = self._known[key] = f"c{len(self._known)}"
            self._weights.append(self._onnx.numpy_helper.from_array(array, name))
        return self._known[key]

    def op(self, kind: str, *operands: Operand, **attributes: Any) -> str:  # noqa: ANN401 - as ONNX has them
        """Add an operator with one output and return that; the operand "" is one left out."""
        names = [one if isinstance(one, str) else self.constant(one) for one in operands]
        result = f"t{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, names, [result], **attributes))
        return result

    def add(self, *operands: Operand) -> str:
        """The sum of two or more."""
        return self._folded("Add", operands)

    def mul(self, *operands: Operand) -> str:
        """The product of two or more."""
        return self._folded("Mul", operands)

    def sub(self, left: Operand, right: Operand) -> str:
        """The difference."""
        return self.op("Sub", left, right)

    def clip(self, tensor: str, low: float, high: float) -> str:
        """Values within bounds."""
        return self.op("Clip", tensor, float(low), float(high))

    def as_float(self, tensor: str) -> str:
        """As float32."""
        return self.op("Cast", tensor, to=int(self._onnx.TensorProto.FLOAT))

    def as_int32(self, tensor: str) -> str:
        """As int32; whole numbers only."""
        return self.op("Cast", tensor, to=int(self._onnx.TensorProto.INT32))

    def rounded(self, tensor: str) -> str:
        """The nearest whole numbers, halves up."""
        return self.op("Floor", self.add(tensor, 0.5))

    def reshape(self, tensor: str, *shape: int) -> str:
        """With another shape."""
        return self.op("Reshape", tensor, np.array(shape, np.int64))

    def part(self, tensor: str, axis: int, start: int, stop: int) -> str:
        """The part from `start` up to `stop` along one axis."""
        start_at, stop_at, axes = (np.array([value], np.int64) for value in (start, stop, axis))
        return self.op("Slice", tensor, start_at, stop_at, axes)

    def stretched(self, tensor: str, size_wh: tuple[int, int], channels: int) -> str:
        """(1, C, h, w) bilinearly at another size: half-pixel centres, borders repeated, as OpenCV's INTER_LINEAR."""
        sizes = np.array([1, channels, size_wh[1], size_wh[0]], np.int64)
        return self.op("Resize", tensor, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")

    def box(self, tensor: str, side: int) -> str:
        """(1, C, h, w): the mean over squares of odd `side`, with repeated borders, as OpenCV's blur."""
        margin = side // 2
        pads = np.array([0, 0, margin, margin, 0, 0, margin, margin], np.int64)
        padded = self.op("Pad", tensor, pads, mode="edge")
        return self.op("AveragePool", padded, kernel_shape=[side, side], strides=[1, 1])

    def picked(self, tensor: str, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> str:
        """(1, C, h, w): the pixels at these rows and columns."""
        return self.op("Gather", self.op("Gather", tensor, rows, axis=2), columns, axis=3)

    def embedded(self, data: bytes, prefix: str, feed: Mapping[str, str]) -> dict[str, str]:
        """Put a whole network into this graph.

        Args:
            data: The network in ONNX, of one graph without functions.
            prefix: Goes before all its names.
            feed: The tensor for each of its inputs.

        Returns:
            The tensor of each of its outputs.

        Raises:
            ModelError: It uses another version of the operators, or its inputs have other names.
        """
        onnx = self._onnx
        model = onnx.load_from_string(data)
        versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
        if set(versions) != {"ai.onnx"} or not _SAME_SINCE <= versions["ai.onnx"] <= OPSET or model.functions:
            raise ModelError(f"the network {prefix!r} uses {versions}: expected ai.onnx {_SAME_SINCE} to {OPSET}")
        names = [value.name for value in model.graph.input]
        if sorted(names) != sorted(feed):
            raise ModelError(f"the network {prefix!r} has the inputs {names}: expected {sorted(feed)}")
        graph = onnx.compose.add_prefix_graph(model.graph, f"{prefix}/")
        joined = {f"{prefix}/{name}": tensor for name, tensor in feed.items()}
        for node in graph.node:
            node.input[:] = [joined.get(name, name) for name in node.input]
        self._nodes.extend(graph.node)
        self._weights.extend(graph.initializer)
        return {value.name: f"{prefix}/{value.name}" for value in model.graph.output}

    def model(self, name: str) -> bytes:
        """The finished graph, checked.

        Raises:
            ModelError: It is no valid graph.
        """
        onnx = self._onnx
        graph = onnx.helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._weights)
        opset = onnx.helper.make_opsetid("", OPSET)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="livecomp")
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError as error:
            raise ModelError(f"the graph {name!r} is not valid: {error}") from error
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _declared(self, name: str, dtype: type[np.generic], shape: Sequence[int]) -> onnx.ValueInfoProto:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        declared: onnx.ValueInfoProto = self._onnx.helper.make_tensor_value_info(name, kind, list(shape))
        return declared

    def _folded(self, kind: str, operands: Sequence[Operand]) -> str:
        first, second, *others = operands
        result = self.op(kind, first, second)
        for operand in others:
            result = self.op(kind, result, operand)
        return result


def input_side(data: bytes) -> int:
    """Width in pixels of the first input of a network.

    Raises:
        DependencyError: The package onnx is not installed.
    """
    model = _import_onnx().load_from_string(data)
    return int(model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value)


def _import_onnx() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise DependencyError(f"whole frames on a GPU need the package onnx ({error}); pip install onnx") from error
    return onnx
