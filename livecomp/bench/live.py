"""A call, measured from the capture of a frame to whoever watches it: glass to glass, but for the two glasses.

Frames come at a camera's pace, as a camera sends them. What is shown carries, drawn into its pixels, the time at which
the frame it was made from was captured. Another process watches the virtual camera and reads that time. Drawing is
left out of neither side: both count as part of the call.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from livecomp.bench import Case, Measurement
from livecomp.bench.consumer import Consumer, Seen
from livecomp.bench.pipeline import config_for, load_frames
from livecomp.bench.stamp import draw_time
from livecomp.capture import SourceInfo
from livecomp.capture.looped import LoopedSource
from livecomp.config import Config
from livecomp.errors import InputError, OutputError, reason
from livecomp.frame import Composite, Frame, U8Array, freeze
from livecomp.live.session import LiveSession
from livecomp.media.packed import PackedConverter, PackedFormat
from livecomp.output import Sink
from livecomp.output.check import check_composite
from livecomp.output.virtual import VirtualCameraSink
from livecomp.stats import StageTimer, peak_mib
from livecomp.threads import bound_threads

__all__ = ["STAND_IN", "PacketSource", "StampingSink", "StandInCamera", "measure_live"]

STAND_IN = "stand-in"
"""In place of a device: memory that another process reads, behind the same conversion."""

_WARM_UP_S = 2.0
_START_S = 60.0
_KEPT = 2000


class PacketSource:
    """Frames as a camera sends them, YUYV, converted when they are read; back and forth without an end.

    Args:
        frames: What it shows; converted once to what a camera would send.
        fps: Pictures a second.
    """

    def __init__(self, frames: Sequence[Frame], fps: float) -> None:
        self._size_wh = frames[0].size_wh
        self._fps = Fraction(fps).limit_denominator(1001)
        self._packets = [_yuyv(frame) for frame in frames]
        self._converter = PackedConverter(PackedFormat("YUYV", self._size_wh))
        self._next = 0

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`."""
        return SourceInfo("bench", self._size_wh, self._fps, 1 / self._fps)

    def open(self) -> None:
        """See `Source.open`."""

    def read(self) -> Frame:
        """See `Source.read`."""
        packets = self._packets
        index, self._next = self._next, self._next + 1
        period = max(1, 2 * (len(packets) - 1))
        place = index % period
        rgb = self._converter.convert(packets[place if place < len(packets) else period - place])
        assert rgb is not None, "the packets are whole"
        return Frame(rgb, round(index * 1e9 / self._fps))

    def close(self) -> None:
        """See `Source.close`."""


def _yuyv(frame: Frame) -> U8Array:
    """(2 * W * H,) uint8, BT.601, limited range."""
    return np.asarray(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2YUV_YUY2), np.uint8).ravel()


class StandInCamera:
    """A virtual camera's stand-in: converts as v4l2loopback wants it, and writes to a file in memory.

    Args:
        path: One picture in YUV4MPEG2, written over and over.
        size_wh: Even width and height in pixels.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int]) -> None:
        self._path = path
        self._size_wh = size_wh
        self._i420 = np.empty((size_wh[1] * 3 // 2, size_wh[0]), np.uint8)
        self._head = f"YUV4MPEG2 W{size_wh[0]} H{size_wh[1]} F30:1 Ip A1:1 C420\nFRAME\n".encode()

    def open(self) -> None:
        """See `Sink.open`."""
        try:
            self._path.write_bytes(self._head + bytes(self._i420.nbytes))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {reason(error)}") from error

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        check_composite(composite, self._size_wh)
        cv2.cvtColor(composite.rgb, cv2.COLOR_RGB2YUV_I420, dst=self._i420)
        with self._path.open("r+b", buffering=0) as stream:
            stream.seek(len(self._head))
            stream.write(self._i420.data)

    def close(self) -> None:
        """See `Sink.close`."""

    def abort(self) -> None:
        """See `Sink.abort`."""


class StampingSink:
    """Draws the time of capture into composites, never into slates, and hands them on.

    Args:
        sink: Opened and closed here.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.ages = StageTimer()
        """From capture to the end of writing, as "sink"."""

    def open(self) -> None:
        """See `Sink.open`."""
        self._sink.open()

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        if composite.kind == "composite":
            rgb = composite.rgb.copy()
            draw_time(rgb, composite.pts_ns)
            composite = replace(composite, rgb=freeze(rgb))
        self._sink.write(composite)
        if composite.kind == "composite":
            self.ages.add("sink", (time.monotonic_ns() - composite.pts_ns) / 1e6)

    def close(self) -> None:
        """See `Sink.close`."""
        self._sink.close()

    def abort(self) -> None:
        """See `Sink.abort`."""
        self._sink.abort()


def measure_live(case: Case, config: Config, spec: str | Path, background: str | Path, seconds: float) -> Measurement:
    """Measure a call.

    Args:
        case: What to measure; goes before what the configuration says.
        config: All other options; `live.device` is the virtual camera, or `STAND_IN`.
        spec: Where frames come from.
        background: The scene.
        seconds: How long to measure, after warm-up.

    Raises:
        LiveCompError: The device or a stage cannot be had, or nobody could read anything.
    """
    wanted = config_for(case, config)
    wanted = wanted.model_copy(update={"background": wanted.background.model_copy(update={"source": str(background)})})
    live = wanted.live
    source = LoopedSource(PacketSource(load_frames(spec, case.size_wh), live.fps), fps=live.fps)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_memory_folder(), prefix="livecomp-bench-")))
        sink: Sink
        if live.device == STAND_IN:
            watched, sink = str(folder / "picture.y4m"), StandInCamera(folder / "picture.y4m", case.size_wh)
        else:
            watched, sink = live.device, VirtualCameraSink(live.device, size_wh=case.size_wh, fps=live.fps)
        return measure_session(case, wanted, source, sink, Consumer(watched, case.size_wh), seconds)


def measure_session(
    case: Case, config: Config, source: LoopedSource, sink: Sink, consumer: Consumer, seconds: float
) -> Measurement:
    """Measure a call through a virtual camera that `consumer` watches; see `measure_live`."""
    bound_threads()
    steady = config.live.model_copy(update={"adapt": False, "ondemand": False})
    config = config.model_copy(update={"live": steady})
    stamping = StampingSink(sink)
    session = LiveSession(config, source=source, sinks=[stamping], build=Config.build)
    begin = time.monotonic_ns()
    with ExitStack() as stack:
        # its process starts before a device is open, which it could inherit
        stack.callback(consumer.close)
        consumer.open()
        stack.callback(session.stop)
        session.start()
        while session.status().shown < 1:
            if time.monotonic_ns() - begin > _START_S * 1e9:
                raise InputError(f"no picture was shown within {_START_S:.0f} s: {session.status().detail}")
            time.sleep(0.01)
        open_s = (time.monotonic_ns() - begin) / 1e9
        consumer.watch()
        time.sleep(_WARM_UP_S)
        consumer.forget()
        stamping.ages = StageTimer()
        session.forget_timings()
        before = session.status()
        start_ns, start_cpu = time.monotonic_ns(), time.process_time()
        time.sleep(seconds)
        wall = (time.monotonic_ns() - start_ns) / 1e9
        cores = (time.process_time() - start_cpu) / wall
        after = session.status()
        seen = consumer.finish()
    _require(seen)
    ages = StageTimer()
    for age in seen.ages_ms:
        ages.add("seen", age)
    return Measurement(
        case=case,
        frames=len(seen.ages_ms),
        seconds=wall,
        fps=(len(seen.at_ns) - 1) * 1e9 / max(1, seen.at_ns[-1] - seen.at_ns[0]),
        cores=cores,
        peak_mib=peak_mib(),
        frame=ages.summary()[0],
        stages=[*after.stages, *stamping.ages.summary()],
        frame_ms=[round(age, 3) for age in seen.ages_ms[-_KEPT:]],
        open_s=open_s,
        dropped=after.dropped - before.dropped,
        note=f"through {'a stand-in for a virtual camera' if config.live.device == STAND_IN else config.live.device}",
    )


def _require(seen: Seen) -> None:
    if seen.error:
        raise InputError(f"the virtual camera cannot be read: {seen.error}")
    if len(seen.ages_ms) < 2:
        raise InputError(
            f"{len(seen.ages_ms)} pictures with a time came through the virtual camera, and {seen.unstamped} without; "
            "expected some: is another program writing to it, or does it scale pictures?"
        )


def _memory_folder() -> str | None:
    """Where files cost no disk; None for the usual place of temporary files."""
    return "/dev/shm" if sys.platform.startswith("linux") and Path("/dev/shm").is_dir() else None  # noqa: S108  a private folder in it
