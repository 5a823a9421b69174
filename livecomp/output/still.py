"""One picture as a file."""

from __future__ import annotations

from pathlib import Path

from livecomp.errors import ContractError, OutputError
from livecomp.frame import Composite, U8Array
from livecomp.media.image import IMAGE_SUFFIXES, write_image
from livecomp.output.check import check_composite
from livecomp.paths import is_dir

__all__ = ["StillSink"]


class StillSink:
    """Writes the one picture it is given, when it is closed.

    Args:
        path: The file; its suffix says the format.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._rgb: U8Array | None = None
        self._open = False

    def open(self) -> None:
        """See `Sink.open`."""
        if self._path.suffix.lower() not in IMAGE_SUFFIXES:
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            raise OutputError(f"{self._path}: expected a picture's suffix ({known})")
        if not is_dir(self._path.parent):
            raise OutputError(f"cannot write {self._path}: there is no folder {self._path.parent}")
        self._rgb = None
        self._open = True

    def write(self, composite: Composite) -> None:
        """See `Sink.write`; a second picture is a `ContractError`."""
        check_composite(composite, None)
        if self._rgb is not None:
            raise ContractError(f"{self._path} holds one picture, received a second")
        self._rgb = composite.rgb

    def close(self) -> None:
        """See `Sink.close`."""
        if not self._open:
            return
        self._open = False
        if self._rgb is None:
            raise OutputError(f"nothing was written to {self._path}: there was no picture")
        write_image(self._path, self._rgb)

    def abort(self) -> None:
        """See `Sink.abort`."""
        self._open = False
        self._rgb = None
