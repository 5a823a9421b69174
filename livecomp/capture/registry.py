"""Pick the source that a user named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from livecomp.capture import Source
from livecomp.capture.demo import DemoSource
from livecomp.capture.still import StillSource
from livecomp.capture.synthetic import SyntheticSource
from livecomp.capture.video import VideoSource
from livecomp.errors import InputError
from livecomp.media.image import IMAGE_SUFFIXES

__all__ = ["BUILT_IN_SOURCES", "open_source"]

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
    if not path.exists() and str(spec) in BUILT_IN_SOURCES:
        return BUILT_IN_SOURCES[str(spec)]()
    if not path.exists():
        built_in = " or ".join(repr(name) for name in sorted(BUILT_IN_SOURCES))
        raise InputError(f"there is no file {path}; expected a video, a picture, a folder of pictures, {built_in}")
    return StillSource(path) if path.suffix.lower() in IMAGE_SUFFIXES else VideoSource(path)
