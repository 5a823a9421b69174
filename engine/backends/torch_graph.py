"""An ONNX graph run by torch, operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import BackendError, ModelFileError
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorSpec

__all__ = ["OPERATORS", "TorchGraph"]

Attributes = Mapping[str, Any]
Operator = Callable[[list[Any], Attributes], Any]

_SOFTMAX_BY_AXIS = 13
"""Opset from which Softmax is taken along one axis; before, over this and all that follow."""

_DTYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


class TorchGraph:
    """The nodes of a model in order, and its weights.

    Args:
        nodes: Operator, names of the inputs ("" where left out), names of the outputs, attributes.
        weights: By name.
        outputs: Names of the graph's outputs.
    """

    def __init__(
        self,
        nodes: list[tuple[str, list[str], list[str], dict[str, Any]]],
        weights: dict[str, Tensor],
        outputs: list[str],
    ) -> None:
        self._nodes = nodes
        self._weights = weights
        self._outputs = outputs

    @classmethod
    def read(cls, model: ModelFile, shapes: Mapping[str, tuple[int, ...]]) -> tuple[TorchGraph, ModelSpec]:
        """Parse a model.

        Raises:
            BackendError: The package onnx is missing.
            ModelFileError: The model is damaged, or has operators that are not in `OPERATORS`.
        """
        try:
            import onnx
        except ImportError as error:
            raise BackendError(f"the torch backend needs the package onnx ({error}); pip install onnx") from error
        try:
            proto = onnx.load_from_string(model.data)
            onnx.checker.check_model(proto)
            weights = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in proto.graph.initializer}
            attribute = onnx.helper.get_attribute_value
            nodes = [
                (n.op_type, list(n.input), list(n.output), {a.name: attribute(a) for a in n.attribute})
                for n in proto.graph.node
            ]
            for op_type, _, _, attributes in nodes:
                if op_type == "Constant" and "value" in attributes:
                    attributes["value"] = torch.from_numpy(onnx.numpy_helper.to_array(attributes["value"]).copy())
            opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
            for op_type, _, outputs, attributes in nodes:
                if op_type == "Softmax" and opset < _SOFTMAX_BY_AXIS:
                    attributes["from_axis"] = attributes.pop("axis", 1)
                if op_type == "Split":  # without sizes the parts are alike, as many as there are outputs
                    attributes.setdefault("num_outputs", len(outputs))
        except Exception as error:  # the boundary of foreign code, whose errors have no common base class
            raise ModelFileError(f"{model.path} cannot be read by torch: {error}") from error
        unknown = sorted({op_type for op_type, *_ in nodes} - OPERATORS.keys())
        if unknown:
            raise ModelFileError(f"{model.path} has operators that the torch backend lacks: {', '.join(unknown)}")

        def specs(values: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401 - untyped
            found = []
            for value in values:
                if value.name in weights:
                    continue
                kind = value.type.tensor_type
                sides = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
                dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
                found.append(TensorSpec(value.name, dtype, shapes.get(value.name, sides)))
            return tuple(found)

        spec = ModelSpec(specs(proto.graph.input), specs(proto.graph.output), model.metadata())
        return cls(nodes, weights, [value.name for value in proto.graph.output]), spec

    def to(self, device: str) -> None:
        """Move the weights; convolutions' into channels-last order on a GPU.

        Scalars and the scales of Resize stay: they are read as numbers, which no CUDA graph allows on the device.
        """
        read = {name for op_type, inputs, *_ in self._nodes if op_type == "Resize" for name in inputs[1:]}
        for name, weight in self._weights.items():
            if weight.is_floating_point() and weight.ndim and name not in read:
                moved = weight.to(device)
                self._weights[name] = moved.to(memory_format=torch.channels_last) if moved.ndim == 4 else moved

    def __call__(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run all nodes in order."""
        values: dict[str, Any] = {"": None, **self._weights, **feed}
        for op_type, inputs, outputs, attributes in self._nodes:
            result = OPERATORS[op_type]([values[name] for name in inputs], attributes)
            values.update(zip(outputs, result if isinstance(result, tuple) else (result,), strict=False))
        return {name: values[name] for name in self._outputs}


def _optional(x: list[Any], index: int) -> Any:  # noqa: ANN401 - a tensor, or nothing
    return x[index] if index < len(x) else None


def _ints(x: list[Any], index: int, a: Attributes, name: str) -> list[int] | None:
    """Integers from an input (newer opsets) or an attribute (older ones)."""
    value = _optional(x, index)
    if value is not None:
        return [int(i) for i in value.reshape(-1).tolist()]
    return list(a[name]) if name in a else None


def _pads(x: Tensor, a: Attributes) -> tuple[Tensor, list[int]]:
    """Symmetric padding as the operator takes it; anything else is padded here."""
    pads = list(a.get("pads", [0] * 2 * (x.ndim - 2)))
    if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelFileError(f"the torch backend lacks auto_pad {a['auto_pad']!r}")
    half = len(pads) // 2
    if pads[:half] == pads[half:]:
        return x, pads[:half]
    order = [side for i in reversed(range(half)) for side in (pads[i], pads[half + i])]
    return functional.pad(x, order), [0] * half


def _conv(x: list[Any], a: Attributes) -> Tensor:
    picture, padding = _pads(x[0], a)
    call = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[picture.ndim - 2]
    ones = [1] * (picture.ndim - 2)
    return call(picture, x[1], _optional(x, 2), list(a.get("strides", ones)), padding,
                list(a.get("dilations", ones)), a.get("group", 1))  # fmt: skip


def _conv_transpose(x: list[Any], a: Attributes) -> Tensor:
    pads = list(a.get("pads", [0, 0, 0, 0]))
    if pads[:2] != pads[2:] or a.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in a:
        raise ModelFileError(f"the torch backend lacks this ConvTranspose: {dict(a)}")
    return functional.conv_transpose2d(
        x[0], x[1], _optional(x, 2), list(a.get("strides", [1, 1])), pads[:2],
        list(a.get("output_padding", [0, 0])), a.get("group", 1), list(a.get("dilations", [1, 1])),
    )  # fmt: skip


def _average_pool(x: list[Any], a: Attributes) -> Tensor:
    pads = list(a.get("pads", [0, 0, 0, 0]))
    if pads[:2] != pads[2:] or a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelFileError(f"the torch backend lacks this AveragePool: {dict(a)}")
    counted = bool(a.get("count_include_pad", 0))
    return functional.avg_pool2d(x[0], list(a["kernel_shape"]), list(a.get("strides", [1, 1])), pads[:2],
                                 bool(a.get("ceil_mode", 0)), counted)  # fmt: skip


def _max_pool(x: list[Any], a: Attributes) -> Tensor:
    pads = list(a.get("pads", [0, 0, 0, 0]))
    if pads[:2] != pads[2:] or a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ModelFileError(f"the torch backend lacks this MaxPool: {dict(a)}")
    return functional.max_pool2d(x[0], list(a["kernel_shape"]), list(a.get("strides", [1, 1])), pads[:2],
                                 list(a.get("dilations", [1, 1])), bool(a.get("ceil_mode", 0)))  # fmt: skip


def _pad(x: list[Any], a: Attributes) -> Tensor:
    if a.get("mode", b"constant") != b"constant":
        raise ModelFileError(f"the torch backend lacks Pad with mode {a['mode']!r}")
    given, axes = _ints(x, 1, a, "pads") or [], _ints(x, 3, a, "axes") or list(range(x[0].ndim))
    pads = [0] * 2 * x[0].ndim
    for axis, before, after in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
        # torch begins with the last axis
        last = x[0].ndim - 1 - axis % x[0].ndim
        pads[2 * last : 2 * last + 2] = before, after
    value = _optional(x, 2)
    return functional.pad(x[0], pads, value=a.get("value", 0.0) if value is None else value.item())


def _gemm(x: list[Any], a: Attributes) -> Tensor:
    left = x[0].T if a.get("transA") else x[0]
    right = x[1].T if a.get("transB") else x[1]
    product: Tensor = a.get("alpha", 1.0) * (left @ right)
    if _optional(x, 2) is not None:
        product = product + a.get("beta", 1.0) * x[2]
    return product


def _resize(x: list[Any], a: Attributes) -> Tensor:
    picture = x[0]
    sizes, scales = _optional(x, 3), _optional(x, 2)
    if sizes is not None and sizes.numel():
        size = [int(side) for side in sizes.tolist()[2:]]
    else:
        exact = [side * scale for side, scale in zip(picture.shape[2:], scales.tolist()[2:], strict=True)]
        size = [int(side) for side in exact]
        if any(side - whole > 1e-4 for side, whole in zip(exact, size, strict=True)):  # torch goes by the sizes
            raise ModelFileError(f"the torch backend lacks Resize to sizes that are not whole: {exact}")
    if a.get("antialias", 0):
        raise ModelFileError("the torch backend lacks Resize with antialias")
    mode = a.get("mode", b"nearest")
    where = a.get("coordinate_transformation_mode", b"half_pixel")
    if mode == b"linear" and where in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        return functional.interpolate(picture, size, mode="bilinear", align_corners=where == b"align_corners")
    whole = all(s % p == 0 for s, p in zip(size, picture.shape[2:], strict=True))
    if mode == b"nearest" and ((where == b"asymmetric" and a.get("nearest_mode") == b"floor") or whole):
        return functional.interpolate(picture, size, mode="nearest")
    raise ModelFileError(f"the torch backend lacks Resize with mode {mode!r} and coordinates {where!r}")


def _slice(x: list[Any], a: Attributes) -> Tensor:
    starts, ends = _ints(x, 1, a, "starts") or [], _ints(x, 2, a, "ends") or []
    axes = _ints(x, 3, a, "axes") or list(range(len(starts)))
    steps = _ints(x, 4, a, "steps") or [1] * len(starts)
    index = [slice(None)] * x[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise ModelFileError("the torch backend lacks Slice with negative steps")
        index[axis] = slice(start, end, step)
    cut: Tensor = x[0][tuple(index)]
    return cut


def _unsqueeze(x: list[Any], a: Attributes) -> Tensor:
    value: Tensor = x[0]
    axes = _ints(x, 1, a, "axes") or []
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _squeeze(x: list[Any], a: Attributes) -> Tensor:
    axes = _ints(x, 1, a, "axes")
    value: Tensor = x[0]
    return value.squeeze() if axes is None else value.squeeze(tuple(axes))


def _reshape(x: list[Any], a: Attributes) -> Tensor:
    shape = [int(side) for side in x[1].tolist()]
    if not a.get("allowzero", 0):
        shape = [x[0].shape[i] if side == 0 else side for i, side in enumerate(shape)]
    reshaped: Tensor = x[0].reshape(shape)
    return reshaped


def _reduce(call: Callable[..., Tensor]) -> Operator:
    def run(x: list[Any], a: Attributes) -> Tensor:
        axes = _ints(x, 1, a, "axes")
        if axes is None:
            if a.get("noop_with_empty_axes", 0):
                kept: Tensor = x[0]
                return kept
            axes = list(range(x[0].ndim))
        return call(x[0], dim=axes, keepdim=bool(a.get("keepdims", 1)))

    return run


def _clip(x: list[Any], a: Attributes) -> Tensor:
    low, high = _optional(x, 1), _optional(x, 2)
    least = a.get("min") if low is None else low.item()  # attributes: before opset 11
    most = a.get("max") if high is None else high.item()
    if least is None and most is None:
        kept: Tensor = x[0]
        return kept
    return torch.clamp(x[0], least, most)


def _softmax(x: list[Any], a: Attributes) -> Tensor:
    if "from_axis" not in a:
        return functional.softmax(x[0], a.get("axis", -1))
    axis = a["from_axis"] % x[0].ndim
    return functional.softmax(x[0].flatten(axis), axis).reshape(x[0].shape)


def _split(x: list[Any], a: Attributes) -> tuple[Tensor, ...]:
    axis, sizes = a.get("axis", 0), _ints(x, 1, a, "split")
    if sizes is not None:
        return tuple(x[0].split(sizes, axis))
    length, count = x[0].shape[axis], a["num_outputs"]
    parts = tuple(x[0].split(-(-length // count), axis))
    if len(parts) != count:
        raise ModelFileError(f"the torch backend lacks Split of {length} into {count} parts")
    return parts


def _folded(call: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def run(x: list[Any], _: Attributes) -> Tensor:
        value: Tensor = x[0]
        for other in x[1:]:
            value = call(value, other)
        return value

    return run


def _constant(_: list[Any], a: Attributes) -> Tensor:
    for name, dtype in (("value_float", torch.float32), ("value_floats", torch.float32), ("value_int", torch.int64),
                        ("value_ints", torch.int64)):  # fmt: skip
        if name in a:
            return torch.tensor(a[name], dtype=dtype)
    value: Tensor = a["value"]
    return value


def _layer_norm(x: list[Any], a: Attributes) -> Tensor:
    axis = a.get("axis", -1) % x[0].ndim
    return functional.layer_norm(x[0], x[0].shape[axis:], x[1], _optional(x, 2), a.get("epsilon", 1e-5))


def _batch_norm(x: list[Any], a: Attributes) -> Tensor:
    return functional.batch_norm(x[0], x[3], x[4], x[1], x[2], training=False, eps=a.get("epsilon", 1e-5))


def _div(x: list[Any], _: Attributes) -> Tensor:
    return torch.div(x[0], x[1], rounding_mode=None if x[0].is_floating_point() else "trunc")


def _cumsum(x: list[Any], a: Attributes) -> Tensor:
    if a.get("exclusive", 0) or a.get("reverse", 0):
        raise ModelFileError(f"the torch backend lacks this CumSum: {dict(a)}")
    total: Tensor = x[0].cumsum(int(x[1]))
    return total


def _gather(x: list[Any], a: Attributes) -> Tensor:
    axis = a.get("axis", 0) % x[0].ndim
    index = x[1].to(x[0].device)
    flat: Tensor = x[0].index_select(axis, index.reshape(-1) % x[0].shape[axis])
    shape = (*x[0].shape[:axis], *index.shape, *x[0].shape[axis + 1 :])
    return flat.reshape(shape)


OPERATORS: dict[str, Operator] = {
    "Abs": lambda x, _: x[0].abs(),
    "Add": lambda x, _: x[0] + x[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda x, a: x[0].to(_DTYPES[a["to"]]),
    "Clip": _clip,
    "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "Constant": _constant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "CumSum": _cumsum,
    "Div": _div,
    "Equal": lambda x, _: x[0] == x[1],
    "Exp": lambda x, _: x[0].exp(),
    "Expand": lambda x, _: x[0] * torch.ones(x[1].tolist(), dtype=x[0].dtype, device=x[0].device),
    "Flatten": lambda x, a: x[0].flatten(a.get("axis", 1)),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, _: x[0].mean(tuple(range(2, x[0].ndim)), keepdim=True),
    "HardSigmoid": lambda x, a: (x[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda x, _: functional.hardswish(x[0]),
    "Identity": lambda x, _: x[0],
    "InstanceNormalization": lambda x, a: functional.instance_norm(
        x[0], weight=x[1], bias=x[2], eps=a.get("epsilon", 1e-5)
    ),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda x, a: functional.leaky_relu(x[0], a.get("alpha", 0.01)),
    "Log": lambda x, _: x[0].log(),
    "MatMul": lambda x, _: x[0] @ x[1],
    "Max": _folded(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _folded(torch.minimum),
    "Mul": lambda x, _: x[0] * x[1],
    "Neg": lambda x, _: -x[0],
    "Pad": _pad,
    "Pow": lambda x, _: x[0] ** x[1],
    "Reciprocal": lambda x, _: x[0].reciprocal(),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Relu": lambda x, _: x[0].relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda x, _: x[0].sigmoid(),
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": lambda x, _: functional.softplus(x[0]),
    "Split": _split,
    "Sqrt": lambda x, _: x[0].sqrt(),
    "Squeeze": _squeeze,
    "Sub": lambda x, _: x[0] - x[1],
    "Tanh": lambda x, _: x[0].tanh(),
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda x, _: torch.where(x[0], x[1], x[2]),
}
"""ONNX operator -> what computes it."""
