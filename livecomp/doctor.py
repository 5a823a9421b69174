"""What this machine has, what LiveComp makes of it, and what to do about the rest."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import engine
from engine import EngineError
from engine.machine import cpu_features, cpu_name
from livecomp.capture.devices import CameraInfo, list_cameras
from livecomp.compiled import cache_folder
from livecomp.errors import DependencyError, LiveCompError
from livecomp.gpu.choice import find_backend
from livecomp.models import list_models, model_path
from livecomp.output.loopback import VirtualCameraInfo, list_virtual_cameras
from livecomp.output.virtual import ONLY_PIPEWIRE
from livecomp.packages import package_versions
from livecomp.pipewire.library import PipewireInfo, find_pipewire

__all__ = ["EngineReport", "NetworkReport", "Report", "examine"]


@dataclass(frozen=True, slots=True)
class EngineReport:
    """One backend that can run networks.

    Args:
        name: Its name, as `--backend` takes it.
        found: Version and precisions; empty if it cannot run here.
        reason: Why it cannot run here; empty if it can.
    """

    name: str
    found: str
    reason: str


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """One network.

    Args:
        name: Its name.
        state: "fine", or what is wrong and what to do.
        engines: Backends that run it here, best first, with the time of a run; empty when they were not measured.
        skipped: Why each other backend is not used for it.
    """

    name: str
    state: str
    engines: list[str]
    skipped: dict[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `livecomp doctor` prints.

    Args:
        system: Facts by name: versions, processor, cores.
        engines: Every backend.
        networks: Every network.
        cameras: Every camera.
        virtual_cameras: Every device of v4l2loopback.
        pipewire: Whether there can be a virtual camera by PipeWire.
        advice: What to do next, one sentence each.
    """

    system: dict[str, str]
    engines: list[EngineReport]
    networks: list[NetworkReport]
    cameras: list[CameraInfo]
    virtual_cameras: list[VirtualCameraInfo]
    pipewire: PipewireInfo
    advice: list[str]


def examine(*, measure: bool = True, root: Path = Path("/")) -> Report:
    """Look at everything; never raises for something that is missing or broken.

    Args:
        measure: Find out which backend is fastest for each network, about a second each the first time.
        root: Where dev, sys and proc are.
    """
    cameras, virtual_cameras = list_cameras(root), list_virtual_cameras(root)
    pipewire = find_pipewire()
    advice = _device_advice(cameras, virtual_cameras, pipewire)
    networks = []
    for info in list_models():
        engines: list[str] = []
        skipped: dict[str, str] = {}
        try:
            path = model_path(info.name)
            state = "fine"
            if measure:
                choice = engine.choose(path, engine.Options(threads=1))
                engines = [f"{row.backend} {row.precision} {row.median_ms:.2f} ms" for row in choice.ranked]
                skipped = dict(choice.skipped)
        except (LiveCompError, EngineError) as error:
            state = str(error)
            if info.spec.install is None:
                advice.append(f"The network {info.name} is unusable: {error}")
        networks.append(NetworkReport(info.name, state, engines, skipped))
    engines_found = [
        EngineReport(name, "", probe)
        if isinstance(probe, str)
        else EngineReport(name, f"{probe.version}, {', '.join(probe.precisions)}", "")
        for name, probe in engine.probe_all().items()
    ]
    if cache_folder() is None:
        advice.append("There is no private cache folder for compiled loops, so every start compiles them anew.")
    if not any(report.name == "openvino" and report.found for report in engines_found):
        advice.append("OpenVINO may run the networks faster: python -m pip install 'livecomp[openvino]'")
    return Report(_system(), engines_found, networks, cameras, virtual_cameras, pipewire, advice)


def _device_advice(
    cameras: list[CameraInfo], virtual_cameras: list[VirtualCameraInfo], pipewire: PipewireInfo
) -> list[str]:
    advice = [f"{camera.name}: {camera.trouble}" for camera in cameras if camera.trouble]
    if not cameras:
        advice.append("There is no camera; `livecomp run --camera FILE` plays a video in its place.")
    advice += [f"{device.label} ({device.path}): {fault}" for device in virtual_cameras for fault in device.faults]
    if not virtual_cameras and sys.platform.startswith("linux"):
        none = "There is no virtual camera; run: livecomp setup v4l2loopback"
        advice.append(f"The virtual camera: {ONLY_PIPEWIRE}" if pipewire.version else none)
    elif not sys.platform.startswith("linux") and find_spec("pyvirtualcam") is None:
        advice.append(
            "A virtual camera needs OBS or, on Windows, UnityCapture (start OBS's once), and a package: "
            "python -m pip install 'livecomp[virtualcam]'"
        )
    return advice


def _where_frames_are_processed() -> str:
    """What compute = "auto" comes to here."""
    try:
        return f"on the GPU, by {find_backend()}"
    except DependencyError as error:
        return f"on the CPU: {str(error).partition('; expected')[0]}"


def _system() -> dict[str, str]:
    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": f"{cpu_name()}, {' '.join(cpu_features())}",
        "frames": _where_frames_are_processed(),
    }
    facts |= package_versions()
    return facts
