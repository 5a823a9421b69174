"""Every option of the pipeline, with its bounds and unit, and the builder that turns options into stages.

Configuration stops here: stages get plain arguments.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from livecomp.background import Background, BlurBackground, Fit, open_background
from livecomp.composite import Compositor
from livecomp.composite.fused import FusedCompositor
from livecomp.composite.placement import AS_FILMED, Placement
from livecomp.errors import ConfigError, DependencyError
from livecomp.gpu.choice import GPU_BACKENDS, find_backend, make_whole_frame, obstacle
from livecomp.gpu.whole import WholeFrame, WholeOptions
from livecomp.harmonizers import Harmonizer
from livecomp.harmonizers.registry import make_harmonizer
from livecomp.segment import Segmenter
from livecomp.segment.presence import PresenceFilter
from livecomp.segment.registry import make_segmenter
from livecomp.smooth import Smoother
from livecomp.smooth.matte import MotionAdaptiveFilter
from livecomp.smooth.noise import NoiseFilter
from livecomp.smooth.registry import make_smoother

__all__ = ["Compute", "Config", "OnMiss", "Stages", "X264Preset"]

OnMiss = Literal["stop", "slate"]
Compute = Literal["auto", "cpu", "gpu"]
X264Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]

log = logging.getLogger(__name__)

HEX_COLOR = r"^#[0-9a-fA-F]{6}$"
Unit = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Stages:
    """One implementation of each stage, not yet open.

    Args:
        segmenter: Cuts the person out.
        background: Gives the scene.
        harmonizer: Predicts the correction.
        smoother: Steadies it.
        compositor: Puts the person into the scene.
        whole: Does what segmenter, harmonizer and compositor do at once, on a GPU; these take over should it fail.
        noise: Takes from frames, before anything else, the noise that the correction makes stronger; None to leave it.
        placement: Where the person stands in the scene, and how large; as filmed where `whole` is there.
    """

    segmenter: Segmenter
    background: Background
    harmonizer: Harmonizer
    smoother: Smoother
    compositor: Compositor
    whole: WholeFrame | None = None
    noise: NoiseFilter | None = None
    placement: Placement = AS_FILMED


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SegmentConfig(_Section):
    """Cutting the person out."""

    model: str = Field("both", description="Matte model: general, landscape, both, rvm, mediapipe or chroma.")
    refine: bool = Field(True, description="Fit the matte to the picture's edges.")
    clear: bool = Field(True, description="Take away half-transparent furniture beside the person.")
    people_only: bool = Field(
        True, description="Calls, with clear: hide what neither has a face nor moves, such as a bed."
    )
    steady: Unit = Field(0.6, description="Weight of the past in a still pixel of the matte at 30 frames/s, 0..1.")
    threads: int = Field(1, ge=1, le=64, description="Threads of the matte model.")
    backend: str = Field("auto", description="What runs the networks: auto, onnxruntime, openvino, ...")
    model_file: Path | None = Field(None, description="Network of the model mediapipe, a .tflite file of yours.")
    key_color: str = Field("#00b140", pattern=HEX_COLOR, description="Colour of the screen for chroma, '#rrggbb'.")
    key_tolerance: Unit = Field(0.18, description="Distance from the key colour that is still screen, 0..1.")
    key_softness: Unit = Field(0.12, description="Width of the soft edge beyond that, 0..1.")


class BackgroundConfig(_Section):
    """The scene."""

    source: str = Field("demo", description="A picture, a video, '#rrggbb' or a colour's name, blur, or demo.")
    fit: Fit = Field("cover", description="How a picture of another shape fills the frame.")
    defocus: Unit = Field(0.0, description="How far a picture or a video is out of focus, as behind a person, 0..1.")


class PersonConfig(_Section):
    """Where the person stands in the scene; blur leaves them where they were filmed."""

    size: float = Field(1.0, ge=0.1, le=4, description="How large the person is, 1 as filmed.")
    right: float = Field(0.0, ge=-1, le=1, description="How far to the right, in widths of the picture, -1..1.")
    down: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="How far lower, in heights of the picture, -1..1; the camera's lower edge is never lifted into "
        "sight.",
    )


class HarmonizeConfig(_Section):
    """Predicting the correction."""

    model: str = Field(
        "live", description="Harmonizer: live (the network), an .onnx file of yours, mkl, reinhard or identity."
    )
    threads: int = Field(1, ge=1, le=64, description="Threads of the network.")
    backend: str = Field("auto", description="What runs the network: auto, onnxruntime, openvino, ...")


class SmoothConfig(_Section):
    """Steadying the correction."""

    filter: str = Field("steady", description="Filter over time: steady, one_euro, exponential or none.")
    look_ahead_s: float = Field(
        2.5,
        ge=0,
        le=10,
        description="Videos: steady looks so many seconds back and ahead; 0 as in a call.",
    )
    noise: float = Field(
        0.6,
        ge=0,
        le=0.9,
        description="Weight of the past in a still pixel where the correction raises the camera's noise, 0..0.9; 0 for "
        "none.",
    )


class CompositeConfig(_Section):
    """Putting the person into the scene."""

    color_strength: Unit = Field(1.0, description="How much of matrix and curves is applied, 0..1.")
    shading_strength: Unit = Field(1.0, description="How much of the shading is applied, 0..1.")
    light_wrap: Unit = Field(0.25, description="How much of the scene's light bleeds over the person's edge, 0..1.")
    decontaminate: bool = Field(True, description="Take the room's colour out of the person's edge.")
    linear_light: bool = Field(False, description="Blend the edge in linear light.")
    threads: int = Field(2, ge=1, le=64, description="Threads of the compositor.")


class OutputConfig(_Section):
    """Writing the result."""

    audio: bool = Field(True, description="Copy sound, subtitles, chapters and metadata.")
    quality: int = Field(18, ge=0, le=51, description="Constant rate factor: lower is better and larger.")
    preset: X264Preset = Field("superfast", description="Effort of the H.264 encoder, by x264's names.")


class LiveConfig(_Section):
    """A call: camera in, virtual camera out."""

    camera: str = Field("auto", description="Number, path, name or stable id of a camera; auto takes the first.")
    device: str = Field(
        "auto",
        description="Path or label of the virtual camera, or pipewire; auto takes the first free one and PipeWire's.",
    )
    width: int = Field(1280, ge=64, le=7680, multiple_of=2, description="Width of what the call sees, pixels.")
    height: int = Field(720, ge=64, le=4320, multiple_of=2, description="Height of what the call sees, pixels.")
    fps: float = Field(30, ge=1, le=120, description="Frames per second.")
    harmonize_every: int = Field(6, ge=1, le=30, description="Predict a correction for every n-th frame.")
    adapt: bool = Field(True, description="Lower the cost in steps while frames come too late.")
    budget_ms: float = Field(50, ge=5, le=1000, description="95 % of all frames shall leave this soon after capture.")
    stall_ms: int = Field(250, ge=50, le=5000, description="Show the slate when no fresh picture came for so long.")
    fade_ms: int = Field(
        500, ge=0, le=3000, description="A new background fades in over this time, but for blur, which is left at once."
    )
    slate: Path | None = Field(None, description="Picture to show in place of a frame that must not be shown.")
    ondemand: bool = Field(True, description="Camera and networks sleep while nobody watches the virtual camera.")


class Config(_Section):
    """All options; each has a default."""

    segment: SegmentConfig = Field(default_factory=SegmentConfig)
    background: BackgroundConfig = Field(default_factory=BackgroundConfig)
    person: PersonConfig = Field(default_factory=PersonConfig)
    harmonize: HarmonizeConfig = Field(default_factory=HarmonizeConfig)
    smooth: SmoothConfig = Field(default_factory=SmoothConfig)
    composite: CompositeConfig = Field(default_factory=CompositeConfig)
    output: OutputConfig = Field(default_factory=OutputConfig)
    live: LiveConfig = Field(default_factory=LiveConfig)
    on_miss: OnMiss = Field("stop", description="A frame without a valid matte stops the run, or becomes a slate.")
    compute: Compute = Field(
        "auto",
        description="Where frames are processed: gpu (NVIDIA, whole frames at once), cpu, or auto: a GPU if any.",
    )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The defaults with some options replaced.

        Args:
            options: By section, as in the class; an option that is None keeps its default.

        Raises:
            ConfigError: A key is unknown, or a value has the wrong type or is out of bounds; names the key.
        """
        try:
            return cls.model_validate(_without_none(options))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}, received {problem['input']!r}"
                for problem in error.errors()
            )
            raise ConfigError(problems) from error

    def build(self, background: str | Path | None = None, *, presence: PresenceFilter | None = None) -> Stages:
        """The stages that these options describe, none of them open.

        Args:
            background: What `open_background` takes, in place of `background.source`.
            presence: Used if `segment.people_only`; neither opened nor closed by the stages. None outside of calls.

        Raises:
            ConfigError: A name is unknown, or a GPU was asked for that cannot do what is asked.
        """
        source = self.background.source if background is None else background
        scene = open_background(source, self.background.fit, self.background.defocus)
        placement = AS_FILMED
        if not isinstance(scene, BlurBackground):
            placement = Placement(self.person.size, self.person.right, self.person.down)
        segment = self.segment
        presence = presence if segment.people_only else None
        red, green, blue = bytes.fromhex(segment.key_color.removeprefix("#"))
        return Stages(
            segmenter=make_segmenter(
                segment.model,
                matte_filter=MotionAdaptiveFilter(segment.steady) if segment.steady else None,
                refine=segment.refine,
                clear=segment.clear,
                presence=presence,
                backend=segment.backend,
                threads=segment.threads,
                model_file=segment.model_file,
                key_rgb=(red, green, blue),
                tolerance=segment.key_tolerance,
                softness=segment.key_softness,
            ),
            background=scene,
            harmonizer=make_harmonizer(
                self.harmonize.model, backend=self.harmonize.backend, threads=self.harmonize.threads
            ),
            smoother=make_smoother(self.smooth.filter),
            compositor=FusedCompositor(
                color_strength=self.composite.color_strength,
                shading_strength=self.composite.shading_strength,
                light_wrap=self.composite.light_wrap,
                decontaminate=self.composite.decontaminate,
                linear_light=self.composite.linear_light,
                threads=self.composite.threads,
            ),
            whole=self._whole_frame(str(source), placement, presence),
            noise=self._noise_filter(),
            placement=placement,
        )

    def _noise_filter(self) -> NoiseFilter | None:
        composite = self.composite
        if not self.smooth.noise:
            return None
        return NoiseFilter(
            self.smooth.noise,
            color_strength=composite.color_strength,
            shading_strength=composite.shading_strength,
        )

    def _whole_frame(self, background: str, placement: Placement, presence: PresenceFilter | None) -> WholeFrame | None:
        """Whole frames on a GPU, where that is wanted and can be had; None for the stages of the CPU."""
        segment, composite = self.segment, self.composite
        if self.compute == "cpu":
            return None
        required = self.compute == "gpu"
        against = obstacle(matte_model=segment.model, background=background, placement=placement)
        if against and required:
            raise ConfigError(f"{against}; choose another, or compute = 'cpu'")
        if against or not (required or _may_use_gpu(segment.backend)):
            return None
        return make_whole_frame(
            WholeOptions(
                matte_model=segment.model,
                refine=segment.refine,
                clear=segment.clear,
                steady=segment.steady,
                color_strength=composite.color_strength,
                shading_strength=composite.shading_strength,
                light_wrap=composite.light_wrap,
                decontaminate=composite.decontaminate,
                linear_light=composite.linear_light,
            ),
            backend=segment.backend,
            harmonizer=self.harmonize.model,
            make_harmonizer=lambda: make_harmonizer(self.harmonize.model, threads=self.harmonize.threads),
            presence=presence,
            required=required,
        )


def _may_use_gpu(backend: str) -> bool:
    """Whether "auto" means a GPU here: there is one, and no backend of the CPU was asked for."""
    if backend in GPU_BACKENDS:
        return True
    if backend != "auto":
        return False
    try:
        find_backend()
    except DependencyError as error:
        log.debug("frames are processed on the CPU: %s", error)
        return False
    return True


def _without_none(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in options.items()
        if value is not None
    }
