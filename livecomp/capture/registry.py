"""Pick the source that a user named."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from livecomp.capture import LiveSource, Source
from livecomp.capture.camera import CameraSource
from livecomp.capture.demo import DemoSource
from livecomp.capture.looped import LoopedSource
from livecomp.capture.still import StillSource
from livecomp.capture.synthetic import SyntheticSource
from livecomp.capture.video import VideoSource
from livecomp.errors import InputError
from livecomp.media.image import READ_SUFFIXES
from livecomp.paths import exists, is_dir, is_file

__all__ = ["BUILT_IN_SOURCES", "open_camera", "open_source"]

BUILT_IN_SOURCES: dict[str, Callable[[], Source]] = {"demo": DemoSource, "synthetic": SyntheticSource}
"""Sources that need no file, by name."""


def open_source(spec: str | Path) -> Source:
    """The source for a name or path, not yet open.

    Args:
        spec: A name in `BUILT_IN_SOURCES`, a picture or a video. A file of that name in the current folder comes first.

    Raises:
        InputError: There is nothing of that name.
    """
    path = Path(spec)
    if not exists(path) and str(spec) in BUILT_IN_SOURCES:
        return BUILT_IN_SOURCES[str(spec)]()
    if not exists(path):
        built_in = " or ".join(repr(name) for name in sorted(BUILT_IN_SOURCES))
        raise InputError(
            f"there is no file {path} that you may read; expected a video, a picture, a folder of pictures, {built_in}"
        )
    return StillSource(path) if path.suffix.lower() in READ_SUFFIXES else VideoSource(path)


def open_camera(spec: str, *, size_wh: tuple[int, int], fps: Fraction | int, root: Path = Path("/")) -> LiveSource:
    """The source of a call, not yet open: a camera, or what plays in its place, again and again in real time.

    Args:
        spec: "auto", number, path, stable id or name of a camera; or a video, a picture or a name in
            `BUILT_IN_SOURCES`.
        size_wh: Width and height in pixels to ask the camera for.
        fps: Rate in 1/s to ask it for.
        root: Where dev, sys and proc are.

    Raises:
        InputError: A file cannot be taken; a camera says so when it is opened.
    """
    path = Path(spec)
    if is_dir(path):
        raise InputError(f"{path} is a folder; expected a camera, a video, a picture, {' or '.join(BUILT_IN_SOURCES)}")
    if spec in BUILT_IN_SOURCES or is_file(path):
        return LoopedSource(open_source(spec), fps=float(fps))
    return CameraSource(spec, size_wh=size_wh, fps=fps, root=root)
