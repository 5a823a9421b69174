"""Harmonizers by name, or by the file of a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from livecomp.errors import ConfigError, ModelError
from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.identity import IdentityHarmonizer
from livecomp.harmonizers.mkl import MklHarmonizer
from livecomp.harmonizers.network import NetworkHarmonizer
from livecomp.harmonizers.reinhard import ReinhardHarmonizer
from livecomp.models import model_path
from livecomp.paths import is_file

__all__ = ["HARMONIZERS", "is_network_file", "make_harmonizer"]

HARMONIZERS: dict[str, Callable[[str, int], Harmonizer]] = {
    "live": lambda backend, threads: NetworkHarmonizer(lambda: model_path("live"), backend=backend, threads=threads),
    "mkl": lambda backend, threads: MklHarmonizer(),
    "reinhard": lambda backend, threads: ReinhardHarmonizer(),
    "identity": lambda backend, threads: IdentityHarmonizer(),
}
"""Name -> constructor, given an engine backend and a number of threads."""


def is_network_file(name: str) -> bool:
    """Whether a harmonizer's name is the path of a network that the user has."""
    return name.lower().endswith(".onnx")


def make_harmonizer(name: str, *, backend: str = "auto", threads: int = 1) -> Harmonizer:
    """A harmonizer, not yet open.

    Args:
        name: A name in `HARMONIZERS`, or the path of an .onnx file as `NetworkHarmonizer` takes it.
        backend: Name of an engine backend, or "auto".
        threads: Upper bound on the threads that an engine uses.

    Raises:
        ConfigError: There is no such harmonizer.
    """
    if is_network_file(name):
        return NetworkHarmonizer(lambda: _present(Path(name)), name=name, backend=backend, threads=threads)
    if name not in HARMONIZERS:
        known = ", ".join(HARMONIZERS)
        raise ConfigError(f"there is no harmonizer {name!r}; known are {known}, and the path of an .onnx file")
    return HARMONIZERS[name](backend, threads)


def _present(path: Path) -> Path:
    if not is_file(path):
        raise ModelError(f"expected a harmonizing network at {path}, found no file")
    return path
