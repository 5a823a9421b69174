"""Predict how the person must change to look as if they stood in the scene; never touch a pixel of the output."""

from __future__ import annotations

from typing import Protocol

from livecomp.correction import Correction
from livecomp.frame import U8Array

__all__ = ["Harmonizer"]


class Harmonizer(Protocol):
    """Looks at a small composite and says what to correct."""

    @property
    def name(self) -> str:
        """The name it has in the registry, or its path."""
        ...

    @property
    def input_size(self) -> int:
        """Side in pixels of the square composite it wants."""
        ...

    def open(self) -> None:
        """Load it.

        Raises:
            ModelError: A network is damaged or cannot be run here.
        """
        ...

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        """The correction that makes the person fit.

        Args:
            composite: (S, S, 3) uint8 sRGB, the uncorrected person over the scene, any aspect squashed to a square.
            alpha: (S, S) uint8, 255 = person.

        Returns:
            The correction; identity when there is nobody, or nothing but the person.

        Raises:
            ModelError: A network failed to run or gave values that are not finite.
        """
        ...

    def close(self) -> None:
        """Release it; harmless when repeated."""
        ...
