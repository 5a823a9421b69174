"""A stream of pictures to PipeWire or from it."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import c_char_p

from livecomp.pipewire import pod, spa
from livecomp.pipewire.library import META_HEADER, Buffer, Events, Header, Hook, ParamChanged, Process, Session

__all__ = ["CONNECTING", "HEADERS", "STREAMING", "Stream"]

CONNECTING, STREAMING = 1, 3
"""States of a stream; below `CONNECTING` it is not connected any more, or has failed."""

HEADERS = pod.object_(
    spa.META_OBJECT,
    spa.META,
    [(spa.META_TYPE, pod.id_(META_HEADER)), (spa.META_SIZE, pod.int_(ctypes.sizeof(Header)))],
)
"""Asks for buffers with a `Header`."""

_SLICE_S = 0.005


def _array(pods: Sequence[bytes]) -> ctypes.Array[c_char_p]:
    return (c_char_p * len(pods))(*pods)


class Stream:
    """One stream, with a connection and a thread of its own.

    Args:
        name: What PipeWire calls it.
        properties: What it is told of it.
        direction: `spa.INPUT` or `spa.OUTPUT`, as this program sees it.
        flags: `spa.AUTOCONNECT` and so on, together.
        formats: Those to choose from, best first.
        on_format: Called in PipeWire's thread with the format that was chosen; returns what to ask of buffers.
        on_picture: Called in that thread when a picture has come, or None.

    Raises:
        ConnectionError: PipeWire is not installed, does not run, or refuses the stream.
    """

    def __init__(
        self,
        name: str,
        properties: Mapping[str, object],
        *,
        direction: int,
        flags: int,
        formats: Sequence[bytes],
        on_format: Callable[[bytes], Sequence[bytes]],
        on_picture: Callable[[], None] | None = None,
    ) -> None:
        self._on_format = on_format
        self._events = Events(version=0, param_changed=ParamChanged(self._on_param_changed))
        if on_picture is not None:
            self._events.process = Process(lambda _: on_picture())
        self._hook = Hook()
        self._params = _array(())  # which PipeWire may read after it was told
        self._stream: int | None = None
        self._session = Session()
        try:
            self._connect(name, properties, direction, flags, _array(formats))
        except BaseException:
            self.close()
            raise

    def _connect(
        self,
        name: str,
        properties: Mapping[str, object],
        direction: int,
        flags: int,
        formats: ctypes.Array[c_char_p],
    ) -> None:
        library = self._session.library
        with self._session.locked():
            described = library.pw_properties_new_string(json.dumps(properties).encode())
            self._stream = library.pw_stream_new(self._session.core, name.encode(), described)
            if not self._stream:
                raise ConnectionError(f"PipeWire makes no stream: {os.strerror(ctypes.get_errno())}")
            library.pw_stream_add_listener(self._stream, self._hook, self._events, None)
            result = library.pw_stream_connect(self._stream, direction, spa.ANY, flags, formats, len(formats))
        if result < 0:
            raise ConnectionError(f"PipeWire refuses the stream: {os.strerror(-result)}")

    def _on_param_changed(self, data: object, kind: int, param: int | None) -> None:
        """In PipeWire's thread, which has its lock."""
        if kind == spa.FORMAT and param and self._stream is not None:
            self._params = _array(self._on_format(pod.bytes_at(param)))
            self._session.library.pw_stream_update_params(self._stream, self._params, len(self._params))

    def state(self) -> int:
        """`CONNECTING`, `STREAMING`, or something in between.

        Raises:
            ConnectionError: It has ended; says why.
        """
        message = c_char_p()
        with self._session.locked():
            state = int(self._session.library.pw_stream_get_state(self._stream, message))
            why = f": {message.value.decode('utf-8', 'replace')}" if message.value else ""
        if state < CONNECTING:
            raise ConnectionError(f"PipeWire ended the stream{why}")
        return state

    def wait_beyond(self, state: int, within_s: float) -> bool:
        """Wait until it has left this state for a later one; False when it has not.

        Raises:
            ConnectionError: As for `state`.
        """
        end = time.monotonic() + within_s
        while self.state() <= state:
            if time.monotonic() > end:
                return False
            time.sleep(_SLICE_S)
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While PipeWire's thread waits: `dequeue`, what is done with the buffer, and `queue`."""
        with self._session.locked():
            yield

    def dequeue(self) -> tuple[object, Buffer] | None:
        """A buffer, and what to give to `queue`; None when there is none."""
        taken = self._session.library.pw_stream_dequeue_buffer(self._stream)
        return (taken, taken.contents.buffer.contents) if taken else None

    def queue(self, taken: object) -> None:
        """Give a buffer back."""
        self._session.library.pw_stream_queue_buffer(self._stream, taken)

    def trigger(self) -> None:
        """Make PipeWire run, as the driver of all that are connected."""
        self._session.library.pw_stream_trigger_process(self._stream)

    def close(self) -> None:
        """End stream and connection; harmless when repeated."""
        self._session.close(self._stream)
        self._stream = None
