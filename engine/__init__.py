"""Runs networks: tensors in, tensors out; knows nothing of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from engine.backend import Options
from engine.backends import BACKENDS
from engine.errors import BackendError, EngineError, InferenceError, ModelFileError, TensorError
from engine.model_runner import ModelRunner
from engine.runner import Runner
from engine.spec import ModelSpec, TensorMap, TensorSpec

__all__ = [
    "BACKENDS",
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


def open_runner(
    path: str | Path,
    backend: str = "auto",
    *,
    threads: int = 1,
    precision: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    on_time: Callable[[str, int], None] | None = None,
) -> Runner:
    """A runner for a model file, not yet open.

    Args:
        path: An ONNX file.
        backend: A name in `BACKENDS`, or "auto" for the fastest that works here.
        threads: Upper bound on the CPU threads it may use.
        precision: "fp32", "fp16", "bf16" or "int8"; None for the backend's default.
        shapes: Shapes for inputs that leave some side open, by name.
        on_time: Called after each run with the backend's name and the time from call to result, in nanoseconds.

    Raises:
        BackendError: There is no such backend.
    """
    options = Options(threads=threads, precision=precision, shapes=dict(shapes or {}))
    name = "onnxruntime" if backend == "auto" else backend
    if name not in BACKENDS:
        raise BackendError(f"there is no backend {backend!r}; known are auto, {', '.join(BACKENDS)}")
    return ModelRunner(BACKENDS[name], Path(path), options, on_time)
