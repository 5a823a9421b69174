"""Runs networks: tensors in, tensors out; knows nothing of pictures."""

from __future__ import annotations

from pathlib import Path

from engine.backends.onnxruntime import OnnxRuntimeRunner
from engine.errors import BackendError, EngineError, InferenceError, ModelFileError, TensorError
from engine.runner import Runner
from engine.spec import ModelSpec, TensorMap, TensorSpec

__all__ = [
    "BackendError",
    "EngineError",
    "InferenceError",
    "ModelFileError",
    "ModelSpec",
    "Runner",
    "TensorError",
    "TensorMap",
    "TensorSpec",
    "open_runner",
]

BACKENDS = {"onnxruntime": OnnxRuntimeRunner}


def open_runner(path: str | Path, backend: str = "auto", *, threads: int = 1) -> Runner:
    """A runner for a model file, not yet open.

    Args:
        path: An ONNX file.
        backend: A name in `BACKENDS`, or "auto" for the fastest that works here.
        threads: Upper bound on the threads it may use.

    Raises:
        BackendError: There is no such backend.
    """
    name = "onnxruntime" if backend == "auto" else backend
    if name not in BACKENDS:
        raise BackendError(f"there is no backend {backend!r}; known are auto, {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name](Path(path), threads=threads)
