"""Cameras that only PipeWire can read, such as those in laptops whose pictures libcamera makes.

Which there are `pw-dump` tells, one of PipeWire's own tools. Cameras that V4L2 can read are left to it.
"""

from __future__ import annotations

import ctypes
import json
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from livecomp.capture.negotiate import Mode, usual_rates, usual_sizes
from livecomp.errors import InputError
from livecomp.frame import U8Array
from livecomp.media.packed import PackedConverter, PackedFormat
from livecomp.pipewire import pod, spa
from livecomp.pipewire.library import META_HEADER, NODE_NAME, Buffer, Data, Header
from livecomp.pipewire.stream import HEADERS, STREAMING, Stream

__all__ = ["Node", "PipewirePictures", "list_nodes"]

log = logging.getLogger(__name__)

_DUMP_S, _OPEN_S = 2.0, 2.8  # together less than `Reader` waits
_SLICE_S = 0.1
_OLD_NS = 5_000_000_000

# PipeWire's name of a format: four-character code, number
_FORMATS = {
    "YUY2": ("YUYV", 4),
    "UYVY": ("UYVY", 5),
    "NV12": ("NV12", 23),
    "RGB": ("RGB3", 15),
    "BGR": ("BGR3", 16),
    "RGBx": ("XB24", 7),
    "BGRx": ("XR24", 8),
    "RGBA": ("AB24", 11),
    "BGRA": ("AR24", 12),
}
_NUMBERS = dict(_FORMATS.values())
_CODES = {number: code for code, number in _FORMATS.values()}

_BUFFERS = pod.object_(
    spa.BUFFERS_OBJECT,
    spa.BUFFERS,
    [
        (spa.COUNT, pod.range_of(4, 1, 32)),  # a camera may have no choice
        (spa.MEMORY, pod.flags_of(spa.POINTER | spa.DESCRIPTOR)),
    ],
)


@dataclass(frozen=True, slots=True)
class Node:
    """One camera of PipeWire.

    Args:
        name: By which PipeWire knows it, the same whenever it is plugged in.
        label: What it calls itself.
        interface: What it is reached by, such as "libcamera"; "" when another program makes its pictures.
        modes: What it can.
    """

    name: str
    label: str
    interface: str
    modes: tuple[Mode, ...]


def list_nodes() -> list[Node]:
    """All cameras of PipeWire that V4L2 cannot read, without LiveComp's own; none where PipeWire does not run."""
    program = shutil.which("pw-dump")
    if program is None:
        return []
    try:
        dumped = subprocess.run([program], capture_output=True, timeout=_DUMP_S, check=True).stdout  # noqa: S603  no user's words
        entries = json.loads(dumped)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.debug("cameras of PipeWire are not known: %s", error)
        return []
    return [node for node in map(_described, entries) if node is not None]


def _described(entry: dict[str, Any]) -> Node | None:
    facts = entry.get("info") or {}
    properties = facts.get("props") or {}
    if (properties.get("media.class"), properties.get("media.role")) != ("Video/Source", "Camera"):
        return None
    name, interface = str(properties.get("node.name", "")), str(properties.get("device.api", ""))
    if interface == "v4l2" or name in ("", NODE_NAME):
        return None
    label = properties.get("node.description") or properties.get("node.nick") or name
    formats = (facts.get("params") or {}).get("EnumFormat") or []
    return Node(name, str(label), interface, tuple(dict.fromkeys(mode for each in formats for mode in _modes(each))))


def _choices(value: object) -> tuple[list[Any], bool]:
    """The values of a property, and whether they are the ends of a range, "min" and "max", and its "step"."""
    if not isinstance(value, dict) or "default" not in value:
        return ([] if value is None else [value]), False
    if "min" in value and "max" in value:
        return [value["min"], value["max"], *([value["step"]] if "step" in value else [])], True
    return list(value.values()), False


def _modes(described: dict[str, Any]) -> Iterator[Mode]:
    """What one of a camera's formats stands for; what cannot be made out is left out."""
    names, _ = _choices("MJPG" if described.get("mediaSubtype") == "mjpg" else described.get("format"))
    try:
        sizes, is_range = _choices(described.get("size"))
        pairs = [(int(size["width"]), int(size["height"])) for size in sizes]
        if is_range:
            pairs = usual_sizes(*pairs) or pairs[:2]
        ratios, is_range = _choices(described.get("framerate"))
        rates = {Fraction(int(rate["num"]), int(rate["denom"])) for rate in ratios}
        if is_range:
            rates = usual_rates(min(rates), max(rates))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        log.debug("a format that cannot be made out: %s: %r", described, error)
        return
    fps = tuple(sorted((rate for rate in rates if rate > 0), reverse=True))
    for name, size_wh in product(dict.fromkeys(names), dict.fromkeys(pairs)):
        yield Mode(_FORMATS.get(name, (name, 0))[0], size_wh, fps)


def _format(mode: Mode, fps: Fraction) -> bytes:
    subtype = [(spa.MEDIA_SUBTYPE, pod.id_(spa.RAW)), (spa.VIDEO_FORMAT, pod.id_(_NUMBERS.get(mode.fourcc, 0)))]
    properties = [
        (spa.MEDIA_TYPE, pod.id_(spa.VIDEO)),
        *([(spa.MEDIA_SUBTYPE, pod.id_(spa.MJPG))] if mode.fourcc == "MJPG" else subtype),
        (spa.SIZE, pod.rectangle(*mode.size_wh)),
    ]
    if mode.fps:
        properties.append((spa.RATE, pod.fraction(fps.numerator, fps.denominator)))
    return pod.object_(spa.FORMAT_OBJECT, spa.ENUM_FORMAT, properties)


def _agreed(format_pod: bytes) -> PackedFormat:
    """What a format says about how pictures lie in memory, but for the stride, which each picture says.

    Raises:
        ValueError: It is none of those that are asked for.
    """
    found = pod.properties_of(format_pod)
    try:
        is_jpeg = found[spa.MEDIA_SUBTYPE] == (spa.MJPG,)
        fourcc = "MJPG" if is_jpeg else _CODES[found[spa.VIDEO_FORMAT][0]]
        width, height = found[spa.SIZE]
    except KeyError as error:
        raise ValueError(f"a format without or with an unknown {error}") from error
    is_full_range = found.get(spa.COLOR_RANGE) == (spa.FULL,)
    return PackedFormat(fourcc, (width, height), 0, is_full_range, found.get(spa.COLOR_MATRIX) == (spa.MATRIX_BT709,))


class PipewirePictures:
    """A camera of PipeWire, see `Pictures`.

    Args:
        name: The camera's `Node.name`.
        mode: One of its modes.
        fps: Rate to ask for, 1/s.

    Raises:
        OSError: PipeWire does not give it, or gives no pictures of it.
    """

    def __init__(self, name: str, mode: Mode, fps: Fraction) -> None:
        self.size_wh, self.fps = mode.size_wh, fps
        self._packed: PackedFormat | None = None
        self._converter: PackedConverter | None = None
        self._came = threading.Event()
        properties = {
            "media.type": "Video",
            "media.category": "Capture",
            "media.role": "Camera",
            "node.name": f"{NODE_NAME}-camera",
            "target.object": name,
            "node.dont-reconnect": True,  # or another camera would be shown when this one is unplugged
            "node.dont-fallback": True,
        }
        self._stream = Stream(
            "LiveComp",
            properties,
            direction=spa.INPUT,
            flags=spa.AUTOCONNECT | spa.MAP_BUFFERS | spa.DONT_RECONNECT,
            formats=[_format(mode, fps)],
            on_format=self._on_format,
            on_picture=self._came.set,
        )
        try:
            packed = self._begun()
        except BaseException:
            self.close()
            raise
        self.size_wh = packed.size_wh
        self.description = f"{packed.description(fps)}, through PipeWire"

    def _begun(self) -> PackedFormat:
        has_begun = self._stream.wait_beyond(STREAMING - 1, _OPEN_S)
        if not has_begun or self._packed is None:
            raise TimeoutError(f"PipeWire has not started it within {_OPEN_S:g} s")
        return self._packed

    def _on_format(self, format_pod: bytes) -> tuple[bytes, bytes]:
        """In PipeWire's thread."""
        try:
            self._packed = _agreed(format_pod)
        except ValueError as error:
            log.warning("PipeWire chose a format that nobody asked for: %s", error)
            self._packed = None
        self._converter = None
        return _BUFFERS, HEADERS

    def take(self) -> tuple[U8Array, int] | None:
        """See `Pictures.take`."""
        if not self._came.wait(_SLICE_S):
            try:
                self._stream.state()
            except ConnectionError as error:
                raise InputError(f"the camera is gone: {error}; it is used again as soon as it is back") from error
            return None
        self._came.clear()
        with self._stream.locked():  # buffers do not go away meanwhile
            newest = self._stream.dequeue()
            while newest is not None and (later := self._stream.dequeue()) is not None:
                self._stream.queue(newest[0])
                newest = later
            if newest is None:
                return None
            taken, buffer = newest
            try:
                return self._converted(buffer)
            finally:
                self._stream.queue(taken)

    def _converted(self, buffer: Buffer) -> tuple[U8Array, int] | None:
        packed, now_ns = self._packed, time.monotonic_ns()
        planes = [plane for data in buffer.datas[: buffer.n_datas] if (plane := _bytes_of(data)) is not None]
        if packed is None or not planes or len(planes) < buffer.n_datas:
            return None
        time_ns = now_ns
        for meta in buffer.metas[: buffer.n_metas]:
            if meta.type == META_HEADER and meta.size >= ctypes.sizeof(Header):
                header = meta.data[0]
                if header.flags & spa.HEADER_CORRUPTED:
                    return None
                time_ns = header.pts if 0 <= now_ns - header.pts < _OLD_NS else now_ns
        picture = planes[0] if len(planes) == 1 else np.concatenate(planes)
        if self._converter is None:
            stride = max(0, buffer.datas[0].chunk.contents.stride) or _stride_of(packed, picture.size)
            self._converter = PackedConverter(replace(packed, stride=stride))
        rgb = self._converter.convert(picture)
        return None if rgb is None else (rgb, time_ns)

    def close(self) -> None:
        """See `Pictures.close`."""
        self._stream.close()


def _stride_of(packed: PackedFormat, size: int) -> int:
    """Bytes from row to row where nobody says, as with GStreamer: from those of the picture; 0 for not padded."""
    height = packed.size_wh[1]
    rows = height * 3 // 2 if packed.fourcc == "NV12" else height
    return 0 if size % rows else size // rows


def _bytes_of(data: Data) -> U8Array | None:
    """What a plane's memory holds; None when it is empty, damaged, or not where it says."""
    chunk = data.chunk.contents
    is_good = not chunk.flags & (spa.CHUNK_CORRUPTED | spa.CHUNK_EMPTY) and chunk.size
    if not is_good or not data.data or chunk.offset + chunk.size > data.maxsize:
        return None
    return np.frombuffer((ctypes.c_uint8 * chunk.size).from_address(data.data + chunk.offset), np.uint8)
