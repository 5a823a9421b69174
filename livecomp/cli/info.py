"""Commands that look and change nothing: models, devices, doctor."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from livecomp.cli.common import app, stdout

if TYPE_CHECKING:
    from livecomp.capture.devices import CameraInfo
    from livecomp.capture.negotiate import Mode
    from livecomp.output.loopback import VirtualCameraInfo
    from livecomp.pipewire.library import PipewireInfo

__all__: list[str] = []


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the networks: what they are for, whether they are installed, licence, size and hash."""
    from livecomp.models import list_models

    entries = list_models()
    if as_json:
        found = [{"name": entry.name, "path": entry.path, **asdict(entry.spec)} for entry in entries]
        typer.echo(json.dumps(found, default=str))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "for", "installed", "licence", "MB", "SHA-256"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", overflow="fold")
    for entry in entries:
        spec = entry.spec
        installed = "yes" if entry.path else f"no: {spec.install}"
        table.add_row(entry.name, spec.purpose, installed, spec.licence, f"{spec.size / 1e6:.1f}", spec.sha256[:16])
    stdout.print(table)


@app.command()
def devices(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List cameras with what they can, and virtual cameras with what is wrong with them."""
    from livecomp.capture.devices import list_cameras
    from livecomp.output.loopback import list_virtual_cameras
    from livecomp.pipewire.library import find_pipewire

    cameras, virtual_cameras, pipewire = list_cameras(), list_virtual_cameras(), find_pipewire()
    if as_json:
        report = {
            "cameras": [asdict(camera) for camera in cameras],
            "virtual_cameras": [asdict(device) for device in virtual_cameras],
            "pipewire": asdict(pipewire),
        }
        typer.echo(json.dumps(report, indent=2, default=float))  # rates are fractions
        return
    _print_devices(cameras, virtual_cameras, pipewire)


def _print_devices(
    cameras: Sequence[CameraInfo], virtual_cameras: Sequence[VirtualCameraInfo], pipewire: PipewireInfo
) -> None:
    if not cameras:
        stdout.print("no camera")
    for camera in cameras:
        is_named = camera.stable_id and not camera.path.endswith(camera.stable_id)
        facts = f"{camera.path}, {camera.stable_id}" if is_named else camera.path
        stdout.print(f"camera {camera.name} ({facts})", highlight=False, soft_wrap=True)
        for fourcc, modes in groupby(camera.modes, key=lambda mode: mode.fourcc):
            sizes = ", ".join(_mode(mode) for mode in modes)
            stdout.print(f"  {fourcc} {sizes}".rstrip(), highlight=False, soft_wrap=True)
        if camera.trouble:
            stdout.print(f"  {camera.trouble}", style="yellow", highlight=False, soft_wrap=True)
    if not virtual_cameras and not pipewire.version:
        elsewhere = "virtual cameras are listed on Linux alone; `livecomp run` finds that of OBS"
        none = "no virtual camera" if sys.platform.startswith("linux") else elsewhere
        stdout.print(none, highlight=False, soft_wrap=True)
    for device in virtual_cameras:
        version = f", v4l2loopback {device.driver_version}" if device.driver_version else ""
        state = f"written to by {device.producer}" if device.producer else "free" if device.is_free else "not usable"
        line = f"virtual camera {device.label} ({device.path}{version}): {state}"
        stdout.print(line, highlight=False, soft_wrap=True)
        for fault in device.faults:
            stdout.print(f"  {fault}", style="yellow", highlight=False, soft_wrap=True)
    if pipewire.version:
        line = f"virtual camera LiveComp (PipeWire {pipewire.version}): there while a call runs"
        stdout.print(line, highlight=False, soft_wrap=True)


def _mode(mode: Mode) -> str:
    width, height = mode.size_wh
    return f"{width}x{height}@{float(max(mode.fps)):g}" if mode.fps else f"{width}x{height}"


def _table(title: str, *headings: str) -> Table:
    """A table whose words, such as paths, are broken into lines and never cut off: what is piped has 80 columns."""
    columns = [Column(heading, overflow="fold") for heading in headings]
    return Table(*columns, box=None, pad_edge=False, title=title, title_justify="left")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Find the fastest backend for each.")] = True,
) -> None:
    """Say what works on this machine, which backends are used for what and why not the others, and what to do next."""
    from livecomp.doctor import examine

    report = examine(measure=measure)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=2, default=float))  # rates are fractions
        return
    for name, fact in report.system.items():
        stdout.print(f"{name}: {fact}", highlight=False, soft_wrap=True)
    table = _table("Backends", "backend", "here", "why not")
    for backend in report.engines:
        table.add_row(backend.name, backend.found, backend.reason)
    stdout.print(table)
    table = _table("Networks", "network", "state", "engines, best first")
    for network in report.networks:
        table.add_row(network.name, network.state, "\n".join(network.engines))
    stdout.print(table)
    missing = {backend.name for backend in report.engines if backend.reason}
    for network in report.networks:
        for backend_name, reason in network.skipped.items():
            if backend_name in missing:
                continue
            stdout.print(f"{network.name}: not {backend_name}: {reason}", highlight=False, soft_wrap=True)
    _print_devices(
        [replace(camera, trouble="") for camera in report.cameras],
        [replace(device, faults=()) for device in report.virtual_cameras],
        report.pipewire,
    )
    for sentence in report.advice:
        stdout.print(sentence, style="yellow", soft_wrap=True)
