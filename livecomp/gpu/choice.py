"""Which backend runs whole frames, and whether there is one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from engine import BACKENDS, BackendError, ModelFile, Runner, open_runner
from engine.machine import gpu_fingerprint
from livecomp.composite.placement import Placement
from livecomp.errors import DependencyError
from livecomp.gpu.matte import USED
from livecomp.gpu.networks import load_networks
from livecomp.gpu.whole import WholeFrame, WholeOptions
from livecomp.harmonizers import Harmonizer
from livecomp.segment.presence import PresenceFilter

__all__ = ["GPU_BACKENDS", "IN_GRAPH", "find_backend", "make_whole_frame", "obstacle"]

GPU_BACKENDS = ("tensorrt", "tensorrt_rtx", "onnxruntime_cuda")
"""Those that run on an NVIDIA GPU, the fastest first."""

IN_GRAPH = "live"
"""The harmonizer whose network is part of the graph; others look at what the graph gives back."""

_OF_WINDOWS = Path("/dev/dxg")
"""The GPU of a Windows machine, in its Linux; there is no folder of the driver there."""

_REFERENCE = "onnxruntime"
_HALF = ("tensorrt", "tensorrt_rtx")
_RESIDENT = ("background",)


def find_backend() -> str:
    """The first backend that can use an NVIDIA GPU here.

    Raises:
        DependencyError: There is none; says of each why, and what to install.
    """
    if sys.platform == "linux" and not gpu_fingerprint() and not _OF_WINDOWS.exists():
        raise DependencyError(
            "there is no NVIDIA GPU with its driver here: /proc/driver/nvidia is missing; expected a GPU for "
            "--compute gpu. Install the NVIDIA driver, and then pip install 'livecomp[tensorrt]' or "
            "'livecomp[tensorrt-rtx]'; or use --compute cpu"
        )
    reasons = []
    for name in GPU_BACKENDS:
        try:
            BACKENDS[name].probe()
        except BackendError as error:
            reasons.append(f"{name}: {error} (install: {BACKENDS[name].install})")
        else:
            return name
    raise DependencyError(f"no backend can use an NVIDIA GPU: {'; '.join(reasons)}; or use --compute cpu")


def obstacle(*, matte_model: str, background: str, placement: Placement) -> str:
    """Why frames with these options cannot be processed whole; empty if they can.

    Args:
        matte_model: Name of the matte model.
        background: Source of the scene.
        placement: Where the person stands in it.
    """
    if matte_model not in USED:
        return f"the matte model {matte_model!r} runs on the CPU only; on a GPU run {', '.join(USED)}"
    if background.partition(":")[0] == "blur":
        return "the blurred room as a scene is made on the CPU only, since it needs the matte first"
    if not placement.is_as_filmed:
        return "the person is scaled and moved on the CPU only"
    return ""


def make_whole_frame(
    options: WholeOptions,
    *,
    backend: str,
    harmonizer: str,
    make_harmonizer: Callable[[], Harmonizer],
    presence: PresenceFilter | None,
    required: bool,
) -> WholeFrame:
    """Whole frames, not open.

    Args:
        options: What is done to frames.
        backend: A name in `BACKENDS`, or "auto" for the first that can use an NVIDIA GPU when frames are opened.
        harmonizer: Its name.
        make_harmonizer: Makes a harmonizer that is not `IN_GRAPH`.
        presence: As in `WholeFrame`.
        required: Whether the CPU may not stand in where there is no GPU.
    """
    found: list[str] = [] if backend == "auto" else [backend]

    def name() -> str:
        if not found:
            found.append(find_backend())
        return found[0]

    def make_runner(model: ModelFile) -> Runner:
        # the networks in it are in half precision already, the rest is to stay as it is
        return open_runner(model, name(), precision="fp32", resident=_RESIDENT)

    return WholeFrame(
        options,
        networks=lambda: load_networks(options.matte_model, harmonizer, "fp16" if name() in _HALF else "fp32"),
        make_runner=make_runner,
        harmonizer=None if harmonizer == IN_GRAPH else make_harmonizer(),
        presence=presence,
        required=required,
        prove=backend != _REFERENCE,
    )
