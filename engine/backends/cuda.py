"""The few calls of the CUDA runtime that running an engine needs, each checked."""

from __future__ import annotations

import ctypes
import threading
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import BackendError, InferenceError

__all__ = ["Cuda", "CudaBuffer", "open_cuda"]


class Cuda:
    """A device's runtime and the one stream that all models share.

    Args:
        runtime: The module ``cuda.bindings.runtime``, or what stands in for it.
    """

    def __init__(self, runtime: Any) -> None:  # noqa: ANN401 - untyped
        self.runtime = runtime
        self.lock = threading.Lock()
        """Held while work is queued on the shared stream and waited for; while a graph is recorded from it, since what
        another thread queued meanwhile would become part of the graph; and while the stream is made or destroyed."""
        self._stream: Any = None
        self._users = 0

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - untyped
        """Call a function of the runtime and return its result, if it has one.

        Raises:
            InferenceError: The call failed; names it and says why.
        """
        status, *results = getattr(self.runtime, name)(*arguments)
        if int(status) != 0:
            raise InferenceError(f"{name} failed: {self.explain(status)}")
        return results[0] if results else None

    def explain(self, status: Any) -> str:  # noqa: ANN401 - untyped
        """The runtime's words for a status."""
        text = self.runtime.cudaGetErrorString(status)[1]
        words = text.decode() if isinstance(text, bytes) else str(text)
        return f"{words} (error {int(status)})"

    def device_name(self) -> str:
        """Name and compute capability of the present device."""
        properties = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return f"{name.rstrip(chr(0))} (compute capability {properties.major}.{properties.minor})"

    def make_stream(self) -> Any:  # noqa: ANN401 - untyped
        """A new stream, the caller's to destroy."""
        return self.call("cudaStreamCreateWithFlags", int(self.runtime.cudaStreamNonBlocking))

    def acquire_stream(self) -> Any:  # noqa: ANN401 - untyped
        """The shared stream; release it as often as it was acquired."""
        with self.lock:
            if self._users == 0:
                self._stream = self.make_stream()
            self._users += 1
            return self._stream

    def release_stream(self) -> None:
        """Give the shared stream back; the last one to do so destroys it."""
        with self.lock:
            self._users -= 1
            if self._users == 0:
                stream, self._stream = self._stream, None
                self.runtime.cudaStreamDestroy(stream)


class CudaBuffer:
    """Device memory, and pinned host memory that an array looks at.

    Args:
        cuda: The runtime.
        shape: Of the array.
        dtype: Of the array.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._cuda = cuda
        count = int(np.prod(shape, dtype=np.int64))
        self.nbytes = max(count * dtype.itemsize, 1)
        self.device: Any = None
        self.host: Any = cuda.call("cudaMallocHost", self.nbytes)
        try:
            self.device = cuda.call("cudaMalloc", self.nbytes)
        except InferenceError:
            self.free()
            raise
        raw = (ctypes.c_byte * self.nbytes).from_address(int(self.host))
        self.array: NDArray[Any] = np.frombuffer(memoryview(raw), dtype, count).reshape(shape)

    def upload(self, stream: Any) -> None:  # noqa: ANN401 - untyped
        """Queue the copy to the device."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._cuda.call("cudaMemcpyAsync", self.device, self.host, self.nbytes, kind, stream)

    def download(self, stream: Any) -> None:  # noqa: ANN401 - untyped
        """Queue the copy to the host."""
        kind = self._cuda.runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._cuda.call("cudaMemcpyAsync", self.host, self.device, self.nbytes, kind, stream)

    def free(self) -> None:
        """Give the memory back; a lost driver cannot take it, and that is no further error."""
        if self.device is not None:
            self._cuda.runtime.cudaFree(self.device)
        if self.host is not None:
            self._cuda.runtime.cudaFreeHost(self.host)
        self.device = self.host = None


_SHARED: list[Cuda] = []


def open_cuda() -> Cuda:
    """The process's CUDA runtime.

    Raises:
        BackendError: The package is missing, or there is no driver or no GPU.
    """
    if _SHARED:
        return _SHARED[0]
    cuda = Cuda(_import())
    status, *count = cuda.runtime.cudaGetDeviceCount()
    if int(status) != 0:
        raise BackendError(f"no NVIDIA GPU can be used: {cuda.explain(status)}; install the NVIDIA driver")
    if not count or not count[0]:
        raise BackendError("no NVIDIA GPU can be used: the driver lists none")
    _SHARED.append(cuda)
    return cuda


def _import() -> ModuleType:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendError(f"cuda-python cannot be imported ({error}); pip install cuda-python") from error
    module: ModuleType = runtime
    return module
