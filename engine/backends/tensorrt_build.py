"""ONNX -> TensorRT plan, the same way for TensorRT 10 and 11 and for TensorRT-RTX.

TensorRT-RTX builds on a machine without a GPU, for a range of compute capabilities; TensorRT builds for the GPU it
finds, and keeps what it measured there in a timing cache.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from engine.errors import BackendError, ModelFileError
from engine.model_file import ModelFile
from engine.precision import with_precision

__all__ = ["PORTABLE", "BuildOptions", "build_plan", "import_tensorrt", "make_logger"]

_LOGGER = logging.getLogger(__name__)

PORTABLE = ("SM75", "SM80", "SM86", "SM89", "SM120")
"""Compute capabilities that TensorRT-RTX can build for without a GPU: Turing to Blackwell."""

WORKSPACE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a plan is built for.

    Args:
        precision: "fp32", "fp16", "bf16" or "int8"; see `with_precision`.
        shapes: Shapes of inputs with open sides; such sides are 1 where nothing is said.
        targets: Names of compute capabilities, TensorRT-RTX only; empty for the GPU at hand.
        level: The builder's optimization level, 0..5; None for its default.
    """

    precision: str = "fp16"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    level: int | None = None


def import_tensorrt(name: str) -> ModuleType:
    """The package ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        BackendError: It is not installed, or is older than version 10 (TensorRT) or 1 (TensorRT-RTX).
    """
    extra = name.replace("_", "-")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise BackendError(f"{name} cannot be imported ({error}); pip install 'livecomp[{extra}]'") from error
    if not hasattr(module, "__version__"):
        raise BackendError(f"{name} is there as type stubs only; pip install 'livecomp[{extra}]'")
    oldest = 10 if name == "tensorrt" else 1
    if int(module.__version__.split(".")[0]) < oldest:
        raise BackendError(f"{name} {module.__version__} is too old; expected {oldest} or later")
    return module


def make_logger(trt: Any) -> Any:  # noqa: ANN401 - untyped
    """A TensorRT logger that hands on to Python's, and keeps the errors in its list ``errors``."""

    class PythonLogger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401 - untyped
            if severity <= trt.ILogger.ERROR:
                self.errors.append(msg)
            _LOGGER.debug("%s: %s", severity, msg)

    return PythonLogger()


def build_plan(
    trt: Any,  # noqa: ANN401 - untyped
    model: ModelFile,
    options: BuildOptions,
    timing_cache: bytes | None = None,
) -> tuple[bytes, bytes | None]:
    """Build a plan.

    Args:
        trt: The package, from `import_tensorrt`.
        model: The model in float32.
        options: What to build for.
        timing_cache: What an earlier build on this GPU measured; TensorRT only.

    Returns:
        The plan, and the timing cache to keep for the next build (None for TensorRT-RTX, which measures nothing).

    Raises:
        ModelFileError: The model is damaged, or uses something that TensorRT does not know.
        BackendError: TensorRT cannot build here.
    """
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(with_precision(model.data, options.precision)):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise ModelFileError(f"{model.path} cannot be parsed by {trt.__name__} {trt.__version__}: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if options.level is not None:
        config.builder_optimization_level = options.level
    _set_targets(trt, config, options.targets)
    _set_profile(builder, network, config, options.shapes)
    timing = None
    if trt.__name__ == "tensorrt":
        timing = config.create_timing_cache(timing_cache or b"")
        config.set_timing_cache(timing, False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reasons = "; ".join(logger.errors) or "no reason was given"
        raise BackendError(f"{trt.__name__} {trt.__version__} could not build {model.name}: {reasons}")
    return bytes(plan), None if timing is None else bytes(timing.serialize())


def _set_targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:  # noqa: ANN401 - untyped
    if not targets:
        return
    if not hasattr(trt, "ComputeCapability"):
        raise BackendError(f"{trt.__name__} builds for the GPU at hand only, received the targets {targets}")
    known = trt.ComputeCapability.__members__
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise BackendError(f"{trt.__name__} knows no {', '.join(unknown)}; known are {', '.join(known)}")
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(known[target], index)


def _set_profile(builder: Any, network: Any, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:  # noqa: ANN401
    """One profile with one fixed shape for inputs that leave sides open."""
    profile = builder.create_optimization_profile()
    dynamic = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if -1 in tuple(tensor.shape):
            shape = shapes.get(tensor.name) or tuple(1 if side == -1 else side for side in tensor.shape)
            profile.set_shape(tensor.name, shape, shape, shape)
            dynamic = True
    if dynamic:
        config.add_optimization_profile(profile)
