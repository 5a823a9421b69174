"""Write text that appears complete or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from livecomp.media.image import partial_path
from livecomp.paths import exists, followed, is_file

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, which replaces an older one only once it is complete.

    What is no file, such as a pipe, is written to as it is; where a link leads, the file is written.

    Raises:
        OSError: It cannot be written; an older file is left as it was.
    """
    target = followed(path)
    if exists(target) and not is_file(target):
        target.write_text(text, "utf-8")
        return
    partial = partial_path(target)
    try:
        partial.write_text(text, "utf-8")
        partial.replace(target)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
