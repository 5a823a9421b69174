"""Put the corrected person into the scene, once, at full size."""

from __future__ import annotations

from typing import Protocol

from livecomp.correction import Correction
from livecomp.frame import Composite, Frame, U8Array

__all__ = ["Compositor"]


class Compositor(Protocol):
    """Blends a frame over a background."""

    def open(self) -> None:
        """Start threads and compile what would otherwise delay the first picture."""
        ...

    def compose(self, frame: Frame, background: U8Array, correction: Correction) -> Composite:
        """The picture that is shown.

        Args:
            frame: A frame with its alpha.
            background: (H, W, 3) uint8 sRGB, of the frame's size, read-only.
            correction: Applied to the person, never to the background.

        Raises:
            MatteError: The frame has no alpha.
            ContractError: The background has another size.
        """
        ...

    def close(self) -> None:
        """Release it; harmless when repeated."""
        ...
