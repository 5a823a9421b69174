"""Composites kept in memory."""

from __future__ import annotations

from livecomp.frame import Composite
from livecomp.output.check import check_composite

__all__ = ["MemorySink"]


class MemorySink:
    """Keeps every composite in `composites`; after `abort` there are none."""

    def __init__(self) -> None:
        self.composites: list[Composite] = []

    def open(self) -> None:
        """See `Sink.open`."""
        self.composites.clear()

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        check_composite(composite, self.composites[0].size_wh if self.composites else None)
        self.composites.append(composite)

    def close(self) -> None:
        """See `Sink.close`."""

    def abort(self) -> None:
        """See `Sink.abort`."""
        self.composites.clear()
