"""The devices of v4l2loopback, the virtual camera of Linux: what they are, who uses them, what is wrong with them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from livecomp.errors import OutputError
from livecomp.output.v4l2 import (
    CAP_CAPTURE,
    CAP_OUTPUT,
    DRIVER,
    G_FMT,
    call_format,
    capabilities,
    is_kept,
    open_device,
)

__all__ = [
    "OLD",
    "VirtualCameraInfo",
    "find_virtual_camera",
    "holders",
    "keeps_for_restart",
    "list_virtual_cameras",
    "names_of",
    "takes_pictures",
]

OLD = "before 0.13"
"""Version of the drivers that have neither a version in /sys nor the attribute "state", as observed with 0.12.7."""


@dataclass(frozen=True, slots=True)
class VirtualCameraInfo:
    """One v4l2loopback device.

    Args:
        path: "/dev/video10".
        number: N of /dev/videoN.
        label: Its name, as video-call programs show it.
        driver_version: "0.13.2", or `OLD` for those that do not tell; "" when unknown.
        exclusive_caps: Whether it poses as a camera only while it has pictures; None when unknown.
        size_wh: Width and height agreed on now, in pixels; None without a format.
        fourcc: Format agreed on now; "" without.
        producer: Who writes to it, as "name (process)"; "" for nobody.
        is_free: Whether it can be opened now.
        faults: What is wrong with it or its driver and what to do, a sentence each.
    """

    path: str
    number: int
    label: str
    driver_version: str = ""
    exclusive_caps: bool | None = None
    size_wh: tuple[int, int] | None = None
    fourcc: str = ""
    producer: str = ""
    is_free: bool = False
    faults: tuple[str, ...] = ()


def holders(path: str, root: Path = Path("/")) -> dict[int, str] | None:
    """Other processes that have a device open, as far as this user may see: their names by process.

    Links are read, and only those of the same name are looked at:
    3 ms with 85 processes that may all be read (Zen 4, beside other work).

    Returns:
        None when no process but this one can be looked into.
    """
    name = f"/{Path(path).name}"
    try:
        wanted = Path(path).stat()
        processes = [entry for entry in os.listdir(root / "proc") if entry.isdigit()]  # noqa: PTH208 (per call, hot)
    except OSError:
        return None
    found: dict[int, str] = {}
    is_any_readable = False
    for process in processes:
        if int(process) == os.getpid():
            continue
        folder = f"{root}/proc/{process}"
        try:
            with os.scandir(f"{folder}/fd") as entries:
                links = [entry.path for entry in entries]
            is_any_readable = True
            if any(_leads_to(link, name, wanted) for link in links):
                found[int(process)] = Path(f"{folder}/comm").read_text("utf-8", "replace").strip()
        except OSError:  # another user's, or gone
            continue
    return found if is_any_readable else None


def _leads_to(link: str, name: str, wanted: os.stat_result) -> bool:
    try:
        if not os.readlink(link).endswith(name):  # noqa: PTH115 (thousands of them)
            return False
        status = os.stat(link)  # noqa: PTH116
    except OSError:  # closed meanwhile
        return False
    if wanted.st_rdev:
        return status.st_rdev == wanted.st_rdev
    return (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino)


def names_of(processes: dict[int, str] | None) -> str:
    """Processes as from `holders`, for a message: "name (process 12), ..."."""
    return ", ".join(f"{name} (process {process})" for process, name in sorted((processes or {}).items()))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


def list_virtual_cameras(root: Path = Path("/")) -> list[VirtualCameraInfo]:
    """All v4l2loopback devices, in the order of their numbers; nothing is changed in them.

    Args:
        root: Where dev, sys and proc are.
    """
    nodes = (root / "sys/class/video4linux").glob("video[0-9]*")
    numbers = sorted(int(node.name[5:]) for node in nodes if node.name[5:].isdigit())
    found = (_described(number, root) for number in numbers)
    return [info for info in found if info is not None]


def _described(number: int, root: Path) -> VirtualCameraInfo | None:
    node = root / f"sys/class/video4linux/video{number}"
    path = str(root / f"dev/video{number}")
    try:
        device = open_device(path)
    except OSError as error:
        if not (node / "max_openers").exists():  # which only v4l2loopback has
            return None
        advice = "; run: sudo usermod -aG video $USER, then log out and in again" if error.errno == errno.EACCES else ""
        return VirtualCameraInfo(path, number, _read(node / "name"), faults=(f"cannot open {path}: {error}{advice}",))
    try:
        driver, label, caps = capabilities(device)
        if driver != DRIVER:
            return None
        size_wh, code = (0, 0), 0
        with suppress(OSError):
            size_wh, code = call_format(device, G_FMT)
        version = _version(node, root)
        is_produced = bool(caps & CAP_CAPTURE) and not takes_pictures(device, version)
    except OSError:
        return None
    finally:
        os.close(device)
    exclusive = _exclusive_caps(number, root)
    who = (names_of(holders(path, root)) or "another program") if is_produced else ""
    return VirtualCameraInfo(
        path,
        number,
        label,
        version,
        exclusive,
        size_wh if all(size_wh) else None,
        code.to_bytes(4, "little").decode("latin-1") if all(size_wh) else "",
        who,
        not is_produced,
        tuple(_faults(version, exclusive, is_left=not is_produced and not caps & CAP_OUTPUT)),
    )


def _version(node: Path, root: Path) -> str:
    told = _read(root / "sys/module/v4l2loopback/version")
    return told or (OLD if (node / "max_openers").exists() and not (node / "state").exists() else "")


def _exclusive_caps(number: int, root: Path) -> bool | None:
    """The parameter is a list, one entry for each device in the order of their numbers."""
    values = _read(root / "sys/module/v4l2loopback/parameters/exclusive_caps").split(",")
    siblings = (root / "sys/class/video4linux").glob("video*/max_openers")
    order = sorted(int(node.parent.name[5:]) for node in siblings)
    index = order.index(number) if number in order else 0
    return values[index] in ("Y", "1") if index < len(values) and values[index] else None


def keeps_for_restart(version: str) -> bool:
    """Whether a driver keeps readers while its producer is away, if asked to; `version` as in `VirtualCameraInfo`.

    From 0.14 on a reader that starts to stream while nobody produces is refused with EIO, and Chromium, when it has
    got nothing for a second, does start anew: its track ends, and the user has to choose the camera again. The control
    "keep_format" prevents that, at a price: without a producer the device no longer says that it takes pictures.
    """
    return _numbers(version) >= (0, 14)


def takes_pictures(device: int, version: str) -> bool:
    """Whether somebody may begin to produce on an open device; `version` as in `VirtualCameraInfo`.

    Raises:
        OSError: The device is gone.
    """
    if capabilities(device)[2] & CAP_OUTPUT:
        return True
    if not (keeps_for_restart(version) and is_kept(device)):
        return False
    try:
        call_format(device, G_FMT)
    except OSError:  # EINVAL for all but the one who produces
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor number; empty when the version is not known so well."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) if version != OLD else ()


def _faults(version: str, exclusive: bool | None, *, is_left: bool) -> Iterator[str]:
    is_old = version == OLD or () < _numbers(version) < (0, 13)
    if exclusive is False:
        yield (
            "exclusive_caps is 0: Chromium, and what is built on it, does not list this camera; "
            "run: livecomp setup v4l2loopback"
        )
    if is_left:
        yield "its last producer left it unusable for others; LiveComp repairs that when it opens it"
    if is_old and exclusive is not False:
        yield (
            f"v4l2loopback {version} with exclusive_caps=1 lets only one program write per load of the module; "
            "LiveComp works around it, other programs may still fail after one another"
        )
    if is_old:
        yield f"v4l2loopback {version} keeps its old size while a program watches; close that one to change the size"
    if keeps_for_restart(version):
        yield f"v4l2loopback {version} lets only one program watch at a time; to others the camera is busy"
    if version:
        yield "its control 'timeout' shows green pictures at half a frame per second; leave it at 0"


def find_virtual_camera(spec: str, root: Path = Path("/")) -> VirtualCameraInfo:
    """The virtual camera that a user named.

    Args:
        spec: "auto" for the first that nobody writes to, a path, or a label.
        root: As for `list_virtual_cameras`.

    Raises:
        OutputError: There is none, or it is taken; the message lists those that are there.
    """
    cameras = list_virtual_cameras(root)
    if not cameras:
        raise OutputError(
            "there is no virtual camera: v4l2loopback has no device on this system; run: livecomp setup v4l2loopback"
        )
    if spec == "auto":
        chosen = cameras
    else:
        wanted = os.path.realpath(spec)
        chosen = [camera for camera in cameras if camera.label == spec or os.path.realpath(camera.path) == wanted]
    listed = ", ".join(f"{camera.path} ({camera.label})" for camera in cameras)
    if not chosen:
        raise OutputError(f"there is no virtual camera {spec!r}: expected 'auto' or one of {listed}")
    for camera in chosen:
        if camera.is_free:
            return camera
    first = chosen[0]
    if first.producer:
        raise OutputError(
            f"the virtual camera {first.path} ({first.label}) is taken: {first.producer} has it open; "
            "close that program, or name another virtual camera"
        )
    raise OutputError("; ".join(first.faults))
