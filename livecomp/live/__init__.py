"""The live loop: newest frame wins, nothing of the room ever shows, and everything can change while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from livecomp.config import Config
from livecomp.errors import ConfigError
from livecomp.stats import StageSummary

__all__ = ["Action", "BusyError", "LiveStatus", "Session"]

Action = Literal["resume", "freeze", "slate", "pause"]
"""What a user may ask for: go on; hold the last composite; show the slate; show the slate and release the camera."""


class BusyError(ConfigError):
    """Nothing was changed, since a frame takes too long; the same may be asked for again."""


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """What a running session says of itself.

    Args:
        state: "starting", "live", "stalled", "sleeping" (nobody watches), "no camera", or "frozen", "slate", "paused"
            as the user asked; "stopped" at the end.
        detail: What is wrong or waited for, one sentence; empty when all is well.
        camera: Name of the camera.
        device: Name of the virtual camera.
        size_wh: Width and height of what the call sees.
        fps: Composites shown per second, over the last seconds.
        latency_ms: Median and 95th percentile from capture to write, over the last seconds; zeros before the first.
        captured: Frames that the camera gave.
        shown: Composites that were written.
        dropped: Frames that a newer one replaced before they were processed.
        slates: Slates that were written.
        missed: Frames without a valid matte.
        step: Name of the step at which the governor holds the cost.
        stages: Time of each stage since the start.
    """

    state: str
    detail: str
    camera: str
    device: str
    size_wh: tuple[int, int]
    fps: float
    latency_ms: tuple[float, float]
    captured: int
    shown: int
    dropped: int
    slates: int
    missed: int
    step: str
    stages: list[StageSummary]


class Session(Protocol):
    """A running call, as those who steer it see it. All methods may be called from any thread."""

    @property
    def config(self) -> Config:
        """The options that are in effect."""
        ...

    def apply(self, config: Config) -> None:
        """Change options while frames go on: new stages are opened first, then put in between two frames.

        Raises:
            LiveCompError: Something of it cannot be had, or a `BusyError`; everything stays as it was.
        """
        ...

    def act(self, action: Action) -> None:
        """Freeze, slate, pause or resume, from the next picture on."""
        ...

    def status(self) -> LiveStatus:
        """A snapshot."""
        ...
