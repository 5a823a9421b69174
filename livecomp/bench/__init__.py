"""How long everything takes: stages, whole frames, and the way from the camera to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, field

from livecomp.stats import StageSummary

__all__ = ["SCHEMA", "Case", "Measurement", "Report"]

SCHEMA = 1
"""Version of the JSON files."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured.

    Args:
        size_wh: Width and height of the frames, pixels.
        segmenter: Name of the matte model.
        harmonizer: Name of the harmonizer.
        backend: What runs the networks, as `--backend` takes it.
        harmonize_every: A correction is predicted for every n-th frame.
    """

    size_wh: tuple[int, int]
    segmenter: str = "both"
    harmonizer: str = "live"
    backend: str = "auto"
    harmonize_every: int = 1

    @property
    def name(self) -> str:
        """One line for tables; equal for equal cases."""
        width, height = self.size_wh
        every = "" if self.harmonize_every == 1 else f", every {self.harmonize_every}"
        return f"{width}x{height} {self.segmenter} + {self.harmonizer}{every}, {self.backend}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found, after warm-up.

    Args:
        case: What was measured.
        frames: Number of frames.
        seconds: Wall time that they took.
        fps: Frames per second of one pipeline, frames in memory.
        cores: Processor time by wall time.
        peak_mib: Most resident memory of the process that measured it, frames in memory included.
        frame: Time of a whole frame.
        stages: Time of each stage.
        frame_ms: Time of each frame in order, at most the last 2,000.
        open_s: Time to load everything, from a warm cache.
    """

    case: Case
    frames: int
    seconds: float
    fps: float
    cores: float
    peak_mib: float
    frame: StageSummary
    stages: list[StageSummary]
    frame_ms: list[float] = field(default_factory=list)
    open_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run.

    Args:
        machine: Facts by name: processor, versions, commit, load before and after.
        measurements: One for each case.
        schema: See `SCHEMA`.
    """

    machine: dict[str, str]
    measurements: list[Measurement]
    schema: int = SCHEMA
