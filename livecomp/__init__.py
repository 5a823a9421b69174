"""LiveComp puts a person into any scene and makes them look as if they were there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from livecomp.correction import Correction
from livecomp.frame import Composite, Frame

if TYPE_CHECKING:
    from livecomp.api import harmonize, process

__all__ = ["Composite", "Correction", "Frame", "__version__", "harmonize", "process"]

try:
    __version__ = version("livecomp")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type checker sees the imports above
    """Load the two entry points, and the networks' runtime with them, when they are first asked for (PEP 562)."""
    if name in ("harmonize", "process"):
        from livecomp import api

        return getattr(api, name)
    raise AttributeError(f"module 'livecomp' has no attribute {name!r}")
