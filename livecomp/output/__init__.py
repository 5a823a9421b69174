"""Where composites go: a video file, a picture, a folder of pictures, memory."""

from __future__ import annotations

from typing import Protocol

from livecomp.frame import Composite

__all__ = ["Sink"]


class Sink(Protocol):
    """Takes composites, and nothing else: a raw frame is refused by type and again at run time."""

    def open(self) -> None:
        """Acquire the file or device, under a temporary name where there is a final one.

        Raises:
            OutputError: It cannot be written there.
        """
        ...

    def write(self, composite: Composite) -> None:
        """Add one picture.

        Raises:
            ContractError: It is not a `Composite`, or its size changed.
            OutputError: It cannot be written, the disk is full for instance.
        """
        ...

    def close(self) -> None:
        """Finish and give the result its final name; harmless when repeated or after `abort`.

        Raises:
            OutputError: The rest cannot be written.
        """
        ...

    def abort(self) -> None:
        """Give up: remove what was written so far and leave an older file of the final name as it was."""
        ...
