"""ONNX in float32 -> ONNX in a half type, inputs and outputs staying float32.

TensorRT 11 and TensorRT-RTX only take strongly typed networks: the precision is the model's, not a flag of the builder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import BackendError, ModelFileError

if TYPE_CHECKING:
    import onnx

__all__ = ["with_precision"]

_HALF = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Where nearly all the work is. Statistics, norms and everything else with small divisors stay in float32."""

_UNKNOWN_IN_BF16 = {"ConvTranspose"}
"""What TensorRT-RTX 1.7 cannot build in bf16."""

_FOLLOWING = {
    "Add", "AveragePool", "Concat", "GlobalAveragePool", "Identity", "LeakyRelu", "MaxPool", "Mul", "Relu", "Reshape",
    "Sigmoid", "Slice", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip
"""In half if all they read is, so that no casts come between convolutions."""

_QUANTIZED = {"QuantizeLinear", "DequantizeLinear"}


def with_precision(data: bytes, precision: str) -> bytes:
    """The same model computing in another precision.

    Args:
        data: An ONNX model in float32.
        precision: "fp32" leaves it as it is; "fp16" and "bf16" compute in that; "int8" asks that the model be quantized
            already, by QuantizeLinear and DequantizeLinear nodes, since good scales come from data and not from here.

    Raises:
        BackendError: The package onnx is missing, or the precision is none of the above.
        ModelFileError: The model cannot be read, or is to run in int8 and is not quantized.
    """
    if precision == "fp32":
        return data
    try:
        import onnx
    except ImportError as error:
        raise BackendError(
            f"{precision} needs the package onnx to rewrite the model ({error}); pip install onnx"
        ) from error
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # the boundary of foreign code, whose errors have no common base class
        raise ModelFileError(f"the model cannot be rewritten in {precision}: {error}") from error
    if precision == "int8":
        if not _QUANTIZED & {node.op_type for node in model.graph.node}:
            raise ModelFileError(
                "int8 was asked for, but the model has no QuantizeLinear nodes; quantize it with calibration data first"
            )
        return data
    kinds = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}
    if precision not in kinds:
        raise BackendError(f"there is no precision {precision!r}; known are fp32, fp16, bf16, int8")
    if any(attribute.HasField("g") or attribute.graphs for node in model.graph.node for attribute in node.attribute):
        raise ModelFileError(f"the model has graphs within nodes; such a model runs in fp32, not in {precision}")
    model = onnx.shape_inference.infer_shapes(model)
    _Rewriter(model, kinds[precision]).run()
    result: bytes = model.SerializeToString()
    return result


class _Rewriter:
    """Walks a graph in its order and puts casts where a tensor is wanted in the other type.

    Args:
        model: Changed in place; its tensors' types must have been inferred.
        kind: The half type, as in TensorProto.DataType.
    """

    def __init__(self, model: onnx.ModelProto, kind: int) -> None:
        import onnx

        self._helper = onnx.helper
        self._graph = model.graph
        self._kind, self._full = kind, int(onnx.TensorProto.FLOAT)
        values = [*self._graph.input, *self._graph.value_info, *self._graph.output]
        self._floats = {value.name for value in values if value.type.tensor_type.elem_type == self._full}
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer if tensor.data_type == self._full}
        self._unknown = _UNKNOWN_IN_BF16 if kind == onnx.TensorProto.BFLOAT16 else set()
        self._halves: dict[str, str] = {}
        self._fulls: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        """Rewrite the graph."""
        for node in list(self._graph.node):
            if self._wants_half(node):
                node.input[:] = [self._half(name) for name in node.input]
                made = [name for name in node.output if name in self._floats]
                self._halves.update({name: f"{name}/in_half" for name in made})
                node.output[:] = [self._halves.get(name, name) for name in node.output]
                self._nodes.append(node)
            else:
                node.input[:] = [self._whole(name) for name in node.input]
                self._nodes.append(node)
        for output in self._graph.output:
            if output.name in self._halves and self._fulls.get(output.name) != output.name:
                self._cast(self._halves[output.name], output.name, self._full)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        unused = [tensor for tensor in self._graph.initializer if tensor.name not in used]
        for tensor in unused:
            self._graph.initializer.remove(tensor)
        del self._graph.value_info[:]  # their types are no longer true

    def _wants_half(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _HALF:
            return node.op_type not in self._unknown
        if node.op_type not in _FOLLOWING:
            return False
        computed = [name for name in node.input if name in self._floats]
        return bool(computed) and all(name in self._halves and name not in self._fulls for name in computed)

    def _half(self, name: str) -> str:
        """The tensor in half, made when first wanted; what is no float stays as it is."""
        if name in self._weights and name not in self._halves:
            self._halves[name] = f"{name}/in_half"
            tensor = _converted(self._weights[name], self._kind)
            tensor.name = self._halves[name]
            self._graph.initializer.append(tensor)
        elif name in self._floats and name not in self._halves:
            self._halves[name] = f"{name}/in_half"
            self._fulls[name] = name
            self._cast(name, self._halves[name], self._kind)
        return self._halves.get(name, name)

    def _whole(self, name: str) -> str:
        """The tensor in float32, made when first wanted."""
        if name in self._halves and name not in self._weights and name not in self._fulls:
            self._fulls[name] = f"{name}/in_full"
            self._cast(self._halves[name], self._fulls[name], self._full)
        return self._fulls.get(name, name)

    def _cast(self, source: str, target: str, kind: int) -> None:
        self._nodes.append(self._helper.make_node("Cast", [source], [target], to=kind))


def _converted(tensor: onnx.TensorProto, kind: int) -> onnx.TensorProto:
    import onnx

    values = onnx.numpy_helper.to_array(tensor)
    if kind == onnx.TensorProto.FLOAT16:
        limit = 65504.0  # the largest float16
        return onnx.numpy_helper.from_array(np.clip(values, -limit, limit).astype(np.float16), tensor.name)
    bits = _bfloat16_bits(values)
    return onnx.helper.make_tensor(tensor.name, kind, list(values.shape), bits.tobytes(), raw=True)


def _bfloat16_bits(values: Any) -> np.ndarray[Any, np.dtype[np.uint16]]:  # noqa: ANN401 - any array of floats
    """The upper halves of float32, rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)
