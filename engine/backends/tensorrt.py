"""TensorRT and TensorRT-RTX: plans built once and kept, run on one shared CUDA stream from buffers allocated once.

All of a run (copies to the device, the network, copies back) is one CUDA graph where the network can be captured.
Inputs that seldom change are no part of it: they are copied before it, when they have changed.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backend import Backend, Options, Probe
from engine.backends.cuda import Cuda, CudaBuffer, open_cuda
from engine.backends.tensorrt_build import BuildOptions, build_plan, import_tensorrt, make_logger
from engine.cache import EngineCache, cache_key
from engine.errors import BackendError, InferenceError, TensorError
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorMap, TensorSpec

__all__ = ["BACKENDS", "TensorRtProgram"]

_LOGGER = logging.getLogger(__name__)


class TensorRtProgram:
    """An engine with its context, buffers and graph; see `Program`.

    Args:
        trt: The package.
        cuda: The runtime.
        engine: The deserialized engine.
        metadata: Of the model.
        report: What runs.
        resident: See `Options`.
        owner: Whatever must live as long as the engine (its runtime and logger).
    """

    def __init__(
        self,
        trt: Any,  # noqa: ANN401 - untyped
        cuda: Cuda,
        engine: Any,  # noqa: ANN401 - untyped
        *,
        metadata: Mapping[str, str],
        report: Mapping[str, str],
        owner: object,
        resident: Collection[str] = (),
    ) -> None:
        self._cuda = cuda
        self._owner = owner
        self._engine: Any = engine
        self._context: Any = engine.create_execution_context()
        if self._context is None:
            raise InferenceError("no execution context could be made; is the GPU out of memory?")
        self._inputs: dict[str, CudaBuffer] = {}
        self._outputs: dict[str, CudaBuffer] = {}
        self._resident = frozenset(resident)
        self._held: dict[str, weakref.ref[NDArray[Any]]] = {}
        self._graph: Any = None
        self._stream: Any = cuda.acquire_stream()
        self.report = report
        try:
            self.spec = self._bind(trt, metadata)
            if unknown := self._resident - self._inputs.keys():
                raise TensorError(f"expected names of inputs, {sorted(self._inputs)}, received {sorted(unknown)}")
            self._run_first()
            self.report = {**report, "cuda_graph": "yes" if self._capture() else "no"}
        except BaseException:
            self.close()
            raise

    def run(self, feed: TensorMap) -> TensorMap:
        """See `Program.run`."""
        with self._cuda.lock:
            self._run(feed)
        return {name: buffer.array.copy() for name, buffer in self._outputs.items()}

    def _run(self, feed: TensorMap) -> None:
        held = self._held
        self._held = {}  # what a failed run has left on the device is not known
        for name, buffer in self._inputs.items():
            array = feed[name]
            if name in held and held[name]() is array and not array.flags.writeable:
                continue
            np.copyto(buffer.array, array, casting="no")
            if name in self._resident:
                buffer.upload(self._stream)
        if self._graph is not None:
            self._cuda.call("cudaGraphLaunch", self._graph, self._stream)
        else:
            self._enqueue(self._stream)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        self._held = {name: weakref.ref(feed[name]) for name in self._resident}

    def close(self) -> None:
        """See `Program.close`."""
        if self._stream is None:
            return
        if self._graph is not None:
            self._cuda.runtime.cudaGraphExecDestroy(self._graph)
        self._graph = self._context = self._engine = self._owner = None
        for buffer in (*self._inputs.values(), *self._outputs.values()):
            buffer.free()
        self._inputs, self._outputs = {}, {}
        self._stream = None
        self._cuda.release_stream()

    def _bind(self, trt: Any, metadata: Mapping[str, str]) -> ModelSpec:  # noqa: ANN401 - untyped
        """Give every tensor its buffer, for good."""
        inputs: list[TensorSpec] = []
        outputs: list[TensorSpec] = []
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        for name in sorted(names, key=lambda name: modes[name] != trt.TensorIOMode.INPUT):  # outputs follow from inputs
            is_input = modes[name] == trt.TensorIOMode.INPUT
            shape = tuple(self._engine.get_tensor_shape(name))
            if is_input and -1 in shape:
                shape = tuple(self._engine.get_tensor_profile_shape(name, 0)[1])
                self._context.set_input_shape(name, shape)
            elif not is_input:
                shape = tuple(self._context.get_tensor_shape(name))
            dtype = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
            buffer = CudaBuffer(self._cuda, shape, dtype)
            (self._inputs if is_input else self._outputs)[name] = buffer
            (inputs if is_input else outputs).append(TensorSpec(name, dtype, shape))
            if not self._context.set_tensor_address(name, int(buffer.device)):
                raise InferenceError(f"the buffer of {name!r} was not accepted")
        return ModelSpec(tuple(inputs), tuple(outputs), dict(metadata))

    def _run_first(self) -> None:
        """One run that compiles and allocates, which no graph may hold.

        On a stream of its own: it may take seconds, for which no other model should wait, and what other models record
        from the shared stream meanwhile must not hold it either.
        """
        stream = self._cuda.make_stream()
        try:
            for name in sorted(self._resident):
                self._inputs[name].upload(stream)
            self._enqueue(stream)
            self._cuda.call("cudaStreamSynchronize", stream)
        finally:
            self._cuda.runtime.cudaStreamDestroy(stream)

    def _enqueue(self, stream: Any) -> None:  # noqa: ANN401 - untyped
        for name, buffer in self._inputs.items():
            if name not in self._resident:
                buffer.upload(stream)
        if not self._context.execute_async_v3(int(stream)):
            raise InferenceError("the network could not be queued")
        for buffer in self._outputs.values():
            buffer.download(stream)

    def _capture(self) -> bool:
        """Record one run as a graph; False where the network does things that no graph can hold."""
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is not None and not capturable(int(self._stream)):
            return False
        mode = self._cuda.runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        failure: InferenceError | None = None
        with self._cuda.lock:
            self._cuda.call("cudaStreamBeginCapture", self._stream, mode)
            try:
                self._enqueue(self._stream)
            except InferenceError as error:
                failure = error
            status, graph = self._cuda.runtime.cudaStreamEndCapture(self._stream)
        if failure is not None or int(status) != 0:
            _LOGGER.info("runs without a CUDA graph: %s", failure or self._cuda.explain(status))
            if int(status) == 0:
                self._cuda.runtime.cudaGraphDestroy(graph)
            self._cuda.runtime.cudaGetLastError()  # a failed capture leaves its error behind
            return False
        try:
            self._graph = self._cuda.call("cudaGraphInstantiate", graph, 0)
        finally:
            self._cuda.runtime.cudaGraphDestroy(graph)
        return True


def _probe(name: str) -> Probe:
    trt = import_tensorrt(name)
    return Probe(str(trt.__version__), open_cuda().device_name(), ("fp16", "bf16", "fp32"))


def _load(name: str, model: ModelFile, options: Options) -> TensorRtProgram:
    trt = import_tensorrt(name)
    cuda = open_cuda()
    precision = options.precision or "fp16"
    device = cuda.device_name()
    identity = {"backend": name, "version": str(trt.__version__), "device": device}
    details = {"model": model.sha256, "precision": precision, "shapes": str(sorted(options.shapes.items()))}
    cache = EngineCache.default()
    key = cache_key({**identity, **details})
    built: list[bytes] = []

    def build() -> bytes:
        timing_key = cache_key({**identity, "kind": "timing cache"})
        timing = cache.load(timing_key) if name == "tensorrt" else None
        wanted = BuildOptions(precision=precision, shapes=options.shapes)
        plan, measured = build_plan(trt, model, wanted, timing)
        if measured is not None and measured != timing:
            cache.store(timing_key, measured)
        built.append(plan)
        return plan

    logger = make_logger(trt)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(cache.get_or_build(key, build))
    if engine is None and not built:
        _LOGGER.warning(
            "%s does not take the cached plan of %s, it is built again: %s", name, model.name, logger.errors
        )
        cache.discard(key)
        engine = runtime.deserialize_cuda_engine(cache.get_or_build(key, build))
    if engine is None:
        raise BackendError(
            f"{name} cannot load the plan of {model.name}: {'; '.join(logger.errors) or 'no reason given'}"
        )
    report = {"version": identity["version"], "device": device, "precision": precision}
    return TensorRtProgram(
        trt, cuda, engine, metadata=model.metadata(), report=report, owner=(runtime, logger), resident=options.resident
    )


def _backend(name: str, package: str) -> Backend:
    return Backend(
        name=name,
        package=package,
        install=f"pip install 'livecomp[{name.replace('_', '-')}]'",
        precisions=("fp16", "bf16", "fp32", "int8"),
        prober=partial(_probe, name),
        loader=partial(_load, name),
    )


BACKENDS: dict[str, Backend] = {
    "tensorrt": _backend("tensorrt", "tensorrt"),
    "tensorrt_rtx": _backend("tensorrt_rtx", "tensorrt-rtx-cu13"),
}
