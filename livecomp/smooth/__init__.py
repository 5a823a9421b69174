"""Steady over time: filters on the parameters of the Correction and on small mattes."""

from __future__ import annotations

from typing import Protocol

from livecomp.correction import Correction

__all__ = ["Smoother"]


class Smoother(Protocol):
    """Filters Corrections over time; knows seconds, not frame counts."""

    def update(self, correction: Correction, pts_ns: int) -> Correction:
        """The steadied correction.

        Args:
            correction: The raw prediction for the frame at `pts_ns`.
            pts_ns: Time of that frame in nanoseconds; later than at the call before.
        """
        ...

    def reset(self) -> None:
        """Take the next correction as it is: a cut, or another background."""
        ...
