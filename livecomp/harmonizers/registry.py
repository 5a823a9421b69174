"""Harmonizers by name."""

from __future__ import annotations

from collections.abc import Callable

from livecomp.errors import ConfigError
from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.identity import IdentityHarmonizer
from livecomp.harmonizers.mkl import MklHarmonizer
from livecomp.harmonizers.network import NetworkHarmonizer
from livecomp.harmonizers.reinhard import ReinhardHarmonizer
from livecomp.models import model_path

__all__ = ["HARMONIZERS", "make_harmonizer"]

HARMONIZERS: dict[str, Callable[[str, int], Harmonizer]] = {
    "live": lambda backend, threads: NetworkHarmonizer(lambda: model_path("live"), backend=backend, threads=threads),
    "mkl": lambda backend, threads: MklHarmonizer(),
    "reinhard": lambda backend, threads: ReinhardHarmonizer(),
    "identity": lambda backend, threads: IdentityHarmonizer(),
}
"""Name -> constructor, given an engine backend and a number of threads."""


def make_harmonizer(name: str, *, backend: str = "auto", threads: int = 1) -> Harmonizer:
    """A harmonizer, not yet open.

    Args:
        name: A name in `HARMONIZERS`.
        backend: Name of an engine backend, or "auto".
        threads: Upper bound on the threads that an engine uses.

    Raises:
        ConfigError: There is no such harmonizer.
    """
    if name not in HARMONIZERS:
        raise ConfigError(f"there is no harmonizer {name!r}; known are {', '.join(HARMONIZERS)}")
    return HARMONIZERS[name](backend, threads)
