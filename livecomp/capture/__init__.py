"""Where frames come from: cameras, video files, pictures, folders, the built-in demo, a synthetic test source.

Every source is a `Source`; `registry` picks one for what the user named.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from livecomp.frame import Frame

__all__ = ["LiveSource", "Source", "SourceInfo"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known about a source once it is open.

    Args:
        name: What to call it in messages, usually the path.
        size_wh: Width and height of every frame in pixels, after rotation.
        fps: Nominal frames per second; frames carry their own time, which may vary.
        time_base: The unit of the source's own timestamps in seconds; a sink that uses it keeps them exactly.
        frame_count: Number of frames, as far as the container says; None when unknown or endless.
        is_still: One picture, to be written as one picture.
        path: The file it comes from, whose sound and metadata a sink may copy; None when there is no such file.
        sample_aspect_ratio: Width to height of a pixel, 1 for square ones.
    """

    name: str
    size_wh: tuple[int, int]
    fps: Fraction
    time_base: Fraction
    frame_count: int | None = None
    is_still: bool = False
    path: Path | None = None
    sample_aspect_ratio: Fraction = Fraction(1)


class Source(Protocol):
    """Gives frames one after the other. Constructors only store; `open` acquires and `close` may be called twice."""

    @property
    def info(self) -> SourceInfo:
        """Facts about the source; valid while it is open."""
        ...

    def open(self) -> None:
        """Acquire the file or device.

        Raises:
            InputError: It is missing, empty, damaged or of an unsupported kind.
        """
        ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end.

        Raises:
            InputError: The rest cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        ...


class LiveSource(Source, Protocol):
    """The source of a call: frames carry monotonic time and never end, and it may be opened again and again."""

    def look(self) -> None:
        """See whether it could be opened, without switching a camera on.

        Raises:
            InputError: It could not, as far as that can be seen.
        """
        ...
