"""Compile for the guest's processor on this computer: the same loops, for the same options, as the call will need.

    python -m tests.v4l2.guest.warm CONFIG

In the guest it would take minutes. `ENVIRONMENT` makes both sides name the same processor, and use the same folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from livecomp.config import Config
from livecomp.control.options import layered, read_options
from livecomp.frame import Frame, freeze
from livecomp.pipeline import Pipeline
from tests.v4l2.guest.machine import CPU_NAME

__all__ = ["environment"]


def environment(folder: Path) -> dict[str, str]:
    """Variables for this program, and for those that use what it compiled, kept in a folder."""
    return {"NUMBA_CACHE_DIR": str(folder), "NUMBA_CPU_NAME": CPU_NAME, "NUMBA_CPU_FEATURES": ""}


def main() -> None:
    """Process a few pictures as the call does."""
    config = Config.from_options(layered(read_options(Path(sys.argv[1]))))
    rgb = np.full((config.live.height, config.live.width, 3), (0, 255, 0), np.uint8)
    rgb[60:120, 100:200] = 220
    with Pipeline(config.build(), on_miss="stop", harmonize_every=config.live.harmonize_every) as pipeline:
        for index in range(4):
            pipeline.process(Frame(freeze(rgb), index * 100_000_000))


if __name__ == "__main__":
    main()
