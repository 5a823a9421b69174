"""Matte models by name, and the segmenter that is built from one."""

from __future__ import annotations

from collections.abc import Callable

from livecomp.errors import ConfigError
from livecomp.segment import MatteFilter, MatteModel
from livecomp.segment.refine import GuidedRefiner
from livecomp.segment.segmenter import PersonSegmenter
from livecomp.segment.selfie import MeanMatte, SelfieMatte

__all__ = ["MATTE_MODELS", "make_segmenter"]

MATTE_MODELS: dict[str, Callable[[str, int], MatteModel]] = {
    "general": lambda backend, threads: SelfieMatte("general", backend=backend, threads=threads),
    "landscape": lambda backend, threads: SelfieMatte("landscape", backend=backend, threads=threads),
    "both": lambda backend, threads: MeanMatte(backend=backend, threads=threads),
}
"""Name -> constructor, given an engine backend and a number of threads."""


def make_segmenter(
    name: str,
    *,
    matte_filter: MatteFilter | None,
    refine: bool = True,
    backend: str = "auto",
    threads: int = 1,
) -> PersonSegmenter:
    """A segmenter, not yet open.

    Args:
        name: A name in `MATTE_MODELS`.
        matte_filter: Steadies the mattes of models that see single pictures; not used for the others.
        refine: Whether small mattes follow the edges of the picture, or are upsampled plainly.
        backend: Name of an engine backend, or "auto".
        threads: Upper bound on the threads each engine uses.

    Raises:
        ConfigError: There is no such model.
    """
    if name not in MATTE_MODELS:
        raise ConfigError(f"there is no segmentation model {name!r}; known are {', '.join(MATTE_MODELS)}")
    model = MATTE_MODELS[name](backend, threads)
    return PersonSegmenter(model, matte_filter=matte_filter, refiner=GuidedRefiner() if refine else None)
