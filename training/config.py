"""What a training run is told: one TOML file, checked before anything starts."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.models.live import DIVISOR, LiveSpec

__all__ = [
    "CONFIG_DIR",
    "DataConfig",
    "DualConfig",
    "LossConfig",
    "OptimizerConfig",
    "RunConfig",
    "StageConfig",
    "TaskConfig",
    "TrainConfig",
    "TrainConfigError",
    "load_config",
]

CONFIG_DIR = Path(__file__).parent / "configs"

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class TrainConfigError(ValueError):
    """A configuration file is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskConfig(_Section):
    """How often a task of `training.data.augment` occurs, and what varies in it."""

    share: Weight = Field(description="weight among the tasks")
    scene: Share = Field(default=0.0, description="share of pairs in which the scene is changed and not the person")
    swap: Share = Field(default=0.0, description="share of pairs with another scene behind the person")
    local: Share = Field(default=0.0, description="share of pairs with local light on top")


class DataConfig(_Section):
    """Pictures and pairs. Paths are below the folder given on the command line."""

    portraits: str = Field(default="portraits/train", description="photographs NAME.jpg with mattes NAME.png")
    scenes: tuple[str, ...] = Field(
        default=("backgrounds/houses", "backgrounds/scenes"), description="scenes without people"
    )
    lights: str = Field(default="illuminants/ccharmony_train.npz", description="measured lights")
    limit: int | None = Field(default=None, ge=1, description="use the first portraits only")
    size: int = Field(default=64, ge=32, multiple_of=16, description="side of the crops, pixels")
    crops: int = Field(default=5, ge=1, description="crops of each portrait")
    far_crops: int = Field(default=3, ge=0, description="crops with the person small, for other scenes")
    scene_crops: int = Field(default=12, ge=1, description="crops of each scene")
    neutral: Share = Field(default=0.0, description="share of the scenes' crops whose light is made neutral")
    samples: int = Field(default=384, ge=16, description="foreground pixels of each picture that the loss looks at")
    sharpness: float = Field(
        default=1.45, ge=0, description="factor of RandomAdjustSharpness at this size; 4 at 256 pixels"
    )
    world: Share = Field(default=0.3, description="share of photographs whose tone is varied first")
    wide: Share = Field(default=0.0, description="share of these whose tone is varied as far as that of night and fog")
    world_lights: Share = Field(default=0.0, description="share of photographs that are first put under another light")
    even_skin: Share = Field(default=0.0, description="share of people drawn evenly over the groups of skin tone")
    mild: Share = Field(default=0.0, description="share of lights and tones that differ as little as two rooms do")
    cleared: Share = Field(default=0.0, description="share over the own background in which nobody stands before it")
    noise: Share = Field(default=0.0, description="largest standard deviation of the camera's noise that live sees")
    masks: tuple[Weight, Weight, Weight, Weight, Weight, Weight] = Field(
        default=(0.25, 0.1, 0.4, 0.1, 0.08, 0.07), description="weights: matte, hard, grown, shrunk, shifted, blurred"
    )
    tasks: dict[Literal["jitter", "lights", "tone", "local", "same"], TaskConfig] = Field(description="by name")

    @model_validator(mode="after")
    def _draws(self) -> DataConfig:
        if not sum(self.masks) > 0:
            raise ValueError("masks: expected at least one weight above 0")
        if not sum(task.share for task in self.tasks.values()) > 0:
            raise ValueError("tasks: expected at least one with a share above 0")
        return self


class OptimizerConfig(_Section):
    """AdamW, or Lion (Chen et al. 2023), which the papers use."""

    name: Literal["adamw", "lion"] = "adamw"
    lr: float = Field(default=1.8e-3, gt=0, description="highest learning rate")
    betas: tuple[Share, Share] = (0.9, 0.98)
    weight_decay: float = Field(default=0.02, ge=0, description="of matrices and kernels; biases and norms have none")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    batch: int = Field(default=96, ge=2, description="pairs per process and step")
    warmup: int = Field(default=400, ge=0, description="steps from a small learning rate to the highest")
    decay: Share = Field(
        default=0.3, description="share of each stage, at its end, over which the learning rate falls to zero"
    )


class StageConfig(_Section):
    """A stretch of training; the paper's three stages are three of these."""

    name: str
    samples: int = Field(ge=1, description="pairs to see in this stage, all processes together")
    lr_scale: float = Field(default=1.0, gt=0, description="times the optimizer's learning rate")
    freeze: tuple[str, ...] = Field(default=(), description="prefixes of parameter names that are not trained")
    pfe: bool = Field(default=True, description="whether PHNet's PFE takes part")


class LossConfig(_Section):
    """Weights of the live model's loss, see `training.live_losses`."""

    l1: float = Field(default=1.0, ge=0)
    mse: float = Field(default=6.0, ge=0)
    moments: float = Field(default=0.5, ge=0)
    targets: float = Field(default=0.2, ge=0)
    skin: float = Field(default=0.05, ge=0)
    curve: float = Field(default=2e-4, ge=0)
    gain: float = Field(default=0.05, ge=0)
    gain_size: float = Field(default=0.01, ge=0)
    shift: float = Field(default=0.0, ge=0, description="of a mean change of chroma that misses the true one")
    steady: float = Field(default=0.0, ge=0, description="of what two frames of the same moment are corrected apart")


class DualConfig(_Section):
    """The second stream: real composites and a discriminator (PIH, arXiv 2303.00157, section 3.2)."""

    every: int = Field(default=2, ge=2, description="each this many steps is one of stream 2")
    batch: int = Field(
        default=32, ge=2, description="pairs per process in a step of stream 2, and per step of the critic"
    )
    lr: float = Field(default=4e-5, gt=0, description="of the discriminator, Adam")
    weight: float = Field(default=0.08, ge=0, description="of the adversarial term")
    width: int = Field(default=16, ge=8, description="channels of the discriminator at full size")
    warmup: int = Field(default=200, ge=0, description="steps that the discriminator trains alone")


class RunConfig(_Section):
    """How the run goes."""

    seed: int = 0
    threads: int = Field(default=1, ge=1, description="CPU threads of each process")
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    compile: bool = Field(default=False, description="torch.compile the network")
    ema: float = Field(default=0.999, ge=0, lt=1, description="decay of the averaged weights per step")
    checkpoint_minutes: float = Field(default=3.0, gt=0)
    validate_minutes: float = Field(default=4.0, gt=0)
    log_steps: int = Field(default=100, ge=1)


class TrainConfig(_Section):
    """A whole run."""

    model: Literal["live", "phnet_40m", "phnet_10m"]
    live: dict[str, bool | int | float] = Field(
        default_factory=dict, description="changes of `training.models.live.LiveSpec`"
    )
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    loss: LossConfig = LossConfig()
    dual: DualConfig | None = None
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.dual is not None and self.model != "live":
            raise ValueError(f"dual: only the live model has a second stream here, received model {self.model!r}")
        if self.live and self.model != "live":
            raise ValueError(f"live: expected model 'live' with it, received {self.model!r}")
        parts = [f.name for f in fields(LiveSpec)]
        if unknown := sorted(set(self.live) - set(parts)):
            raise ValueError(f"live: unknown {', '.join(unknown)}; known: {', '.join(parts)}")
        self.live_spec()
        if self.model == "live" and self.data.size % DIVISOR:
            raise ValueError(f"data.size: the live model needs a multiple of {DIVISOR}, received {self.data.size}")
        return self

    def live_spec(self) -> LiveSpec:
        """Sizes and parts of the live model.

        Raises:
            ValueError: They do not go together.
        """
        changes: dict[str, Any] = dict(self.live)
        return LiveSpec(**changes)


def load_config(name_or_path: str) -> TrainConfig:
    """Read a configuration by the name of a file in `training/configs`, or by path.

    Raises:
        TrainConfigError: No such file, no valid TOML, an unknown key, or a value out of bounds; all are named.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = CONFIG_DIR / f"{name_or_path}.toml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in CONFIG_DIR.glob("*.toml")))
        raise TrainConfigError(f"{name_or_path}: no such configuration; known: {known}, or give a path to a .toml")
    try:
        return TrainConfig.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainConfigError(f"{path.name}: no valid TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}, received {e['input']!r}"[:200] for e in error.errors()]
        raise TrainConfigError(f"{path.name}: {len(lines)} mistakes: {'; '.join(lines)}") from error
