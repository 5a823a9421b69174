"""Runs networks: tensors in, tensors out; knows nothing of pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from engine.backend import Options, Probe
from engine.backends import BACKENDS
from engine.choice import AutoRunner, Choice, Measured, choose, probe_all
from engine.errors import BackendError, EngineError, InferenceError, ModelFileError, TensorError
from engine.fallback import FallbackRunner
from engine.model_file import ModelFile
from engine.model_runner import ModelRunner
from engine.runner import Runner
from engine.spec import ModelSpec, TensorMap, TensorSpec
from engine.state import StatefulRunner

__all__ = [
    "BACKENDS",
    "BackendError",
    "Choice",
    "EngineError",
    "FallbackRunner",
    "InferenceError",
    "Measured",
    "ModelFile",
    "ModelFileError",
    "ModelSpec",
    "Options",
    "Probe",
    "Runner",
    "StatefulRunner",
    "TensorError",
    "TensorMap",
    "TensorSpec",
    "choose",
    "open_runner",
    "probe_all",
]


def open_runner(
    path: str | Path | ModelFile,
    backend: str = "auto",
    *,
    threads: int = 1,
    precision: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    resident: Collection[str] = (),
    on_time: Callable[[str, int], None] | None = None,
) -> Runner:
    """A runner for a model file, not yet open.

    Args:
        path: An ONNX file, or one in memory.
        backend: A name in `BACKENDS`, or "auto" for the fastest that works here.
        threads: Upper bound on the CPU threads it may use.
        precision: "fp32", "fp16", "bf16" or "int8"; None for the backend's default.
        shapes: Shapes for inputs that leave some side open, by name.
        resident: Names of inputs that seldom change; see `Options`.
        on_time: Called after each run with the backend's name and the time from call to result, in nanoseconds.

    Raises:
        BackendError: There is no such backend.
    """
    options = Options(threads=threads, precision=precision, shapes=dict(shapes or {}), resident=frozenset(resident))
    path = path if isinstance(path, ModelFile) else Path(path)
    if backend == "auto":
        return AutoRunner(path, options, on_time)
    if backend not in BACKENDS:
        raise BackendError(f"there is no backend {backend!r}; known are auto, {', '.join(BACKENDS)}")
    return ModelRunner(BACKENDS[backend], path, options, on_time)
