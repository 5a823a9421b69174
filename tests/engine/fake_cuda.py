"""Stand-ins for the CUDA runtime and for TensorRT, computing on the host, so that the runner's logic runs anywhere."""

# ruff: noqa: N815 - CUDA's own names

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np


class FakeRuntime:
    """Device memory is host memory; copies and networks are queued on the stream and done when it is waited for."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        """By stream."""
        self.captured: list[Callable[[], None]] | None = None
        self.captured_stream = 0
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.streams = 0
        self.calls: list[str] = []
        self.fail: dict[str, int] = {}
        self.copied = 0
        """Bytes whose copy was queued outside of a capture."""

    def _done(self, name: str, *results: Any) -> tuple[Any, ...]:
        self.calls.append(name)
        code = self.fail.get(name, 0)
        return (code, None) if code else (0, *results)

    def cudaGetErrorString(self, status: int) -> tuple[int, bytes]:
        return 0, {2: b"out of memory", 700: b"illegal address"}.get(int(status), b"unknown")

    def cudaGetDevice(self) -> tuple[Any, ...]:
        return self._done("cudaGetDevice", 0)

    def cudaGetDeviceProperties(self, _: int) -> tuple[Any, ...]:
        return self._done("cudaGetDeviceProperties", SimpleNamespace(name=b"Fake GPU", major=8, minor=9))

    def _allocate(self, name: str, size: int) -> tuple[Any, ...]:
        result = self._done(name)
        if result[0]:
            return result
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMalloc", size)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:
        return self._allocate("cudaMallocHost", size)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.memory[address]
        return self._done("cudaFree")

    cudaFreeHost = cudaFree

    def cudaStreamCreateWithFlags(self, _: int) -> tuple[Any, ...]:
        stream = 77 + self.calls.count("cudaStreamCreateWithFlags")
        self.streams += 1
        self.queues[stream] = []
        return self._done("cudaStreamCreateWithFlags", stream)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        self.streams -= 1
        del self.queues[stream]
        return self._done("cudaStreamDestroy")

    def is_capturing(self, stream: int) -> bool:
        return self.captured is not None and stream == self.captured_stream

    def add(self, stream: int, work: Callable[[], None]) -> None:
        if self.captured is not None and stream == self.captured_stream:
            self.captured.append(work)
        else:
            self.queues[stream].append(work)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, _kind: int, stream: int) -> tuple[Any, ...]:
        result = self._done("cudaMemcpyAsync")
        if not result[0]:
            if not self.is_capturing(stream):
                self.copied += size
            self.add(stream, lambda: void(ctypes.memmove(to, source, size)))
        return result

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        result = self._done("cudaStreamSynchronize")
        work, self.queues[stream] = self.queues[stream], []
        if not result[0]:
            for step in work:
                step()
        return result

    def cudaStreamBeginCapture(self, stream: int, _mode: int) -> tuple[Any, ...]:
        self.captured, self.captured_stream = [], stream
        return self._done("cudaStreamBeginCapture")

    def cudaStreamEndCapture(self, _: int) -> tuple[Any, ...]:
        work, self.captured = self.captured, None
        handle = self._new_graph(work or [])
        return self._done("cudaStreamEndCapture", handle)

    def _new_graph(self, work: list[Callable[[], None]]) -> int:
        handle = len(self.graphs) + 5
        self.graphs[handle] = work
        return handle

    def cudaGraphInstantiate(self, graph: int, _flags: int) -> tuple[Any, ...]:
        handle = self._new_graph(self.graphs[graph])
        return self._done("cudaGraphInstantiate", handle)

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Any, ...]:
        result = self._done("cudaGraphLaunch")
        if not result[0]:
            self.queues[stream] += self.graphs[graph]
        return result

    def cudaGraphDestroy(self, _: int) -> tuple[Any, ...]:
        return self._done("cudaGraphDestroy")

    def cudaGraphExecDestroy(self, _: int) -> tuple[Any, ...]:
        return self._done("cudaGraphExecDestroy")

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return self._done("cudaGetLastError")


def void(_: object) -> None:
    """Forget a result."""


class Mode(Enum):
    INPUT = 0
    OUTPUT = 1


class FakeEngine:
    """Twice the input "x", (n, 4) with n open, as output "y"; context and engine in one."""

    num_io_tensors = 2

    def __init__(self, runtime: FakeRuntime, *, capturable: bool = True, queues: bool = True) -> None:
        self.runtime = runtime
        self.capturable = capturable
        self.queues = queues
        self.shape = (-1, 4)
        self.addresses: dict[str, int] = {}

    def create_execution_context(self) -> FakeEngine:
        return self

    def get_tensor_name(self, index: int) -> str:
        return ("y", "x")[index]  # outputs may come first

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name == "x" else Mode.OUTPUT

    def get_tensor_shape(self, _: str) -> tuple[int, ...]:
        return self.shape

    def get_tensor_profile_shape(self, _name: str, _profile: int) -> list[tuple[int, ...]]:
        return [(2, 4)] * 3

    def set_input_shape(self, _: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def get_tensor_dtype(self, _: str) -> str:
        return "float"

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def is_stream_capturable(self, _: int) -> bool:
        return self.capturable

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))

        def compute() -> None:
            x, y = ((ctypes.c_float * count).from_address(self.addresses[name]) for name in ("x", "y"))
            y[:] = [2 * value for value in x]

        if self.queues:
            self.runtime.add(stream, compute)
        return self.queues


class FakeSum(FakeEngine):
    """Adds a second input "b" of the same shape, which lies beside "x" on the device."""

    num_io_tensors = 3

    def get_tensor_name(self, index: int) -> str:
        return ("y", "x", "b")[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.OUTPUT if name == "y" else Mode.INPUT

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))

        def compute() -> None:
            x, b, y = ((ctypes.c_float * count).from_address(self.addresses[name]) for name in ("x", "b", "y"))
            y[:] = [2 * value + other for value, other in zip(x, b, strict=True)]

        self.runtime.add(stream, compute)
        return True


class FakePicture(FakeEngine):
    """255 less the input, both of bytes."""

    def get_tensor_dtype(self, _: str) -> str:
        return "uint8"

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))

        def compute() -> None:
            x, y = ((ctypes.c_uint8 * count).from_address(self.addresses[name]) for name in ("x", "y"))
            y[:] = [255 - value for value in x]

        self.runtime.add(stream, compute)
        return True


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class FakeLogger:
    """Base of loggers."""

    ERROR = Severity.ERROR

    def log(self, severity: Severity, msg: str) -> None:
        """Overridden."""


def fake_trt(engine_of: Callable[[bytes], FakeEngine | None]) -> SimpleNamespace:
    """A package whose plans are ``b"plan"``, and whose runtime asks `engine_of`."""

    class Runtime:
        def __init__(self, logger: FakeLogger) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> FakeEngine | None:
            engine = engine_of(plan)
            if engine is None:
                self.logger.log(Severity.ERROR, "the plan was made for another GPU")
            return engine

    return SimpleNamespace(
        __name__="tensorrt_rtx", __version__="1.2.3", TensorIOMode=Mode,
        nptype={"float": np.float32, "uint8": np.uint8}.__getitem__,
        ILogger=FakeLogger, Runtime=Runtime,
    )  # fmt: skip
