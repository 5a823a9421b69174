"""Change nothing: a plain composite."""

from __future__ import annotations

from livecomp.correction import Correction
from livecomp.frame import U8Array

__all__ = ["IdentityHarmonizer"]


class IdentityHarmonizer:
    """Always answers with the identity."""

    name = "identity"
    input_size = 16

    def open(self) -> None:
        """See `Harmonizer.open`."""

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        """See `Harmonizer.predict`."""
        return Correction.identity()

    def close(self) -> None:
        """See `Harmonizer.close`."""
