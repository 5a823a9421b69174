"""ONNX Runtime on the CPU: runs everywhere, and is what every other backend is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from engine.errors import BackendError, InferenceError, ModelFileError
from engine.spec import ModelSpec, TensorMap, TensorSpec

__all__ = ["OnnxRuntimeRunner"]

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class OnnxRuntimeRunner:
    """A model in ONNX Runtime.

    Args:
        path: The ONNX file.
        threads: Threads for one operator; operators run one after the other.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self._path = path
        self._threads = threads
        self._session: Any = None
        self._spec: ModelSpec | None = None
        self._output_names: list[str] = []

    @property
    def spec(self) -> ModelSpec:
        """What the model takes and gives."""
        if self._spec is None:
            raise InferenceError(f"{self._path.name} is not open")
        return self._spec

    def open(self) -> None:
        """See `Runner.open`."""
        if self._session is not None:
            return
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise BackendError(f"onnxruntime cannot be imported: {error}") from error
        if not self._path.is_file():
            raise ModelFileError(f"there is no model at {self._path}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the boundary of foreign code, which has no common base class
            raise ModelFileError(f"{self._path} cannot be loaded by onnxruntime: {error}") from error
        self._spec = ModelSpec(
            inputs=tuple(_tensor_spec(node) for node in session.get_inputs()),
            outputs=tuple(_tensor_spec(node) for node in session.get_outputs()),
            metadata=dict(session.get_modelmeta().custom_metadata_map),
        )
        self._output_names = [spec.name for spec in self._spec.outputs]
        self._session = session

    def infer(self, feed: TensorMap) -> TensorMap:
        """See `Runner.infer`."""
        self.spec.check_inputs(feed)
        try:
            values = self._session.run(self._output_names, feed)
        except Exception as error:  # the boundary of foreign code
            raise InferenceError(f"onnxruntime failed on {self._path.name}: {error}") from error
        return dict(zip(self._output_names, values, strict=True))

    def close(self) -> None:
        """See `Runner.close`."""
        self._session = None
        self._spec = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _tensor_spec(node: Any) -> TensorSpec:  # noqa: ANN401 - onnxruntime ships no types
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise ModelFileError(f"{node.name} has the element type {node.type}; known are {', '.join(_DTYPES)}")
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return TensorSpec(node.name, np.dtype(dtype), shape)
