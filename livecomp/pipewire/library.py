"""libpipewire by ctypes: the functions and structures that a camera needs, as they have been since 0.3.48.

Inline functions of its headers cannot be called; they only read and write what is declared here, and `pod` has those
that build parameters.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = [
    "META_HEADER",
    "NODE_NAME",
    "Buffer",
    "Chunk",
    "Data",
    "Events",
    "Header",
    "Hook",
    "Meta",
    "ParamChanged",
    "PipewireInfo",
    "Process",
    "Session",
    "StreamBuffer",
    "find_pipewire",
]

_LIBRARY = "libpipewire-0.3.so.0"

NODE_NAME = "livecomp"
"""Of the camera that LiveComp is in PipeWire."""

META_HEADER = 1
"""Type of the metadata that is a `Header`."""


class Chunk(Structure):
    """Which part of the memory the picture is in."""

    _fields_ = [("offset", c_uint32), ("size", c_uint32), ("stride", c_int32), ("flags", c_int32)]


class Data(Structure):
    """Memory of one plane."""

    _fields_ = [
        ("type", c_uint32),
        ("flags", c_uint32),
        ("fd", c_int64),
        ("mapoffset", c_uint32),
        ("maxsize", c_uint32),
        ("data", c_void_p),
        ("chunk", POINTER(Chunk)),
    ]


class Header(Structure):
    """When a picture was made, in ns of the monotonic clock, and its number."""

    _fields_ = [("flags", c_uint32), ("offset", c_uint32), ("pts", c_int64), ("dts_offset", c_int64), ("seq", c_uint64)]


class Meta(Structure):
    """Metadata of one type."""

    _fields_ = [("type", c_uint32), ("size", c_uint32), ("data", POINTER(Header))]


class Buffer(Structure):
    """One picture with its metadata."""

    _fields_ = [("n_metas", c_uint32), ("n_datas", c_uint32), ("metas", POINTER(Meta)), ("datas", POINTER(Data))]


class StreamBuffer(Structure):
    """A buffer as a stream lends it."""

    _fields_ = [("buffer", POINTER(Buffer))]  # and more, which is not used


ParamChanged = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
"""Called with its data, the kind of the parameter, and the parameter or NULL."""

Process = ctypes.CFUNCTYPE(None, c_void_p)
"""Called with its data when a picture has come."""

Hook = c_void_p * 6
"""A listener's place in the list of all, PipeWire's to fill."""


class Events(Structure):
    """Callbacks of a stream in their first version; those that are not set are not called."""

    _fields_ = [
        ("version", c_uint32),
        ("destroy", c_void_p),
        ("state_changed", c_void_p),
        ("control_info", c_void_p),
        ("io_changed", c_void_p),
        ("param_changed", ParamChanged),
        ("add_buffer", c_void_p),
        ("remove_buffer", c_void_p),
        ("process", Process),
        ("drained", c_void_p),
    ]


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "pw_get_library_version": (c_char_p, []),
    "pw_init": (None, [c_void_p, c_void_p]),
    "pw_log_set_level": (None, [c_int]),
    "pw_properties_new_string": (c_void_p, [c_char_p]),
    "pw_thread_loop_new": (c_void_p, [c_char_p, c_void_p]),
    "pw_thread_loop_get_loop": (c_void_p, [c_void_p]),
    "pw_thread_loop_start": (c_int, [c_void_p]),
    "pw_thread_loop_lock": (None, [c_void_p]),
    "pw_thread_loop_unlock": (None, [c_void_p]),
    "pw_thread_loop_stop": (None, [c_void_p]),
    "pw_thread_loop_destroy": (None, [c_void_p]),
    "pw_context_new": (c_void_p, [c_void_p, c_void_p, c_size_t]),
    "pw_context_connect": (c_void_p, [c_void_p, c_void_p, c_size_t]),
    "pw_context_destroy": (None, [c_void_p]),
    "pw_stream_new": (c_void_p, [c_void_p, c_char_p, c_void_p]),
    "pw_stream_add_listener": (None, [c_void_p, POINTER(Hook), POINTER(Events), c_void_p]),
    "pw_stream_connect": (c_int, [c_void_p, c_int, c_uint32, c_int, POINTER(c_char_p), c_uint32]),
    "pw_stream_update_params": (c_int, [c_void_p, POINTER(c_char_p), c_uint32]),
    "pw_stream_get_state": (c_int, [c_void_p, POINTER(c_char_p)]),
    "pw_stream_dequeue_buffer": (POINTER(StreamBuffer), [c_void_p]),
    "pw_stream_queue_buffer": (c_int, [c_void_p, POINTER(StreamBuffer)]),
    "pw_stream_trigger_process": (c_int, [c_void_p]),
    "pw_stream_destroy": (None, [c_void_p]),
}


@cache
def _load() -> ctypes.CDLL:
    """The library, ready for use.

    Raises:
        OSError: It is not installed.
        AttributeError: It is too old to have all functions.
    """
    library = ctypes.CDLL(_LIBRARY, use_errno=True)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.pw_init(None, None)
    if "PIPEWIRE_DEBUG" not in os.environ:
        library.pw_log_set_level(0)  # or it prints on the terminal what becomes an error here
    return library


class Session:
    """A connection to the user's PipeWire, and the thread that serves it.

    Attributes:
        library: libpipewire. Its functions want `locked`, but for those that are about threads.
        core: The connection, ``struct pw_core *``.

    Raises:
        ConnectionError: PipeWire is not installed, or does not run for this user.
    """

    def __init__(self) -> None:
        try:
            self.library = _load()
        except (OSError, AttributeError) as error:
            raise ConnectionError(f"there is no PipeWire, since its library cannot be used: {error}") from error
        self._loop: int | None = self.library.pw_thread_loop_new(b"livecomp-pipewire", None)
        self._context: int | None = None
        if not self._loop:
            raise ConnectionError(f"PipeWire gives no thread: {os.strerror(ctypes.get_errno())}")
        try:
            loop = self.library.pw_thread_loop_get_loop(self._loop)
            self._context = self.library.pw_context_new(loop, None, 0)
            self.core = self._context and self.library.pw_context_connect(self._context, None, 0)
            if not self.core:
                raise ConnectionError(f"PipeWire does not run for this user: {os.strerror(ctypes.get_errno())}")
            self.library.pw_thread_loop_start(self._loop)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """With the thread waiting."""
        self.library.pw_thread_loop_lock(self._loop)
        try:
            yield
        finally:
            self.library.pw_thread_loop_unlock(self._loop)

    def close(self, stream: int | None = None) -> None:
        """End thread, stream and connection; harmless when repeated."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        self.library.pw_thread_loop_stop(loop)  # from here on nothing else runs, and needs no lock
        if stream:
            self.library.pw_stream_destroy(stream)
        if self._context:
            self.library.pw_context_destroy(self._context)
        self.library.pw_thread_loop_destroy(loop)


@dataclass(frozen=True, slots=True)
class PipewireInfo:
    """What there is of PipeWire.

    Args:
        version: Of its library, such as "1.4.2"; "" when PipeWire cannot be used.
        trouble: Why it cannot; "" when it can.
    """

    version: str = ""
    trouble: str = ""


def find_pipewire() -> PipewireInfo:
    """Whether PipeWire runs for this user; nothing is changed in it."""
    try:
        session = Session()
    except ConnectionError as error:
        return PipewireInfo(trouble=str(error))
    session.close()
    return PipewireInfo(version=session.library.pw_get_library_version().decode())
