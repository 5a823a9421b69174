"""Whoever watches the virtual camera, in a process of its own: reads every picture whole, and notes how old it is.

A real device is read through PyAV, as programs with FFmpeg do, which map its buffers; a stand-in keeps its last picture
in a file in YUV4MPEG2 with 4:2:0, which is looked at every half millisecond.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from livecomp.bench.owner import end_with_owner
from livecomp.bench.stamp import age_ns, read_stamp
from livecomp.errors import InputError, reason
from livecomp.frame import U8Array

__all__ = ["Consumer", "Seen"]

_POLL_S = 0.0005
_LONGEST_AGE_NS = 60_000_000_000
_READY_S = 30.0
_MARK = b"FRAME\n"


@dataclass(slots=True)
class Seen:
    """What was read.

    Args:
        ages_ms: Of each new picture, from the capture of the frame it shows to the end of reading it.
        at_ns: When each had been read, monotonic.
        unstamped: Pictures without a number: slates, and torn ones.
        error: Why reading ended early; empty when it did not.
    """

    ages_ms: list[float] = field(default_factory=list)
    at_ns: list[int] = field(default_factory=list)
    unstamped: int = 0
    error: str = ""

    def note(self, luma: U8Array, now_ns: int, last: int) -> int:
        """Take down a picture that has just been read; returns the number of the newest one."""
        number = read_stamp(luma)
        if number is None or age_ns(number, now_ns) >= _LONGEST_AGE_NS:
            self.unstamped += 1
            return last
        if number != last:
            self.ages_ms.append(age_ns(number, now_ns) / 1e6)
            self.at_ns.append(now_ns)
        return number


class Consumer:
    """Reads in another process from `watch` to `finish`. Clocks of processes on one machine agree.

    Args:
        path: A device, or the file of a stand-in.
        size_wh: Width and height of the pictures, pixels.
    """

    def __init__(self, path: str | Path, size_wh: tuple[int, int]) -> None:
        self._path = str(path)
        self._size_wh = size_wh
        self._process: Any = None
        self._pipe: Connection | None = None

    def open(self) -> None:
        """Start the other process, which touches nothing yet.

        Raises:
            InputError: The other process does not come up.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_consume, args=(self._path, self._size_wh, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(_READY_S):
            self.close()
            raise InputError(f"whoever should watch {self._path} did not start within {_READY_S:.0f} s")
        self._pipe.recv()

    def watch(self) -> None:
        """Begin to read: somebody writes by now."""
        assert self._pipe is not None, "not open"
        self._pipe.send("watch")

    def forget(self) -> None:
        """Begin to count anew: what came before was warm-up."""
        assert self._pipe is not None, "not open"
        self._pipe.send("forget")

    def finish(self) -> Seen:
        """Stop reading; what was read since `forget`.

        Raises:
            InputError: The other process ended before.
        """
        assert self._pipe is not None, "not open"
        try:
            self._pipe.send("finish")
            if not self._pipe.poll(_READY_S):
                raise InputError(f"whoever watches {self._path} does not answer")
            seen: Seen = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise InputError(f"whoever watches {self._path} ended early") from error
        return seen

    def close(self) -> None:
        """End the process; harmless when repeated."""
        if self._process is not None:
            self._process.join(0.5)
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def _consume(path: str, size_wh: tuple[int, int], pipe: Connection) -> None:
    """The other process."""
    end_with_owner()
    seen, last = Seen(), 0
    pictures = _from_device if path.startswith("/dev/video") else _from_file
    try:
        pipe.send("ready")
        if pipe.recv() != "watch":
            pipe.send(seen)
            return
        for luma in pictures(path, size_wh, pipe.poll):
            if luma is not None:
                last = seen.note(luma, time.monotonic_ns(), last)
            if pipe.poll():
                if pipe.recv() == "finish":
                    break
                seen = Seen()
    except (EOFError, KeyboardInterrupt):  # the owner is gone
        return
    except Exception as error:  # a process's boundary: told to the owner, who waits for it
        seen.error = reason(error)
        while pipe.recv() != "finish":
            continue
    pipe.send(seen)


def _from_device(path: str, size_wh: tuple[int, int], is_asked: Callable[[], bool]) -> Iterator[U8Array | None]:
    """Each picture of a V4L2 device as (H, W) uint8, as FFmpeg maps and PyAV copies it."""
    import av

    options = {"video_size": f"{size_wh[0]}x{size_wh[1]}", "input_format": "yuv420p"}
    with av.open(path, format="v4l2", options=options) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(), np.uint8)[: size_wh[1]]
    if not is_asked():
        raise InputError(f"{path} has come to its end")


def _from_file(path: str, size_wh: tuple[int, int], is_asked: Callable[[], bool]) -> Iterator[U8Array | None]:
    """The picture in a file, (H, W) uint8, each time it has changed; None when it has not."""
    width, height = size_wh
    rows = max(16, height // 8)  # what is compared: the stamp is in it
    before = b""
    while True:
        try:
            with Path(path).open("rb", buffering=0) as stream:
                start = stream.read(256).find(_MARK)
                if start >= 0:
                    stream.seek(start + len(_MARK))
                    if stream.read(rows * width) != before:
                        stream.seek(start + len(_MARK))
                        whole = stream.read(width * height * 3 // 2)
                        before = whole[: rows * width]
                        if len(whole) == width * height * 3 // 2:
                            yield np.frombuffer(whole, np.uint8, width * height).reshape(height, width)
                            continue
        except FileNotFoundError:
            pass
        yield None
        if not is_asked():
            time.sleep(_POLL_S)
