"""Small stages with known behaviour, for tests of what joins them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from livecomp.capture import SourceInfo
from livecomp.config import Stages
from livecomp.correction import Correction
from livecomp.errors import OutputError
from livecomp.frame import Composite, Frame, U8Array, freeze

SIZE_WH = (48, 32)
CANARY = (255, 0, 255)
PERSON = (90, 140, 60)
SCENE = (20, 30, 200)


def person_alpha() -> U8Array:
    """A hard-edged person in the middle."""
    alpha = np.zeros((SIZE_WH[1], SIZE_WH[0]), np.uint8)
    alpha[8:32, 16:32] = 255
    return alpha


def room_frame(index: int) -> Frame:
    """A person before a wall of the canary colour; the frame's number is in its person's red channel."""
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), CANARY, np.uint8)
    rgb[person_alpha() > 0] = PERSON
    rgb[20:30, 20:30, 0] = index
    return Frame(freeze(rgb), index * 40_000_000)


class FakeSource:
    """`count` frames; raises `error` in place of frame `fail_at`."""

    def __init__(self, count: int = 10, fail_at: int | None = None, error: Exception | None = None) -> None:
        self._count, self._fail_at, self._error = count, fail_at, error
        self._next = 0
        self.closed = 0

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("fake", SIZE_WH, Fraction(25), Fraction(1, 25), self._count)

    def open(self) -> None:
        self._next = 0

    def read(self) -> Frame | None:
        index = self._next
        if index == self._fail_at and self._error is not None:
            raise self._error
        if index >= self._count:
            return None
        self._next += 1
        return room_frame(index)

    def close(self) -> None:
        self.closed += 1


class FakeSegmenter:
    """Gives the true alpha, or whatever `fault` makes of the frame."""

    def __init__(self, fault: Callable[[Frame], Frame] | None = None) -> None:
        self._fault = fault
        self.resets = 0
        self.closed = 0

    def open(self) -> None:
        pass

    def segment(self, frame: Frame) -> Frame:
        return self._fault(frame) if self._fault else frame.with_alpha(person_alpha())

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed += 1


class FakeBackground:
    is_moving = False
    name = "fake"

    def __init__(self) -> None:
        self.closed = 0

    def open(self) -> None:
        pass

    def render(self, frame: Frame) -> U8Array:
        return freeze(np.full_like(frame.rgb, SCENE))

    def close(self) -> None:
        self.closed += 1


class FakeHarmonizer:
    name = "fake"
    input_size = 16

    def __init__(self) -> None:
        self.closed = 0
        self.predictions = 0

    def open(self) -> None:
        pass

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        self.predictions += 1
        return Correction.identity()

    def close(self) -> None:
        self.closed += 1


class FakeSmoother:
    def __init__(self) -> None:
        self.resets = 0
        self.steps = 0

    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        return correction

    def notice_step(self) -> None:
        self.steps += 1

    def reset(self) -> None:
        self.resets += 1


class FakeCompositor:
    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def compose(self, frame: Frame, background: U8Array, correction: Correction) -> Composite:
        alpha = frame.require_alpha()[..., None] > 127
        return Composite(freeze(np.where(alpha, frame.rgb, background)), frame.pts_ns)


class FakeSink:
    """Keeps what it is given; raises `OutputError` in place of picture `fail_at`."""

    def __init__(self, fail_at: int | None = None) -> None:
        self._fail_at = fail_at
        self.written: list[Composite] = []
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")

    def write(self, composite: Composite) -> None:
        if len(self.written) == self._fail_at:
            raise OutputError("no space left on the fake device")
        self.written.append(composite)

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")


def fake_stages(**replaced: object) -> Stages:
    """All fakes, but for those given by name."""
    stages: dict[str, object] = {
        "segmenter": FakeSegmenter(),
        "background": FakeBackground(),
        "harmonizer": FakeHarmonizer(),
        "smoother": FakeSmoother(),
        "compositor": FakeCompositor(),
        **replaced,
    }
    return Stages(**stages)  # type: ignore[arg-type]
