"""ONNX Runtime: on the CPU it runs everywhere and is what others are compared with; on a GPU through its providers.

Each provider is a backend of its own, so that the CPU never stands in for a GPU in silence.

Its telemetry is off: official builds of it would otherwise keep an identifier of the machine, and send Microsoft that,
the machine's and the program's description, and what was run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from engine.backend import Backend, Options, Probe
from engine.errors import BackendError, ModelFileError
from engine.machine import cpu_name
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorMap, TensorSpec

__all__ = ["BACKENDS"]

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}

_CPU = "CPUExecutionProvider"


class _OnnxRuntimeProgram:
    """A session; see `Program`."""

    def __init__(self, session: Any, spec: ModelSpec, report: Mapping[str, str]) -> None:  # noqa: ANN401 - untyped
        self._session = session
        self.spec = spec
        self.report = report
        self._names = [output.name for output in spec.outputs]

    def run(self, feed: TensorMap) -> TensorMap:
        """See `Program.run`."""
        return dict(zip(self._names, self._session.run(self._names, feed), strict=True))

    def close(self) -> None:
        """See `Program.close`."""
        self._session = None


def _import() -> ModuleType:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is imported
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be imported ({error}); install the package onnxruntime") from error
    module: ModuleType = onnxruntime
    return module


def _probe(provider: str) -> Probe:
    ort = _import()
    known = ort.get_available_providers()
    if provider not in known:
        raise BackendError(f"this onnxruntime was built without {provider}; it has {', '.join(known)}")
    return Probe(ort.__version__, cpu_name() if provider == _CPU else provider, ("fp32",))


def _load(provider: str, model: ModelFile, options: Options) -> _OnnxRuntimeProgram:
    probe = _probe(provider)
    ort = _import()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.data, settings, providers=[provider])
    except Exception as error:  # the boundary of foreign code, whose errors have no common base class
        raise ModelFileError(f"{model.path} cannot be loaded by onnxruntime: {error}") from error
    running = session.get_providers()[0]
    if running != provider:
        raise BackendError(f"onnxruntime could not start {provider} and would have run on {running}")
    spec = ModelSpec(
        inputs=tuple(_tensor_spec(node, options) for node in session.get_inputs()),
        outputs=tuple(_tensor_spec(node, Options()) for node in session.get_outputs()),
        metadata=model.metadata(),
    )
    report = {"version": probe.version, "device": probe.device, "precision": "fp32", "provider": running}
    return _OnnxRuntimeProgram(session, spec, report | {"threads": str(options.threads)})


def _tensor_spec(node: Any, options: Options) -> TensorSpec:  # noqa: ANN401 - onnxruntime ships no types
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise ModelFileError(f"{node.name} has the element type {node.type}; known are {', '.join(_DTYPES)}")
    shape: tuple[int | None, ...] = tuple(side if isinstance(side, int) else None for side in node.shape)
    shape = options.shapes.get(node.name, shape)
    return TensorSpec(node.name, np.dtype(dtype), shape)


def _backend(name: str, package: str, provider: str) -> Backend:
    return Backend(
        name=name,
        package=package,
        install=f"pip install {package}",
        precisions=("fp32",),
        prober=partial(_probe, provider),
        loader=partial(_load, provider),
    )


BACKENDS: dict[str, Backend] = {
    "onnxruntime": _backend("onnxruntime", "onnxruntime", _CPU),
    "onnxruntime_cuda": _backend("onnxruntime_cuda", "onnxruntime-gpu", "CUDAExecutionProvider"),
    "onnxruntime_directml": _backend("onnxruntime_directml", "onnxruntime-directml", "DmlExecutionProvider"),
    "onnxruntime_coreml": _backend("onnxruntime_coreml", "onnxruntime", "CoreMLExecutionProvider"),
}
