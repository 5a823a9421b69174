"""What differs between the releases of PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

import av

__all__ = ["KEEP_METADATA", "fraction_of"]

_RELEASE = int(av.__version__.split(".")[0])

KEEP_METADATA: dict[str, Any] = {"metadata_errors": "surrogateescape"} if _RELEASE < 19 else {}
"""Options of `av.open` by which metadata that is not UTF-8, such as titles in Latin-1, keeps its bytes.

From release 19 on that is always so, and there is no such option.
"""


class _Ratio(Protocol):
    @property
    def numerator(self) -> int: ...

    @property
    def denominator(self) -> int: ...


def fraction_of(ratio: _Ratio) -> Fraction:
    """A rate, an aspect or a unit of time as an exact number; from release 19 on they are of a type of PyAV's own."""
    return Fraction(ratio.numerator, ratio.denominator)
