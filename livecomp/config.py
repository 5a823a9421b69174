"""Every option of the pipeline, with its bounds and unit, and the builder that turns options into stages.

Configuration stops here: stages get plain arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from livecomp.background import Background, Fit, open_background
from livecomp.composite.fused import FusedCompositor
from livecomp.errors import ConfigError
from livecomp.harmonize.registry import make_harmonizer
from livecomp.segment.registry import make_segmenter
from livecomp.smooth.registry import make_smoother

__all__ = ["Config"]

Unit = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
