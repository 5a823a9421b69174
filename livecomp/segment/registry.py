"""Matte models by name, and the segmenter that is built from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from livecomp.errors import ConfigError
from livecomp.segment import MatteFilter, MatteModel
from livecomp.segment.chroma import ChromaKey
from livecomp.segment.haze import HazeRemover
from livecomp.segment.mediapipe_tasks import MediaPipeMatte
from livecomp.segment.presence import PresenceFilter
from livecomp.segment.refine import GuidedRefiner
from livecomp.segment.rvm import RvmMatte
from livecomp.segment.segmenter import PersonSegmenter
from livecomp.segment.selfie import MeanMatte, SelfieMatte

__all__ = ["MATTE_MODELS", "MatteModelEntry", "MatteOptions", "make_segmenter"]


@dataclass(frozen=True, slots=True)
class MatteOptions:
    """What matte models may be told; each takes what concerns it.

    Args:
        backend: Name of an engine backend, or "auto"; for networks.
        threads: Upper bound on the threads each engine uses; for networks.
        model_file: A .tflite file; for `mediapipe`.
        key_rgb: Colour of the screen, 0..255 sRGB; for `chroma`.
        tolerance: As in `ChromaKey`.
        softness: As in `ChromaKey`.
    """

    backend: str = "auto"
    threads: int = 1
    model_file: Path | None = None
    key_rgb: tuple[int, int, int] = (0, 177, 64)
    tolerance: float = 0.18
    softness: float = 0.12


@dataclass(frozen=True, slots=True)
class MatteModelEntry:
    """How a matte model is made, and what its mattes need.

    Args:
        make: Its constructor.
        steady: Whether its mattes flicker and should be steadied over time.
        refine: Whether its mattes are small and should follow the edges of the picture.
        clear: Whether its mattes have haze that should be removed.
        can_stall: Whether the same matte for another picture says that it has stalled; a key may well give it.
        needs: What has to be installed first; empty for nothing.
    """

    make: Callable[[MatteOptions], MatteModel]
    steady: bool
    refine: bool
    clear: bool
    can_stall: bool = True
    needs: str = ""


MATTE_MODELS: dict[str, MatteModelEntry] = {
    "general": MatteModelEntry(
        lambda options: SelfieMatte("general", backend=options.backend, threads=options.threads),
        steady=True,
        refine=True,
        clear=True,
    ),
    "landscape": MatteModelEntry(
        lambda options: SelfieMatte("landscape", backend=options.backend, threads=options.threads),
        steady=True,
        refine=True,
        clear=True,
    ),
    "both": MatteModelEntry(
        lambda options: MeanMatte(backend=options.backend, threads=options.threads),
        steady=True,
        refine=True,
        clear=True,
    ),
    "rvm": MatteModelEntry(
        lambda options: RvmMatte(backend=options.backend, threads=options.threads),
        steady=False,
        refine=True,
        clear=False,
        needs="livecomp setup rvm",
    ),
    "mediapipe": MatteModelEntry(
        lambda options: MediaPipeMatte(options.model_file),
        steady=True,
        refine=True,
        clear=True,
        needs="the extra 'mediapipe' and a model file",
    ),
    "chroma": MatteModelEntry(
        lambda options: ChromaKey(key_rgb=options.key_rgb, tolerance=options.tolerance, softness=options.softness),
        steady=False,
        refine=False,
        clear=False,
        can_stall=False,
    ),
}
"""Name -> matte model."""


def make_segmenter(
    name: str,
    *,
    matte_filter: MatteFilter | None,
    refine: bool = True,
    clear: bool = True,
    presence: PresenceFilter | None = None,
    backend: str = "auto",
    threads: int = 1,
    model_file: Path | None = None,
    key_rgb: tuple[int, int, int] = (0, 177, 64),
    tolerance: float = 0.18,
    softness: float = 0.12,
) -> PersonSegmenter:
    """A segmenter, not yet open.

    Args:
        name: A name in `MATTE_MODELS`.
        matte_filter: Steadies the mattes of models that see single pictures; the others do without.
        refine: Whether small mattes follow the edges of the picture, or are upsampled plainly.
        clear: Whether half-transparent surroundings of the person are removed, where a model gives them.
        presence: With `clear`, leaves regions in which somebody is; None for all.
        backend: As in `MatteOptions`, and so are the following.
        threads: Upper bound on the threads each engine uses.
        model_file: A .tflite file for `mediapipe`.
        key_rgb: Colour of the screen for `chroma`.
        tolerance: Of `chroma`.
        softness: Of `chroma`.

    Raises:
        ConfigError: There is no such model, or an option does not suit it.
    """
    if name not in MATTE_MODELS:
        known = ", ".join(f"{key} (needs {entry.needs})" if entry.needs else key for key, entry in MATTE_MODELS.items())
        raise ConfigError(f"there is no segmentation model {name!r}; known are {known}")
    entry = MATTE_MODELS[name]
    model = entry.make(MatteOptions(backend, threads, model_file, key_rgb, tolerance, softness))
    return PersonSegmenter(
        model,
        matte_filter=matte_filter if entry.steady else None,
        refiner=GuidedRefiner() if refine and entry.refine else None,
        haze_remover=HazeRemover() if clear and entry.clear else None,
        presence=presence,
        can_stall=entry.can_stall,
    )
