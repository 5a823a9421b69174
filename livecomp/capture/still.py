"""One picture as a source of one frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from livecomp.capture import SourceInfo
from livecomp.errors import InputError
from livecomp.frame import Frame, U8Array
from livecomp.media.image import read_image

__all__ = ["StillSource"]


class StillSource:
    """One picture.

    Args:
        path: A file that `read_image` can read.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._rgb: U8Array | None = None
        self._given = False

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`."""
        if self._rgb is None:
            raise InputError(f"{self._path} is not open")
        height, width = self._rgb.shape[:2]
        return SourceInfo(str(self._path), (width, height), Fraction(1), Fraction(1), 1, is_still=True, path=self._path)

    def open(self) -> None:
        """See `Source.open`."""
        self._rgb = read_image(self._path)
        self._given = False

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._given or self._rgb is None:
            return None
        self._given = True
        return Frame(self._rgb, 0)

    def close(self) -> None:
        """See `Source.close`."""
        self._rgb = None
