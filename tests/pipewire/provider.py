"""A camera that PipeWire has, such as those of libcamera, made by the test."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from livecomp.frame import U8Array
from livecomp.pipewire import pod, spa
from livecomp.pipewire.library import META_HEADER, Buffer, Header
from livecomp.pipewire.stream import CONNECTING, HEADERS, STREAMING, Stream

__all__ = ["BGRX", "NAME", "NV12", "Provider", "bgrx", "format_of", "jpeg", "nv12"]

NAME = "libcamera_input.__SB_.PCI0.LNK1"
NV12, BGRX = 23, 8  # numbers of formats


def format_of(size_wh: tuple[int, int], number: int | None, *colors: tuple[int, bytes], rate: int | None = 30) -> bytes:
    """A format to offer: PipeWire's number of a raw one, or None for JPEG."""
    raw = [(spa.MEDIA_SUBTYPE, pod.id_(spa.RAW)), (spa.VIDEO_FORMAT, pod.id_(number or 0))]
    properties = [
        (spa.MEDIA_TYPE, pod.id_(spa.VIDEO)),
        *([(spa.MEDIA_SUBTYPE, pod.id_(spa.MJPG))] if number is None else raw),
        (spa.SIZE, pod.rectangle(*size_wh)),
        *([(spa.RATE, pod.fraction(rate, 1))] if rate else []),
        *colors,
    ]
    return pod.object_(spa.FORMAT_OBJECT, spa.ENUM_FORMAT, properties)


def nv12(rgb: U8Array, stride: int) -> list[bytes]:
    """Two planes, rows padded with what is no picture."""
    height, width = rgb.shape[:2]
    i420 = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
    chroma = i420[height:].reshape(2, height // 2, width // 2)
    planes = i420[:height], np.stack(chroma, axis=-1).reshape(height // 2, width)
    return [np.pad(plane, ((0, 0), (0, stride - width)), constant_values=77).tobytes() for plane in planes]


def bgrx(rgb: U8Array) -> list[bytes]:
    """One plane, of which a fourth is nothing."""
    return [np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)).tobytes()]


def jpeg(rgb: U8Array) -> list[bytes]:
    """As of a webcam."""
    return [cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()]


class Provider:
    """A camera with one format, to be used as a context; pictures come 30 times a second while anybody reads.

    Args:
        formats: To offer.
        planes: Bytes of each plane of the picture with a number.
        stride: What it says of them.
        name: By which PipeWire knows it.
        label: What it calls itself.
        interface: "libcamera", "v4l2"; "" for none.
    """

    def __init__(
        self,
        formats: Sequence[bytes],
        planes: Callable[[int], list[bytes]],
        *,
        stride: int = 0,
        name: str = NAME,
        label: str = "Built-in Camera",
        interface: str = "libcamera",
    ) -> None:
        self._formats, self._planes, self._stride = formats, planes, stride
        self._properties = {
            "media.class": "Video/Source",
            "media.role": "Camera",
            "node.name": name,
            "node.description": label,
            **({"device.api": interface} if interface else {}),
        }
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0
        self.header_flags = 0
        self.chunk_flags = 0

    def __enter__(self) -> Self:
        first = self._planes(0)
        buffers = pod.object_(
            spa.BUFFERS_OBJECT,
            spa.BUFFERS,
            [
                (spa.COUNT, pod.range_of(4, 4, 4)),
                (spa.BLOCKS, pod.int_(len(first))),
                (spa.BYTES, pod.int_(2 * max(map(len, first)))),
                (spa.STRIDE, pod.int_(self._stride)),
                (spa.MEMORY, pod.flags_of(spa.POINTER | spa.DESCRIPTOR)),
            ],
        )
        self._stream = Stream(
            "camera",
            self._properties,
            direction=spa.OUTPUT,
            flags=spa.MAP_BUFFERS | spa.DRIVER,
            formats=self._formats,
            on_format=lambda _: (buffers, HEADERS),
        )
        assert self._stream.wait_beyond(CONNECTING, 5)
        self._thread = threading.Thread(target=self._film)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Take it away; harmless when repeated."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._stream.close()

    @property
    def is_on(self) -> bool:
        """Whether its lamp would be lit."""
        return self._stream.state() == STREAMING

    def _film(self) -> None:
        while not self._ended.wait(1 / 30):
            try:
                is_on = self.is_on
            except ConnectionError:
                return
            if not is_on:
                continue
            with self._stream.locked():
                lent = self._stream.dequeue()
                if lent is not None:
                    taken, buffer = lent
                    self._fill(buffer)
                    self._stream.queue(taken)
                    self._stream.trigger()

    def _fill(self, buffer: Buffer) -> None:
        planes = self._planes(self.sent)
        assert buffer.n_datas == len(planes)
        for plane, data in zip(planes, buffer.datas[: buffer.n_datas], strict=True):
            assert data.maxsize >= len(plane)
            ctypes.memmove(data.data, plane, len(plane))
            chunk = data.chunk.contents
            chunk.offset, chunk.size, chunk.stride, chunk.flags = 0, len(plane), self._stride, self.chunk_flags
        for meta in buffer.metas[: buffer.n_metas]:
            if meta.type == META_HEADER:
                meta.data[0] = Header(flags=self.header_flags, pts=time.monotonic_ns(), seq=self.sent)
        self.sent += 1
