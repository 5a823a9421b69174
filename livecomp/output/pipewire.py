"""A camera of PipeWire, for programs that look for cameras there: no driver, no administrator.

Firefox on Fedora, GNOME's programs and OBS do. They do not find v4l2loopback: PipeWire looks at a device once, when it
appears, and one with exclusive_caps=1 is no camera before somebody writes to it (so in 0.3.65, and in the sources of
1.6.8).

The camera drives: a picture is queued, then PipeWire is told to run, so there is no callback for each. All that is
called back, in PipeWire's own thread, is that a reader chose the format.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from fractions import Fraction

import cv2
import numpy as np

from livecomp.errors import OutputError
from livecomp.frame import U8Array
from livecomp.pipewire import pod, spa
from livecomp.pipewire.library import META_HEADER, NODE_NAME, Buffer, Header
from livecomp.pipewire.stream import CONNECTING, HEADERS, STREAMING, Stream

__all__ = ["PipewireWriter"]

log = logging.getLogger(__name__)

_OPEN_S = 1.0
_LAST_S = 0.1  # that readers have for the last picture, before it is taken away with the camera
_YUY2 = 4


def _format(size_wh: tuple[int, int], fps: Fraction) -> bytes:
    return pod.object_(
        spa.FORMAT_OBJECT,
        spa.ENUM_FORMAT,
        [
            (spa.MEDIA_TYPE, pod.id_(spa.VIDEO)),
            (spa.MEDIA_SUBTYPE, pod.id_(spa.RAW)),
            (spa.VIDEO_FORMAT, pod.id_(_YUY2)),
            (spa.SIZE, pod.rectangle(*size_wh)),
            (spa.RATE, pod.fraction(fps.numerator, fps.denominator)),
            (spa.PIXEL_ASPECT, pod.fraction(1, 1)),
            (spa.COLOR_RANGE, pod.id_(spa.LIMITED)),
            (spa.COLOR_MATRIX, pod.id_(spa.MATRIX_BT601)),
            (spa.TRANSFER, pod.id_(spa.TRANSFER_SRGB)),
            (spa.PRIMARIES, pod.id_(spa.PRIMARIES_BT709)),
        ],
    )


def _buffers(size_wh: tuple[int, int]) -> bytes:
    width, height = size_wh
    return pod.object_(
        spa.BUFFERS_OBJECT,
        spa.BUFFERS,
        [
            (spa.COUNT, pod.range_of(4, 2, 8)),
            (spa.BLOCKS, pod.int_(1)),
            (spa.BYTES, pod.int_(width * height * 2)),
            (spa.STRIDE, pod.int_(width * 2)),
            (spa.MEMORY, pod.flags_of(spa.POINTER | spa.DESCRIPTOR)),
        ],
    )


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
        properties = {
            "media.class": "Video/Source",
            "media.role": "Camera",
            "media.type": "Video",
            "node.name": NODE_NAME,
            "node.description": self.label,
        }
        buffers = (_buffers(size_wh), HEADERS)
        self._stream: Stream | None = None
        try:
            self._stream = Stream(
                self.label,
                properties,
                direction=spa.OUTPUT,
                flags=spa.MAP_BUFFERS | spa.DRIVER,
                formats=[_format(size_wh, fps)],
                on_format=lambda _: buffers,
            )
            # where PipeWire hangs not for long, since others may wait for a picture
            if not self._stream.wait_beyond(CONNECTING, _OPEN_S):
                log.warning("PipeWire does not answer; the camera is there as soon as it does")
        except ConnectionError as error:
            self.close()
            raise OutputError(str(error)) from error

    def viewers(self) -> int | None:
        """1 while anybody watches, else 0, as PipeWire does not tell how many; None when it has ended."""
        with self._lock:
            try:
                return int(self._stream.state() == STREAMING) if self._stream is not None else None
            except ConnectionError:  # as `send` will tell
                return None

    def send(self, rgb: U8Array) -> None:
        """Show one picture: (H, W, 3) uint8 sRGB, full range, of the agreed size. Does not wait.

        It is left out while nobody watches, or while those who do still hold all earlier ones.

        Raises:
            OutputError: PipeWire has ended.
        """
        with self._lock:
            self._is_shown = False
            stream = self._stream
            assert stream is not None, "closed"
            try:
                if stream.state() != STREAMING:
                    return
            except ConnectionError as error:
                raise OutputError(str(error)) from error
            self._is_shown = True
            with stream.locked():
                lent = stream.dequeue()
                if lent is not None:
                    taken, buffer = lent
                    self._fill(buffer, rgb)
                    stream.queue(taken)
                    stream.trigger()

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
            stream, self._stream = self._stream, None
            if stream is not None:
                if self._is_shown:
                    time.sleep(_LAST_S)
                stream.close()
