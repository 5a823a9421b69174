"""Steady over time: filters on the parameters of the Correction, on small mattes, and on the noise of the picture."""

from __future__ import annotations

from typing import Protocol

from livecomp.correction import Correction
from livecomp.frame import U8Array

__all__ = ["Smoother"]


class Smoother(Protocol):
    """Filters Corrections over time; knows seconds, not frame counts."""

    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        """The steadied correction.

        Args:
            correction: The latest raw prediction. The very object of the call before counts as repeated, since nothing
                was predicted for this frame, and not as measured anew.
            pts_ns: Time of the frame in nanoseconds; later than at the call before.
            alpha: Its matte as filmed, (H, W) uint8, 255 = person: tells how the person moves, and whether there is
                one. None where that is not known: then a person is taken to sit still.
            magnified: How many times larger than filmed the person is shown, and so moves farther.
        """
        ...

    def notice_step(self) -> None:
        """Be told that the light changes with the next correction, which is a new prediction: to be followed fast."""
        ...

    def reset(self) -> None:
        """Take the next correction as it is: a cut, or another background."""
        ...
