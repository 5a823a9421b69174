"""OpenVINO on the CPU: usually the fastest there; in bf16 where the processor computes it natively (AVX-512, AMX)."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from engine.backend import Backend, Options, Probe
from engine.cache import EngineCache, cache_key
from engine.errors import BackendError, ModelFileError
from engine.machine import cpu_features, cpu_name
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorMap, TensorSpec

__all__ = ["BACKENDS"]

_LOGGER = logging.getLogger(__name__)
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_NAMES = {hint: name for name, hint in _HINTS.items()}


class _OpenVinoProgram:
    """A compiled model with one request; see `Program`."""

    def __init__(self, compiled: Any, spec: ModelSpec, report: Mapping[str, str]) -> None:  # noqa: ANN401 - untyped
        self.spec = spec
        self.report = report
        self._request = compiled.create_infer_request()
        self._inputs = [(tensor.name, index) for index, tensor in enumerate(spec.inputs)]
        self._names = [tensor.name for tensor in spec.outputs]

    def run(self, feed: TensorMap) -> TensorMap:
        """See `Program.run`."""
        # shared: the request reads the caller's arrays in place, and they are not touched before it has returned
        results = self._request.infer({index: feed[name] for name, index in self._inputs}, share_inputs=True)
        return {name: np.array(results[index]) for index, name in enumerate(self._names)}

    def close(self) -> None:
        """See `Program.close`."""
        self._request = None


@cache
def _core() -> Any:  # noqa: ANN401 - untyped
    """The one core of this process, which is kept until it ends.

    Loading its plugin gives the loading thread a stack for signal handlers, and destroying the plugin unmaps that
    stack. Had another thread destroyed it, the next signal, such as Ctrl-C, would kill the process.
    """
    return _import().Core()


def _import() -> ModuleType:
    try:
        import openvino
    except ImportError as error:
        raise BackendError(f"openvino cannot be imported ({error}); pip install 'livecomp[openvino]'") from error
    module: ModuleType = openvino
    return module


def _probe() -> Probe:
    ov = _import()
    capabilities = set(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    fast_bf16 = "BF16" in capabilities and {"avx512_bf16", "amx_bf16"} & set(cpu_features())
    return Probe(ov.__version__, cpu_name(), ("fp32", "bf16") if fast_bf16 else ("fp32",))


def _settings(options: Options, precision: str) -> dict[str, object]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        # two pinned models would share one core and leave the others idle
        "ENABLE_CPU_PINNING": False,
    }


def _load(model: ModelFile, options: Options) -> _OpenVinoProgram:
    ov = _import()
    precision = options.precision or "fp32"
    core = _core()
    compiled = _compile(core, model, options, precision)
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    running = _NAMES.get(hint, hint)
    if running != precision:
        raise BackendError(f"openvino would run {model.name} in {running} on this processor, not in {precision}")
    names = model.tensor_names()
    spec = ModelSpec(
        inputs=tuple(_tensor_spec(port, names) for port in compiled.inputs),
        outputs=tuple(_tensor_spec(port, names) for port in compiled.outputs),
        metadata=model.metadata(),
    )
    if unread := model.input_names() - {tensor.name for tensor in spec.inputs}:
        raise ModelFileError(
            f"openvino leaves out inputs of {model.name} that nothing reads: {', '.join(sorted(unread))}"
        )
    report = {
        "version": str(ov.__version__),
        "device": cpu_name(),
        "precision": running,
        "threads": str(compiled.get_property("INFERENCE_NUM_THREADS")),
        "hint": str(compiled.get_property("PERFORMANCE_HINT")),
    }
    return _OpenVinoProgram(compiled, spec, report)


def _compile(core: Any, model: ModelFile, options: Options, precision: str) -> Any:  # noqa: ANN401 - untyped
    """The compiled model, imported from the cache where it can be."""
    settings = _settings(options, precision)
    cache = EngineCache.default()
    key = cache_key(
        {
            "model": model.sha256,
            "backend": "openvino",
            "version": _import().__version__,
            "device": cpu_name() + " ".join(cpu_features()),
            "shapes": str(sorted(options.shapes.items())),
            **{name: str(value) for name, value in settings.items()},
        }
    )

    fresh: list[Any] = []

    def build() -> bytes:
        fresh.append(_build(core, model, options, settings))
        blob: io.BytesIO = fresh[0].export_model()
        return blob.getvalue()

    blob = cache.get_or_build(key, build)
    if fresh:
        return fresh[0]
    try:
        return core.import_model(io.BytesIO(blob), "CPU", settings)
    except RuntimeError as error:
        _LOGGER.warning("openvino does not take its own cached engine of %s, it is built again: %s", model.name, error)
        cache.discard(key)
        return _build(core, model, options, settings)


def _build(core: Any, model: ModelFile, options: Options, settings: dict[str, object]) -> Any:  # noqa: ANN401
    try:
        network = core.read_model(model.data)
        open_ports = {port.any_name: port.partial_shape for port in network.inputs if port.partial_shape.is_dynamic}
        if open_ports:
            network.reshape({name: options.shapes.get(name, _closed(shape)) for name, shape in open_ports.items()})
        return core.compile_model(network, "CPU", settings)
    except Exception as error:  # the boundary of foreign code, whose errors have no common base class
        raise ModelFileError(f"{model.path} cannot be loaded by openvino: {error}") from error


def _closed(shape: Any) -> tuple[int, ...]:  # noqa: ANN401 - untyped
    return tuple(1 if side.is_dynamic else side.get_length() for side in shape)


def _tensor_spec(port: Any, names: frozenset[str]) -> TensorSpec:  # noqa: ANN401 - untyped
    """The port, under the one of its names that the model's author gave it."""
    name = next(iter(sorted(names & port.get_names())), port.any_name)
    shape = tuple(None if side.is_dynamic else side.get_length() for side in port.partial_shape)
    return TensorSpec(name, np.dtype(port.element_type.to_dtype()), shape)


BACKENDS: dict[str, Backend] = {
    "openvino": Backend(
        name="openvino",
        package="openvino",
        install="pip install 'livecomp[openvino]'",
        precisions=tuple(_HINTS),
        prober=_probe,
        loader=_load,
    )
}
