"""Smoothers by name."""

from __future__ import annotations

from collections.abc import Callable

from livecomp.errors import ConfigError
from livecomp.smooth import Smoother
from livecomp.smooth.filters import ExponentialSmoother, NoSmoother, OneEuroSmoother
from livecomp.smooth.steady import SteadySmoother

__all__ = ["SMOOTHERS", "make_smoother"]

SMOOTHERS: dict[str, Callable[[], Smoother]] = {
    "steady": SteadySmoother,
    "one_euro": OneEuroSmoother,
    "exponential": ExponentialSmoother,
    "none": NoSmoother,
}
"""Name -> constructor with default settings."""


def make_smoother(name: str) -> Smoother:
    """A smoother with its default settings.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in SMOOTHERS:
        raise ConfigError(f"there is no filter {name!r}; known are {', '.join(SMOOTHERS)}")
    return SMOOTHERS[name]()
