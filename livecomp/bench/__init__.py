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
        what: "pipeline", frames in memory as fast as they go; "live", a camera's pace and from capture to whoever
            watches; or the name of a recipe in `peers`, with frames in memory.
        compute: Where frames are processed: "auto", "cpu" or "gpu".
    """

    size_wh: tuple[int, int]
    segmenter: str = "both"
    harmonizer: str = "live"
    backend: str = "auto"
    harmonize_every: int = 1
    what: str = "pipeline"
    compute: str = "auto"

    @property
    def name(self) -> str:
        """One line for tables; equal for equal cases."""
        width, height = self.size_wh
        if self.what not in ("pipeline", "live"):
            return f"{width}x{height} {self.what}"
        every = "" if self.harmonize_every == 1 else f", every {self.harmonize_every}"
        live = "live, " if self.what == "live" else ""
        where = "" if self.compute == "auto" else f", {self.compute}"
        return f"{width}x{height} {live}{self.segmenter} + {self.harmonizer}{every}, {self.backend}{where}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found, after warm-up.

    Args:
        case: What was measured.
        frames: Number of frames.
        seconds: Wall time that they took.
        fps: Frames per second: of one pipeline, frames in memory, or as they reached whoever watches.
        cores: Processor time by wall time.
        peak_mib: Most resident memory of the process that measured it, frames in memory included.
        frame: Time of a whole frame; live, its age when whoever watches has read it.
        stages: Time of each stage.
        frame_ms: Time of each frame in order, at most the last 2,000.
        open_s: Time to load everything, from a warm cache.
        copy_ms: Median time of copying a frame and a background, in the same run; 0 when not measured.
        plain_ms: Median time of the compositor without a correction, in the same run; 0 when not measured.
        dropped: Live: frames that a newer one replaced before they were processed.
        note: What a reader has to know beside the numbers.
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
    copy_ms: float = 0.0
    plain_ms: float = 0.0
    dropped: int = 0
    note: str = ""

    @property
    def harmonizing(self) -> float | None:
        """Share of an average frame that predicting, steadying and applying corrections take; None when unknown."""
        if not self.plain_ms or self.case.what != "pipeline":
            return None
        means = {stage.stage: stage.mean_ms * stage.count / self.frames for stage in self.stages}
        medians = {stage.stage: stage.p50_ms for stage in self.stages}
        applied = max(0.0, medians.get("composite", 0.0) - self.plain_ms)
        predicted = sum(means.get(stage, 0.0) for stage in ("noise", "light", "harmonize", "smooth"))
        return (predicted + applied) / self.frame.mean_ms

    @property
    def copies(self) -> float | None:
        """Median time of the compositor, in copies of the frame and the background; None when unknown."""
        medians = [stage.p50_ms for stage in self.stages if stage.stage == "composite"]
        return medians[0] / self.copy_ms if medians and self.copy_ms else None


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
