"""A camera of PipeWire, for programs that look for cameras there: no driver, no administrator.

Firefox on Fedora, GNOME's programs and OBS do. They do not find v4l2loopback: PipeWire looks at a device once, when it
appears, and one with exclusive_caps=1 is no camera before somebody writes to it (so in 0.3.65, and in the sources of
1.6.8).

The camera drives: a picture is queued, then PipeWire is told to run, so there is no callback for each. All that is
called back, in PipeWire's own thread, is that a reader chose the format.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import threading
import time
from ctypes import c_char_p
from fractions import Fraction

import cv2
import numpy as np

from livecomp.errors import OutputError
from livecomp.frame import U8Array
from livecomp.output.pipewire import pod
from livecomp.output.pipewire.library import META_HEADER, Buffer, Events, Header, Hook, ParamChanged, Session

__all__ = ["PipewireWriter"]

log = logging.getLogger(__name__)

_OPEN_S = 1.0
_LAST_S = 0.1  # that readers have for the last picture, before it is taken away with the camera
_ANY = 0xFFFFFFFF
_OUTPUT = 1
_MAP_BUFFERS, _DRIVER = 1 << 2, 1 << 3
_CONNECTING, _PAUSED, _STREAMING = 1, 2, 3  # and less than these: not connected, failed

# kinds of objects, what they are for, and their keys
_FORMAT_OBJECT, _BUFFERS_OBJECT, _META_OBJECT = 0x40003, 0x40004, 0x40005
_ENUM_FORMAT, _FORMAT, _BUFFERS, _META = 3, 4, 5, 6
_MEDIA_TYPE, _MEDIA_SUBTYPE = 1, 2
_VIDEO_FORMAT, _SIZE, _RATE, _PIXEL_ASPECT = 0x20001, 0x20003, 0x20004, 0x20008
_COLOR_RANGE, _COLOR_MATRIX, _TRANSFER, _PRIMARIES = 0x2000C, 0x2000D, 0x2000E, 0x2000F
_COUNT, _BLOCKS, _BYTES, _STRIDE, _MEMORY = 1, 2, 3, 4, 6
_META_TYPE, _META_SIZE = 1, 2

# values
_VIDEO, _RAW, _YUY2 = 2, 1, 4
_LIMITED, _BT601, _SRGB, _BT709 = 2, 4, 7, 1
_POINTER, _DESCRIPTOR = 1 << 1, 1 << 2


def _format(size_wh: tuple[int, int], fps: Fraction) -> bytes:
    return pod.object_(
        _FORMAT_OBJECT,
        _ENUM_FORMAT,
        [
            (_MEDIA_TYPE, pod.id_(_VIDEO)),
            (_MEDIA_SUBTYPE, pod.id_(_RAW)),
            (_VIDEO_FORMAT, pod.id_(_YUY2)),
            (_SIZE, pod.rectangle(*size_wh)),
            (_RATE, pod.fraction(fps.numerator, fps.denominator)),
            (_PIXEL_ASPECT, pod.fraction(1, 1)),
            (_COLOR_RANGE, pod.id_(_LIMITED)),
            (_COLOR_MATRIX, pod.id_(_BT601)),
            (_TRANSFER, pod.id_(_SRGB)),
            (_PRIMARIES, pod.id_(_BT709)),
        ],
    )


def _buffers(size_wh: tuple[int, int]) -> bytes:
    width, height = size_wh
    return pod.object_(
        _BUFFERS_OBJECT,
        _BUFFERS,
        [
            (_COUNT, pod.range_of(4, 2, 8)),
            (_BLOCKS, pod.int_(1)),
            (_BYTES, pod.int_(width * height * 2)),
            (_STRIDE, pod.int_(width * 2)),
            (_MEMORY, pod.flags_of(_POINTER | _DESCRIPTOR)),
        ],
    )


def _headers() -> bytes:
    properties = [(_META_TYPE, pod.id_(META_HEADER)), (_META_SIZE, pod.int_(ctypes.sizeof(Header)))]
    return pod.object_(_META_OBJECT, _META, properties)


def _array(*pods: bytes) -> ctypes.Array[c_char_p]:
    return (c_char_p * len(pods))(*pods)


class PipewireWriter:
    """A camera that PipeWire has as long as this object is open.

    It offers one format, YUY2, BT.601, limited range: browsers, OBS and GStreamer all take it, and it has one plane,
    about which readers cannot disagree. While nobody watches, pictures cost nothing.

    Args:
        size_wh: Even width and height in pixels.
        fps: Pictures a second to announce.

    Raises:
        OutputError: PipeWire is not installed, does not run, or refuses the camera.
    """

    path, label = "PipeWire", "LiveComp"

    def __init__(self, size_wh: tuple[int, int], fps: Fraction) -> None:
        self._size_wh = size_wh
        self._lock = threading.Lock()
        self._sequence = 0
        self._is_shown = False
        self._params = _array(_buffers(size_wh), _headers())
        self._events = Events(version=0, param_changed=ParamChanged(self._on_param_changed))
        self._hook = Hook()
        self._stream: int | None = None
        self._session: Session | None = Session()
        try:
            self._connect(self._session, _array(_format(size_wh, fps)))
            self._wait()
        except BaseException:
            self.close()
            raise

    def _connect(self, session: Session, formats: ctypes.Array[c_char_p]) -> None:
        properties = {
            "media.class": "Video/Source",
            "media.role": "Camera",
            "media.type": "Video",
            "node.name": "livecomp",
            "node.description": self.label,
        }
        library = session.library
        with session.locked():
            described = library.pw_properties_new_string(json.dumps(properties).encode())
            self._stream = library.pw_stream_new(session.core, self.label.encode(), described)
            if not self._stream:
                raise OutputError(f"PipeWire makes no camera: {os.strerror(ctypes.get_errno())}")
            library.pw_stream_add_listener(self._stream, self._hook, self._events, None)
            flags = _MAP_BUFFERS | _DRIVER
            result = library.pw_stream_connect(self._stream, _OUTPUT, _ANY, flags, formats, len(formats))
        if result < 0:
            raise OutputError(f"PipeWire refuses the camera: {os.strerror(-result)}")

    def _wait(self) -> None:
        """Until it is taken or refused; where PipeWire hangs not for long, since others may wait for a picture."""
        end = time.monotonic() + _OPEN_S
        while self._state() == _CONNECTING:
            if time.monotonic() > end:
                log.warning("PipeWire does not answer; the camera is there as soon as it does")
                return
            time.sleep(0.005)

    def _on_param_changed(self, data: object, kind: int, param: int | None) -> None:
        """In PipeWire's thread, which has its lock."""
        session, stream = self._session, self._stream
        if kind == _FORMAT and param and session is not None and stream is not None:
            session.library.pw_stream_update_params(stream, self._params, len(self._params))

    def _state(self) -> int:
        """Of the stream.

        Raises:
            OutputError: It failed.
        """
        assert self._session is not None, "closed"
        message = c_char_p()
        with self._session.locked():
            state = int(self._session.library.pw_stream_get_state(self._stream, message))
            told = message.value.decode("utf-8", "replace") if message.value else "it was ended"
        if state < _CONNECTING:
            raise OutputError(f"PipeWire gives the camera up: {told}")
        return state

    def viewers(self) -> int | None:
        """1 while anybody watches, else 0, as PipeWire does not tell how many; None when it has ended."""
        with self._lock:
            try:
                return int(self._state() == _STREAMING) if self._session is not None else None
            except OutputError:  # as `send` will tell
                return None

    def send(self, rgb: U8Array) -> None:
        """Show one picture: (H, W, 3) uint8 sRGB, full range, of the agreed size. Does not wait.

        It is left out while nobody watches, or while those who do still hold all earlier ones.

        Raises:
            OutputError: PipeWire has ended.
        """
        with self._lock:
            self._is_shown = False
            if self._state() != _STREAMING:
                return
            self._is_shown = True
            assert self._session is not None, "closed"
            library = self._session.library
            with self._session.locked():
                taken = library.pw_stream_dequeue_buffer(self._stream)
                if taken:
                    self._fill(taken.contents.buffer.contents, rgb)
                    library.pw_stream_queue_buffer(self._stream, taken)
                    library.pw_stream_trigger_process(self._stream)

    def _fill(self, buffer: Buffer, rgb: U8Array) -> None:
        width, height = self._size_wh
        data = buffer.datas[0]
        size = width * height * 2
        has_room = bool(data.data) and data.maxsize >= size
        if has_room:
            memory = (ctypes.c_uint8 * size).from_address(data.data)
            yuy2 = np.ndarray((height, width, 2), np.uint8, memoryview(memory))
            cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUY2, dst=yuy2)
        chunk = data.chunk.contents
        chunk.offset, chunk.size, chunk.stride, chunk.flags = 0, size if has_room else 0, width * 2, 0
        for meta in buffer.metas[: buffer.n_metas]:
            if meta.type == META_HEADER and meta.size >= ctypes.sizeof(Header):
                meta.data[0] = Header(pts=time.monotonic_ns(), seq=self._sequence)
        self._sequence += 1

    def close(self) -> None:
        """Take the camera away, when readers had time for the last picture; harmless when repeated."""
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                if self._is_shown:
                    time.sleep(_LAST_S)
                session.close(self._stream)
                self._stream = None
