"""What a call is made of in tests: a paced source, a sink that remembers, and waiting for something to happen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from livecomp.capture import SourceInfo
from livecomp.config import Config
from livecomp.errors import InputError, OutputError
from livecomp.frame import Composite, Frame, freeze
from tests.livecomp.fakes import CANARY, PERSON

WIDTH, HEIGHT = 96, 64


def live_config(**options: object) -> Config:
    """A small call at 50 frames a second, without a governor."""
    live = {"width": WIDTH, "height": HEIGHT, "fps": 50, "adapt": False, "fade_ms": 0, "harmonize_every": 1}
    return Config.from_options({"live": {**live, **options}})


def room(size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A person before a wall of the canary colour."""
    rgb = np.full((size_wh[1], size_wh[0], 3), CANARY, np.uint8)
    rgb[size_wh[1] // 4 :, size_wh[0] // 3 : 2 * size_wh[0] // 3] = PERSON
    return rgb


class PacedSource:
    """Frames of the canary room, 50 a second; what happens to it is scripted by its attributes.

    Attributes:
        unplugged: Reading and opening raise.
        silent: Reading raises after 0.1 s, as a camera that gives nothing does.
        size_wh: Of the frames from the next `open` on.
        interval_s: Between two frames.
    """

    def __init__(self) -> None:
        self.unplugged = False
        self.silent = False
        self.size_wh = (WIDTH, HEIGHT)
        self.interval_s = 0.02
        self.opened = 0
        self.is_open = False
        self._rgb = freeze(room())

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("paced", self.size_wh, Fraction(50), Fraction(1, 1_000_000_000))

    def look(self) -> None:
        if self.unplugged:
            raise InputError("the paced camera is away")

    def open(self) -> None:
        self.look()
        self.opened += 1
        self.is_open = True
        self._rgb = freeze(room(self.size_wh))

    def read(self) -> Frame | None:
        time.sleep(0.1 if self.silent else self.interval_s)
        if self.unplugged or self.silent:
            raise InputError("the paced camera gives nothing")
        return Frame(self._rgb, time.monotonic_ns())

    def close(self) -> None:
        self.is_open = False


class WatchedSink:
    """Remembers what it was given, with the time; `broken` makes it fail as a removed device does."""

    def __init__(self) -> None:
        self.broken = False
        self.opened = 0
        self.is_open = False
        self.written: list[tuple[float, Composite]] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        if self.broken:
            raise OutputError("the watched device is gone")
        self.opened += 1
        self.is_open = True

    def write(self, composite: Composite) -> None:
        if self.broken:
            raise OutputError("the watched device is gone")
        with self._lock:
            self.written.append((time.monotonic(), composite))

    def close(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False

    def since(self, moment: float, kind: str = "composite") -> list[Composite]:
        """What was written after a moment, of one kind."""
        with self._lock:
            return [composite for when, composite in self.written if when > moment and composite.kind == kind]

    def canary_pixels(self) -> int:
        """Pixels of the room in all that was written."""
        with self._lock:
            pictures = {id(composite.rgb): composite.rgb for _, composite in self.written}
        return sum(int((rgb == np.array(CANARY, np.uint8)).all(axis=2).sum()) for rgb in pictures.values())


def eventually(condition: Callable[[], bool], within_s: float = 3.0) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return condition()
